"""Who votes: the ranks of one membership, and what follows from their number.

Memberships of a run only shrink (DESIGN section 4): a rank that left never returns. The
number of ranks that have left, the epoch, therefore orders them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from morsr_mpi.base.digest import digest_of
from morsr_mpi.base.errors import InternalError
from morsr_mpi.consensus.quorum import max_faulty, quorum


@dataclass(frozen=True)
class Membership:
    """started: number of ranks the run started with; ranks: those that vote now, ascending."""

    started: int
    ranks: tuple[int, ...]

    def __post_init__(self) -> None:
        ordered = tuple(sorted(set(self.ranks)))
        if not ordered or ordered != self.ranks or not 0 <= ordered[0] <= ordered[-1]:
            raise InternalError(f"ranks {self.ranks} form no membership")
        if len(ordered) > self.started:
            raise InternalError(f"{len(ordered)} members of {self.started} ranks")

    @classmethod
    def of(cls, size: int) -> Membership:
        """All ranks of a run."""
        return cls(size, tuple(range(size)))

    @property
    def size(self) -> int:
        """N."""
        return len(self.ranks)

    @property
    def epoch(self) -> int:
        """How many ranks have left."""
        return self.started - len(self.ranks)

    @property
    def faulty(self) -> int:
        """f, the liars this membership tolerates."""
        return max_faulty(len(self.ranks))

    @property
    def quorum(self) -> int:
        """Votes of a certificate."""
        return quorum(len(self.ranks))

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that name the membership in everything its members sign."""
        return digest_of("membership", self.started, self.ranks)

    def primary(self, view: int) -> int:
        """The coordinator of a view (PBFT section 4: p = v mod |R|)."""
        return self.ranks[view % len(self.ranks)]

    def without(self, leaving: Iterable[int]) -> Membership:
        """Return the membership of those who stay. Raises InternalError when nobody does."""
        gone = frozenset(leaving)
        return Membership(self.started, tuple(r for r in self.ranks if r not in gone))

    def __contains__(self, rank: object) -> bool:
        return rank in self.ranks
