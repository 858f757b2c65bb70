"""Options that decide what is explored; results are identical for identical options."""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.base.digest import digest_of
from morsr_mpi.base.errors import UsageError
from morsr_mpi.base.version import ALGORITHM_VERSION

DEFAULT_WORK = 10_000_000
MAX_PULSE_TASKS = 1 << 16
#: Open chambers kept: some 1 KB each.
DEFAULT_FRONTIER_LIMIT = 1 << 17
FRONTIER_LIMITS = (100, 1 << 24)
#: Pulses planned ahead; more only makes cutoffs older.
MAX_LAG = 64


@dataclass(frozen=True)
class SearchOptions:
    """work: units per target (about microseconds of one core), None = until certified.

    lag: pulses planned ahead of the last commit.  pulse_tasks: fixed width of a pulse instead of
    one that grows with the committed work.  frontier_limit: open chambers of all targets together,
    shared equally, but at least four per tile and target; beyond it chambers are folded.  free:
    commits take whatever is finished (paper, algorithm 4.2), and results depend on when that was.
    Raises UsageError for values that make no sense.
    """

    work: int | None = DEFAULT_WORK
    lag: int = 0
    pulse_tasks: int | None = None
    frontier_limit: int = DEFAULT_FRONTIER_LIMIT
    free: bool = False

    def __post_init__(self) -> None:
        if self.work is not None and not 0 < self.work < 2**62:
            raise UsageError(f"--work must be a positive number of units or inf, not {self.work}")
        if not 0 <= self.lag <= MAX_LAG:
            raise UsageError(f"--lag must be between 0 and {MAX_LAG}, not {self.lag}")
        if self.pulse_tasks is not None and not 0 < self.pulse_tasks <= MAX_PULSE_TASKS:
            raise UsageError(
                f"--pulse-tasks must be between 1 and {MAX_PULSE_TASKS}, not {self.pulse_tasks}"
            )
        least, most = FRONTIER_LIMITS
        if not least <= self.frontier_limit <= most:
            raise UsageError(
                f"--frontier-limit must be between {least} and {most}, not {self.frontier_limit}"
            )

    def recorded(self) -> tuple[object, ...]:
        """What the journal keeps beside lag, work and asynchrony: all that a replay needs."""
        return (self.pulse_tasks, self.frontier_limit)

    @classmethod
    def of_record(
        cls, work: int | None, lag: int, free: bool, recorded: tuple[object, ...]
    ) -> SearchOptions:
        """Return the options of a journal. Raises ValueError for fields that are none."""
        match recorded:
            case ():  # before 0.3.0: the defaults, or nobody knows
                return cls(work, lag, free=free)
            case (None, int(limit)):
                return cls(work, lag, None, limit, free)
            case (int(pulse_tasks), int(limit)):
                return cls(work, lag, pulse_tasks, limit, free)
        raise ValueError("options that this version does not know")

    def digest(self) -> bytes:
        """SHA-256 over everything but work, which only says where the one schedule stops."""
        decisive = (self.lag, self.pulse_tasks, self.frontier_limit, self.free)
        return digest_of("morsr-options", 2, ALGORITHM_VERSION, *decisive)
