"""What a search has found: points, objectives, bounds, certificates, counted work.

`Solution` is what must be identical for every number of ranks; `SolveResult` adds what
a run was like (DESIGN section 7: `/solution` and `/run` of a result file).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError

#: First field and version of what the digest of a solution covers (docs/formats/result.md).
SOLUTION_TAG = "morsr-solution"
SOLUTION_DIGEST_VERSION = 1

#: Dataset name -> (little-endian type, dimensions): `/solution` of result and checkpoint files.
SOLUTION_FIELDS: dict[str, tuple[str, int]] = {
    "doubled": ("<i4", 2),
    "objective": ("<f8", 1),
    "lower_bound": ("<f8", 1),
    "certified": ("|u1", 1),
    "work": ("<i8", 1),
}


@dataclass(frozen=True, eq=False)
class Solution:
    """One answer per target, k of them.

    doubled: int32 (k, n), exact lattice points as 2 v / s.
    objective: float64 (k,), the objective at those points.
    lower_bound: float64 (k,), proven, rounded down.
    certified: uint8 (k,), 1 where the point is proven optimal to the tolerance.
    work: int64 (k,), logical work units.
    Raises InternalError when types or shapes do not fit together.
    """

    doubled: NDArray[np.int32]
    objective: NDArray[np.float64]
    lower_bound: NDArray[np.float64]
    certified: NDArray[np.uint8]
    work: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name, array in self.arrays().items():
            kind, dimensions = SOLUTION_FIELDS[name]
            if array.dtype != np.dtype(kind) or array.ndim != dimensions:
                raise InternalError(f"solution field {name} is {array.dtype}{array.shape}")
            if array.shape[0] != self.k:
                raise InternalError(f"solution field {name} has {array.shape[0]} of {self.k} rows")

    @property
    def k(self) -> int:
        """Number of targets."""
        return int(self.doubled.shape[0])

    @property
    def n(self) -> int:
        """Dimension."""
        return int(self.doubled.shape[1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the fields by name, in the order of the format."""
        return {name: getattr(self, name) for name in SOLUTION_FIELDS}

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: equal exactly when all fields are equal bit for bit."""
        return encode(
            (
                SOLUTION_TAG,
                SOLUTION_DIGEST_VERSION,
                self.k,
                self.n,
                *(
                    np.ascontiguousarray(array, dtype=SOLUTION_FIELDS[name][0]).tobytes()
                    for name, array in self.arrays().items()
                ),
            )
        )

    def digest(self) -> bytes:
        """Return the SHA-256 (32 bytes) of the canonical bytes."""
        return sha256(self.to_bytes())


@dataclass(eq=False)
class SolveResult:
    """A `Solution` with the story of the run that found it.

    The first five fields are those of `Solution`. tolerance: relative, of "certified"
    (DESIGN section 2, certificate). wall_seconds: opening of the problem to the final
    state. failures: what happened, one line each. fingerprint: of the genesis record.
    problem_digest, options_digest: hexadecimal.
    """

    doubled: NDArray[np.int32]
    objective: NDArray[np.float64]
    lower_bound: NDArray[np.float64]
    certified: NDArray[np.uint8]
    work: NDArray[np.int64]
    tolerance: float = 0.0
    ranks: int = 1
    wall_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    restarts: int = 0
    fingerprint: str = ""
    run_dir: str | None = None
    problem_digest: str = ""
    options_digest: str = ""

    @classmethod
    def of(cls, solution: Solution, **run: Any) -> SolveResult:
        """Return a result with the arrays of a solution and the given fields of the run."""
        return cls(
            solution.doubled,
            solution.objective,
            solution.lower_bound,
            solution.certified,
            solution.work,
            **run,
        )

    @property
    def solution(self) -> Solution:
        """The part that does not depend on how the run went."""
        return Solution(self.doubled, self.objective, self.lower_bound, self.certified, self.work)

    def points(self, scale: float) -> NDArray[np.float64]:
        """Return the points v = doubled * scale / 2 as float64 (k, n)."""
        return np.asarray(self.doubled, dtype=np.float64) * (0.5 * float(scale))

    def to_json(self) -> dict[str, Any]:
        """Return the object that `morsr solve --json` prints (DESIGN section 7)."""
        return {
            "objective": [float(x) for x in self.objective],
            "lower_bound": [float(x) for x in self.lower_bound],
            "certified": [bool(x) for x in self.certified],
            "work": [int(x) for x in self.work],
            "tolerance": float(self.tolerance),
            "ranks": int(self.ranks),
            "wall_seconds": float(self.wall_seconds),
            "failures": list(self.failures),
            "restarts": int(self.restarts),
            "fingerprint": self.fingerprint,
            "run_dir": self.run_dir,
        }
