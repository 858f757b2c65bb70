"""Messages about pulses that cannot be used yet: the pulse is not planned or not ordered here.

Ranks are a few pulses apart at most, so what an honest rank says too early is bounded.
"""

from __future__ import annotations

from morsr_mpi.base.config import MAX_PENDING_FRAMES, MAX_PULSE_SKEW
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.wire.messages import Announcement, Order, Results
from morsr_mpi.wire.steering import Reassignment

#: Messages about a pulse.
PulseMessage = Order | Reassignment | Results | Announcement


class Held:
    """Keeps messages by pulse, in the order they came, a bounded number of each rank."""

    def __init__(self, rank: int, lag: int) -> None:
        """rank: our own, which may keep any number of results here."""
        self._rank = rank
        self._reach = 2 * (lag + MAX_PULSE_SKEW + 1)
        self._kept: dict[int, list[tuple[int, PulseMessage]]] = {}
        self._count: dict[int, int] = {}

    def keep(self, sender: int, message: PulseMessage, committed: int) -> None:
        """Keep a message. Raises ProtocolError for one too far ahead or too many."""
        if message.pulse > committed + self._reach:
            raise ProtocolError(f"rank {sender} speaks of pulse {message.pulse}, far ahead of all")
        count = self._count.get(sender, 0)
        if count >= MAX_PENDING_FRAMES and sender != self._rank:
            raise ProtocolError(f"rank {sender} sent too much that nobody can use yet")
        self._count[sender] = count + 1
        self._kept.setdefault(message.pulse, []).append((sender, message))

    def take(self, pulse: int) -> list[tuple[int, PulseMessage]]:
        """Remove and return what was kept for a pulse."""
        found = self._kept.pop(pulse, [])
        for sender, _ in found:
            self._count[sender] -= 1
        return found
