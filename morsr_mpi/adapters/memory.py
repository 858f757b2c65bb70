"""In-memory transport: any number of ranks in one process, without threads.

The twin of the MPI transport. `MemoryNetwork` joins the ranks; a round completes when every
rank has entered it, frames arrive at the next poll. Faults can be put in for tests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from morsr_mpi.base.config import (
    MAX_FRAME_BYTES,
    MAX_FRAMES_PER_POLL,
    MAX_UNSENT_BYTES,
    SLOT_BYTES,
)
from morsr_mpi.base.errors import InternalError

#: Changes what one rank receives: (round or 0, sender, receiver, bytes) -> bytes.
Tamper = Callable[[int, int, int, bytes], bytes]


def check_slot(slot: bytes, active: bool, size: int = SLOT_BYTES) -> None:
    """Raise InternalError for what no transport accepts as the start of a round."""
    if len(slot) != size:
        raise InternalError(f"a slot has {size} bytes, not {len(slot)}")
    if active:
        raise InternalError("the round before is not complete")


def check_frame(frame: bytes, dest: int, rank: int, size: int) -> None:
    """Raise InternalError for what no transport accepts as a frame to send."""
    if len(frame) > MAX_FRAME_BYTES:
        raise InternalError(f"a frame of {len(frame)} bytes exceeds {MAX_FRAME_BYTES}")
    if not 0 <= dest < size or dest == rank:
        raise InternalError(f"rank {rank} cannot send to rank {dest} of {size}")


class MemoryNetwork:
    """What joins the ranks of one process."""

    def __init__(
        self, size: int, tamper: Tamper | None = None, slot_bytes: int = SLOT_BYTES
    ) -> None:
        """tamper: what a network may do to bytes; slots and frames pass through it."""
        self.size = size
        self.slot_bytes = slot_bytes
        self.tamper = tamper
        self.rounds: dict[int, dict[int, bytes]] = {}
        #: For each rank the urgent frames and the others.
        self.queues: list[tuple[deque[tuple[int, bytes]], deque[tuple[int, bytes]]]] = [
            (deque(), deque()) for _ in range(size)
        ]
        self.queued_bytes = [0] * size
        self.leaving: set[int] = set()

    def transport(self, rank: int) -> MemoryTransport:
        """Return the end of one rank."""
        return MemoryTransport(self, rank)


class MemoryTransport:
    """Transport port over a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, rank: int) -> None:
        self._network = network
        self.rank = rank
        self.size = network.size
        self._round = 0
        self._active = False

    def start_round(self, slot: bytes) -> None:
        """Enter the next round."""
        check_slot(slot, self._active, self._network.slot_bytes)
        self._active = True
        self._network.rounds.setdefault(self._round, {})[self.rank] = slot

    def poll_round(self) -> list[bytes] | None:
        """Return all slots when every rank has entered this rank's round."""
        if not self._active:
            return None
        number, network = self._round, self._network
        slots = network.rounds[number]
        if len(slots) < self.size:
            return None
        self._active = False
        self._round += 1
        network.rounds.pop(number - 2, None)  # nobody can be two rounds behind
        found = [slots[rank] for rank in range(self.size)]
        if network.tamper is not None:
            found = [network.tamper(number, s, self.rank, d) for s, d in enumerate(found)]
        return found

    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Put a frame into the queue of another rank, an urgent one before others."""
        check_frame(frame, dest, self.rank, self.size)
        network = self._network
        if network.queued_bytes[dest] + len(frame) > MAX_UNSENT_BYTES:
            raise InternalError(f"rank {dest} does not take what is sent to it")
        if network.tamper is not None:
            frame = network.tamper(0, self.rank, dest, frame)
        network.queued_bytes[dest] += len(frame)
        network.queues[dest][0 if urgent else 1].append((self.rank, frame))

    def poll(self) -> list[tuple[int, bytes]]:
        """Return frames that arrived."""
        found: list[tuple[int, bytes]] = []
        for queue in self._network.queues[self.rank]:
            while queue and len(found) < MAX_FRAMES_PER_POLL:
                found.append(queue.popleft())
        self._network.queued_bytes[self.rank] -= sum(len(frame) for _, frame in found)
        return found

    @property
    def under_way(self) -> bool:
        """Whether frames wait to be polled: sending takes no time here."""
        return any(self._network.queues[self.rank])

    @property
    def unsent_bytes(self) -> int:
        """What the fullest queue of the network holds: sending takes no time here."""
        return max(self._network.queued_bytes)

    def leave(self) -> bool:
        """Whether all ranks of the network have called this."""
        self._network.leaving.add(self.rank)
        return len(self._network.leaving) == self.size

    def close(self) -> None:
        """Nothing to let go of."""
