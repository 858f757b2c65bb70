"""Who has been heard of, and when this rank speaks of its own progress."""

from __future__ import annotations

from morsr_mpi.base.config import (
    HEARTBEAT_SECONDS,
    HEARTBEAT_SECONDS_PER_RANK,
    RELAY_SECONDS,
    TAKE_OVER_SECONDS,
)
from morsr_mpi.node.events import Tick
from morsr_mpi.node.patience import allowed
from morsr_mpi.wire.steering import Heartbeat


class LifeSigns:
    """Times at which ranks were heard of."""

    def __init__(self, rank: int, size: int, now: float) -> None:
        self._rank = rank
        self._heard = [now] * size
        self._every = max(HEARTBEAT_SECONDS, size * HEARTBEAT_SECONDS_PER_RANK)
        self._said_at = now
        self._said = 0
        self._looked_at = now
        self._tick = Tick(now)

    def tick(self, tick: Tick) -> None:
        """Note the time and this rank's progress."""
        gap = tick.now - self._tick.now
        if gap > TAKE_OVER_SECONDS:
            # This rank itself was stopped: what it has not heard since says nothing.
            self._heard = [tick.now] * len(self._heard)
        self._tick = tick
        self._heard[self._rank] = tick.now

    def hear(self, rank: int) -> None:
        """Note that something came from a rank."""
        self._heard[rank] = self._tick.now

    def hear_all(self) -> None:
        """Note that a round is complete: every rank has entered it."""
        self._heard = [self._tick.now] * len(self._heard)

    def silent(self) -> list[int]:
        """Ranks not heard of for `config.TAKE_OVER_SECONDS`, longer where this one is slow too."""
        late = self._tick.now - allowed(TAKE_OVER_SECONDS, self._tick.gap)
        return [rank for rank, at in enumerate(self._heard) if at < late]

    def look_due(self) -> bool:
        """Whether it is time for another look at who is late."""
        if self._tick.now - self._looked_at < RELAY_SECONDS:
            return False
        self._looked_at = self._tick.now
        return True

    def heartbeat(self, relaying: bool) -> Heartbeat | None:
        """Return what this rank has to say of its progress now, None for nothing yet.

        relaying: a round is late, so that being heard of is what matters.
        """
        tick = self._tick
        every = RELAY_SECONDS if relaying else self._every
        if tick.now - self._said_at < every or (tick.busy == self._said and not relaying):
            return None
        self._said_at, self._said = tick.now, tick.busy
        return Heartbeat(tick.work, min(tick.spent, tick.work), tick.busy)
