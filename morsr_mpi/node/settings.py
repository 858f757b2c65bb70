"""What a node is started with, apart from the search it carries."""

from __future__ import annotations

from dataclasses import dataclass, field

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.config import MAX_RANKS
from morsr_mpi.base.errors import InternalError
from morsr_mpi.base.version import ALGORITHM_VERSION, __version__

#: Capacity of a rank of ordinary speed.
FULL_CAPACITY = 1000


@dataclass(frozen=True)
class NodeSettings:
    """One rank's settings; all but rank and capacity must be equal on all ranks.

    problem, options: 32-byte digests; lag: pulses planned ahead of the last commit;
    dedicated: the coordinator computes nothing (unless it is the only rank); free: commits take
    whatever is finished (paper, algorithm 4.2); agreed: other
    values that must be equal everywhere, canonical (the work limit, say); capacity: relative
    speed of this rank; recheck: probability with which somebody computes a task again;
    redundancy: ranks that compute each task; secret: bytes that only this rank knows.
    """

    rank: int
    size: int
    problem: bytes
    options: bytes
    lag: int = 0
    dedicated: bool = False
    free: bool = False
    agreed: tuple[object, ...] = ()
    capacity: int = FULL_CAPACITY
    recheck: float = 0.0
    redundancy: int = 1
    secret: bytes = field(default=b"", repr=False)
    software: str = __version__
    algorithm: int = ALGORITHM_VERSION

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size <= MAX_RANKS or self.lag < 0 or self.capacity < 0:
            raise InternalError(f"impossible settings of rank {self.rank} of {self.size}")

    def common(self) -> bytes:
        """Canonical bytes of what must be equal on all ranks and has no field of its own."""
        checks = (self.recheck, self.redundancy)
        return encode((self.size, self.dedicated, checks, self.recorded()))

    def recorded(self) -> bytes:
        """Canonical bytes of what the outcome can depend on besides problem and options."""
        return encode((self.lag, self.agreed, *(("free",) if self.free else ())))

    def coordinator(self, view: int) -> int:
        """Rank of the coordinator in a view; rank 0 in view 0."""
        return view % self.size
