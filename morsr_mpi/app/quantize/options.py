"""What a quantization is asked to do, beside the settings of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from morsr_mpi.base.errors import UsageError

#: Work units of a row of BASE_COLUMNS weights; of longer rows more, as the square of the length.
DEFAULT_WORK = 100_000
BASE_COLUMNS = 384
DEFAULT_BITS = 2.0
CODEBOOKS = ("lattice", "ball", "rate")


@dataclass(frozen=True)
class Quantization:
    """Options of `morsr quantize`; Raises UsageError for those that make no sense.

    names: JSON file, tensor -> its name in the file of Hessians. layers: globs, empty for every
    matrix with a Hessian. bits: budget per weight; scale: of the lattice instead. damping: share
    of the mean diagonal, None for the source's default. incoherence: seed, None without. work:
    units of a row of BASE_COLUMNS weights, None until certified.
    """

    model: Path
    hessians: Path | None = None
    calibration: Path | None = None
    names: Path | None = None
    layers: tuple[str, ...] = ()
    bits: float | None = None
    scale: float | None = None
    codebook: str = "lattice"
    damping: float | None = None
    incoherence: int | None = None
    work: int | None = DEFAULT_WORK

    def __post_init__(self) -> None:
        if (self.hessians is None) == (self.calibration is None):
            raise UsageError("give either --hessians or --calibration")
        if self.codebook not in CODEBOOKS:
            raise UsageError(f"--codebook is {' or '.join(CODEBOOKS)}, not {self.codebook!r}")
        if self.codebook != "lattice":
            raise UsageError(
                f"--codebook {self.codebook} is not in this version of morsr; leave it out for the "
                "lattice with coded points"
            )
        if self.bits is not None and self.scale is not None:
            raise UsageError("give either --bits or --scale, not both")
        if self.bits is not None and not 0.1 <= self.bits <= 16.0:
            raise UsageError(f"--bits is a number from 0.1 to 16, not {self.bits!r}")
        if self.damping is not None and not 0.0 <= self.damping <= 1e3:
            raise UsageError(f"--damp is a share from 0 to 1000, not {self.damping!r}")
        if self.incoherence is not None and not 0 <= self.incoherence < 2**63:
            raise UsageError("--incoherence is a seed of 0 or more")

    @property
    def budget(self) -> float | None:
        """Bits per weight to stay below; None where the scale is given."""
        if self.scale is not None:
            return None
        return DEFAULT_BITS if self.bits is None else self.bits

    def units(self, columns: int) -> int | None:
        """Work units of a row of so many weights (padded)."""
        if self.work is None:
            return None
        return max(1, self.work * columns * columns // (BASE_COLUMNS * BASE_COLUMNS))
