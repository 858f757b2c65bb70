"""Links in memory: ranks of one process that can die, stop and wake for tests."""

from __future__ import annotations

from collections import deque

from morsr_mpi.base.config import MAX_FRAMES_PER_POLL, MAX_LINK_BYTES, MAX_UNSENT_BYTES
from morsr_mpi.base.errors import InternalError


class MemoryWorld:
    """What joins the links of one process. dead: reported to all; cut: pairs that hear nothing
    of each other, as (source, destination)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.dead: frozenset[int] = frozenset()
        self.cut: set[tuple[int, int]] = set()
        self.queues: list[deque[tuple[int, bytes]]] = [deque() for _ in range(size)]

    def kill(self, *ranks: int) -> None:
        """Report ranks dead."""
        self.dead |= set(ranks)

    def links(self, rank: int) -> MemoryLinks:
        """Return the end of one rank."""
        return MemoryLinks(self, rank)


class MemoryLinks:
    """Links port over a `MemoryWorld`."""

    def __init__(self, world: MemoryWorld, rank: int) -> None:
        self._world = world
        self.rank = rank
        self.size = world.size

    def failed(self) -> frozenset[int]:
        """Who was killed."""
        return self._world.dead

    def send(self, dest: int, data: bytes) -> None:
        """Put bytes into the queue of another rank, unless it is dead or cut off."""
        world = self._world
        if len(data) > MAX_LINK_BYTES or dest == self.rank or not 0 <= dest < self.size:
            raise InternalError(f"rank {self.rank} cannot send {len(data)} bytes to {dest}")
        if dest in world.dead or (self.rank, dest) in world.cut:
            return
        if sum(len(d) for _, d in world.queues[dest]) + len(data) > MAX_UNSENT_BYTES:
            raise InternalError(f"rank {dest} does not take what is sent to it")
        world.queues[dest].append((self.rank, data))

    def forget(self, dest: int) -> None:
        """Nothing waits on this side."""

    def poll(self) -> list[tuple[int, bytes]]:
        """Return what arrived."""
        queue = self._world.queues[self.rank]
        return [queue.popleft() for _ in range(min(len(queue), MAX_FRAMES_PER_POLL))]

    @property
    def under_way(self) -> bool:
        """Whether something waits to be polled."""
        return bool(self._world.queues[self.rank])

    @property
    def unsent_bytes(self) -> int:
        """Sending takes no time here."""
        return 0
