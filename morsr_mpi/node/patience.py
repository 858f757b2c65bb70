"""How long others may be silent: the one measure behind late rounds, take-over and regrouping.

Ranks of a job do the same things on machines of one kind, so what kept this rank from looking at
the others, a long step of its work or a crowded processor, keeps them too. A false alarm harms no
result: it only decides who computes.
"""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.base.config import BUSY_SHARE, PATIENCE, PATIENCE_HALF_LIFE_SECONDS


def allowed(seconds: float, longest: float) -> float:
    """Return how long a rank may be silent: `seconds`, more where looks are seldom.

    longest: of the times between two looks of our own, as `Patience` has it.
    """
    return max(seconds, PATIENCE * longest)


@dataclass
class Patience:
    """The longest time this rank did not look at the others, fading with time.

    longest: seconds; last: when it last looked, None before the first look.
    """

    longest: float = 0.0
    last: float | None = None
    cpu: float = 0.0

    def look(self, now: float, cpu: float) -> float:
        """Note a look at the others; return the seconds since the one before.

        cpu: CPU seconds this process has used; a time in which it used next to none it was
        stopped, which says nothing of the others.
        """
        gap = now - self.last if self.last is not None else 0.0
        used, self.last, self.cpu = cpu - self.cpu, now, cpu
        self.longest *= 0.5 ** (gap / PATIENCE_HALF_LIFE_SECONDS)
        if used > BUSY_SHARE * gap:
            self.longest = max(self.longest, gap)
        return gap

    def learn(self, gap: float) -> None:
        """Take over the longest gap of another rank; the time until the next look is no gap."""
        self.last = None
        self.longest = max(self.longest, gap)

    def allowed(self, seconds: float) -> float:
        """As the function, with this rank's own longest gap."""
        return allowed(seconds, self.longest)

    @property
    def milliseconds(self) -> int:
        """The longest gap."""
        return min(int(1000.0 * self.longest), 3_600_000)
