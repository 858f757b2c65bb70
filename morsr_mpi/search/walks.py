"""How much of the work goes into walks from the committed point: what has paid for this target.

Walks find what several moves together improve: much in large well-conditioned forms, next to
nothing in ill-conditioned ones (docs/decisions/0015-walks.md).  A function of committed results.
"""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.base.errors import InternalError

#: Work of the walks over work of the beams, by level.
SHARES = (1 / 64, 1 / 32, 1 / 16, 1 / 4, 1 / 2)
#: Patience of the walk that ends a beam, by level.
BEAM_PATIENCE = (64, 64, 512, 2048, 4096)
FIRST_LEVEL = 2
#: A walk has paid when it lowered the objective by more than this share.
PAYS = 1 / 256
#: Patience of a walk of its own: 2**10 at first, doubled whenever a batch of them found nothing.
LENGTHS = (10, 18)
#: Tasks of one batch.
MAX_WALKS = 64


@dataclass
class Walks:
    """level: index into SHARES.  count: walks planned so far, the seeds of the next ones.  length:
    binary logarithm of the patience of the next ones.
    """

    level: int = FIRST_LEVEL
    count: int = 0
    length: int = LENGTHS[0]

    def note_beams(self, ended: int, paid: int) -> None:
        """Take in how many walks ended a beam, and how many of them paid."""
        if ended:
            self._move(1 if 2 * paid >= ended else -1)

    def note_walks(self, improved: bool) -> None:
        """Take in whether a batch of walks from the committed point found a better one."""
        if improved:
            self._move(1)
        else:
            self.length = min(LENGTHS[1], self.length + 1)

    def _move(self, step: int) -> None:
        self.level = min(len(SHARES) - 1, max(0, self.level + step))

    def due(self, spent: int, beam_work: int) -> bool:
        """Whether walks are behind their share."""
        return spent < SHARES[self.level] * beam_work

    def seed(self) -> int:
        """Return the seed of another walk."""
        self.count += 1
        return self.count

    @property
    def after_beam(self) -> int:
        """Patience of the walk that ends a beam."""
        return BEAM_PATIENCE[self.level]

    @property
    def patience(self) -> int:
        """Steps without a better point after which a walk of its own ends."""
        return 1 << self.length

    def fields(self) -> tuple[int, int, int]:
        """As the state holds it."""
        return (self.level, self.count, self.length)

    @classmethod
    def from_fields(cls, fields: object) -> Walks:
        """Inverse of fields; raises InternalError when malformed."""
        match fields:
            case (int(level), int(count), int(length)) if (
                0 <= level < len(SHARES) and count >= 0 and LENGTHS[0] <= length <= LENGTHS[1]
            ):
                return cls(level, count, length)
            case _:
                raise InternalError("malformed record of walks")


def walks_of(counts: tuple[int, ...]) -> tuple[int, int]:
    """Return (walks, those that paid) of a task of beams; raises InternalError when malformed."""
    match counts:
        case (int(ended), int(paid)) if 0 <= paid <= ended:
            return ended, paid
        case _:
            raise InternalError("malformed counts of a task of beams")
