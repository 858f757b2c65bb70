"""When what a rank has to say to all goes out: frames cost a signature, and a check on every rank.

Results wait for others of the same rank, until somebody could be waiting for them; signs of life
and accounts of commits go along with what goes anyway. Orders and all else go with the next round.
Time comes in with the calls, and only decides when something is said.
"""

from __future__ import annotations

from morsr_mpi.base.config import (
    HOLD_SECONDS,
    HOLD_SECONDS_PER_RANK,
    HOLD_WITHOUT_LAG_SECONDS,
    MAX_HOLD_SECONDS,
    SLOT_BYTES,
)
from morsr_mpi.wire.kinds import MessageType

_PATIENT = frozenset(
    {MessageType.HEARTBEAT, MessageType.PULSE_PROPOSAL, MessageType.OPTIMIZATION_RESULT}
)


def hold_seconds(size: int, lag: int, free: bool = False, proven: bool = False) -> float:
    """Longest time a result waits for others; none in free mode, where commits wait for nothing.

    size: number of ranks; lag, free: options of the run; proven: frames serve as proofs of what
    was claimed in which state, so that they must not be older than the sender's next commit.
    """
    if free or proven:
        return 0.0
    if lag == 0:
        return HOLD_WITHOUT_LAG_SECONDS
    return min(MAX_HOLD_SECONDS, max(HOLD_SECONDS, HOLD_SECONDS_PER_RANK * size))


class Pacer:
    """Whether what waits on one rank may wait longer."""

    def __init__(self, lag: int, hold: float) -> None:
        """hold: seconds that a result waits at most."""
        self._hold = hold
        self._reach = max(1, lag)
        self._since: float | None = None
        self._pressing = False
        self._spared_at = -1
        self._bytes = 0
        self.now = 0.0  # as of the last tick

    def queued(self, kind: MessageType, size: int) -> None:
        """Note that a message to all was queued, and its bytes."""
        if self._since is None:
            self._since = self.now
        self._bytes += size
        if kind not in _PATIENT or self._bytes >= SLOT_BYTES // 2:
            self._pressing = True

    def press(self) -> None:
        """Somebody may be waiting for what waits here."""
        self._since = self.now if self._since is None else self._since
        self._pressing = True

    def work(self, oldest: int, next_task: int | None, latest: int) -> None:
        """Say what is left to do. oldest: the oldest pulse in flight; next_task: the least pulse
        with a task begun here, None without any; latest: the latest with a result of another rank.

        Whoever is at the last pulse that the lag allows will soon have nothing to do: what it needs
        for the next goes now, once for each pulse.
        """
        last = oldest + self._reach
        if next_task is None:
            self._pressing = True
        elif (next_task >= last or latest >= last) and oldest > self._spared_at:
            self._spared_at = oldest
            self._pressing = True

    def due(self) -> bool:
        """Whether everything that waits goes now; it is then taken to have gone."""
        since = self._since
        if since is None:
            self._pressing = False
            return False
        if not self._pressing and self.now - since < self._hold:
            return False
        self.gone()
        return True

    def gone(self) -> None:
        """What waited has gone."""
        self._since = None
        self._bytes = 0
        self._pressing = False
