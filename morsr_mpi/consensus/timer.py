"""The one timer of a rank: how long a primary is given, longer after each failure in a row."""

from __future__ import annotations

from morsr_mpi.base.config import MAX_DOUBLINGS
from morsr_mpi.consensus.effects import Effect, SetTimer, StopTimer


class Timer:
    """Asks for wake-ups; a wake-up that is out of date is told by its token."""

    def __init__(self, effects: list[Effect]) -> None:
        self._effects = effects
        self._token = 0
        self._failures = 0
        self.running = False

    def start(self) -> None:
        """Start anew."""
        self._token += 1
        self.running = True
        self._effects.append(SetTimer(self._token, min(self._failures, MAX_DOUBLINGS)))

    def stop(self) -> None:
        """No wake-up is wanted."""
        if self.running:
            self.running = False
            self._effects.append(StopTimer())

    def expired(self, token: int) -> bool:
        """Whether a wake-up is the one that is waited for."""
        due = self.running and token == self._token
        if due:
            self.running = False
        return due

    def fail(self) -> None:
        """The next view gets twice the time (PBFT section 4.5.2)."""
        self._failures += 1

    def calm(self) -> None:
        """A decision, or a new membership: patience as at the start."""
        self._failures = 0
