"""How many further tile orders a rung of beams tries: what has paid for this target decides.

Random quadratic forms gain from many orders, real Hessians from wide beams in the good ones
(docs/decisions/0007-beams.md).  A function of committed results alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from morsr_mpi.base.errors import InternalError

INFINITY = float("inf")
#: Further orders of a rung, by level.
COUNTS = (1, 2, 4, 8)
FIRST_LEVEL = 0
#: Kinds of the orders every rung tries.
GOOD = ("vblast", "diagonal", "natural", "band")


@dataclass
class Diversity:
    """level: index into COUNTS.  good, spread: least objectives of the beams in good and in further
    orders since the last choice.  count: further orders of the present rung.
    """

    level: int = FIRST_LEVEL
    good: float = INFINITY
    spread: float = INFINITY
    count: int = COUNTS[FIRST_LEVEL]

    def note(self, beams: Sequence[object], values: Sequence[float]) -> None:
        """Take in the objectives a task found, one for each of its beams (inf: none)."""
        if len(beams) != len(values):
            raise InternalError(f"{len(values)} objectives of {len(beams)} beams")
        for beam, value in zip(beams, values, strict=True):
            match beam:
                case (str(kind), *_) if kind in GOOD:
                    self.good = min(self.good, value)
                case _:
                    self.spread = min(self.spread, value)

    def choose(self) -> int:
        """Begin a rung: more further orders where one of them was the best, else fewer."""
        if self.good < INFINITY and self.spread < INFINITY:
            step = 1 if self.spread < self.good else -1
            self.level = min(len(COUNTS) - 1, max(0, self.level + step))
            self.good = self.spread = INFINITY
        self.count = COUNTS[self.level]
        return self.count

    def fields(self) -> tuple[int, float, float, int]:
        """As the state holds it."""
        return (self.level, self.good, self.spread, self.count)

    @classmethod
    def from_fields(cls, fields: object) -> Diversity:
        """Inverse of fields; raises InternalError when malformed."""
        match fields:
            case (int(level), float(good), float(spread), int(count)) if (
                0 <= level < len(COUNTS) and count in COUNTS
            ):
                return cls(level, good, spread, count)
            case _:
                raise InternalError("malformed record of tile orders")
