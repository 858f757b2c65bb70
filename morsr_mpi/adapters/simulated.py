"""Simulated transport and clock: ranks of one process under virtual time (DESIGN section 6).

The third implementation of the transport port, beside MPI and memory. MPI promises that what
is sent between two living ranks arrives once, whole and in the order sent, and says nothing
about how long that takes or about different pairs. A `Conduct` decides what happens here, and
may break every one of these promises except one: a slot of an exchange round is never lost
between living ranks, because a collective either completes or stays pending.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from morsr_mpi.adapters.memory import check_frame, check_slot
from morsr_mpi.base.config import MAX_FRAMES_PER_POLL, MAX_UNSENT_BYTES
from morsr_mpi.base.errors import InternalError

#: Seconds that one reading of a simulated clock takes, so that loops waiting for it end.
READING_SECONDS = 1e-8


class EventQueue:
    """Virtual time: what is to happen, in order of time, then in the order it was asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self._asked = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Ask for a call at a time, at once if that has passed."""
        self._asked += 1
        heapq.heappush(self._heap, (max(when, self.now), self._asked, call))

    def step(self) -> bool:
        """Let the next thing happen; False when there is none."""
        if not self._heap:
            return False
        self.now, _, call = heapq.heappop(self._heap)
        call()
        return True


class SimulatedClock:
    """Clock port of one simulated rank: it moves when the rank is charged for something."""

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue
        self._local = 0.0
        self._cpu = 0.0

    def now(self) -> float:
        """Virtual seconds, never behind the queue."""
        self._local = max(self._local, self._queue.now) + READING_SECONDS
        return self._local

    def cpu(self) -> float:
        """Virtual seconds charged so far."""
        return self._cpu

    def sleep(self, seconds: float) -> None:
        """Let time pass without using the processor."""
        self._local = self.now() + max(0.0, seconds)

    @property
    def busy_until(self) -> float:
        """Time up to which this rank has been charged."""
        return self._local

    def charge(self, seconds: float) -> None:
        """Let time pass with the processor in use."""
        self._local = max(self._local, self._queue.now) + seconds
        self._cpu += seconds


class Conduct(Protocol):
    """What a network does with what is handed to it. Called once per receiver, in order."""

    @property
    def in_order(self) -> bool:
        """Whether frames of one pair keep their order, as with MPI."""

    def frame(self, now: float, source: int, dest: int, frame: bytes) -> Sequence[Delivery]:
        """Return the deliveries of a frame: none if it is lost, several if duplicated."""

    def slot(self, now: float, number: int, source: int, dest: int, slot: bytes) -> Delivery:
        """Return the delivery of one rank's slot of a round to another."""


#: Seconds a delivery takes, and the bytes that arrive.
Delivery = tuple[float, bytes]


class EvenConduct:
    """A faultless network: everything takes `latency` plus `per_byte` times its length."""

    in_order = True

    def __init__(self, latency: float, per_byte: float = 0.0) -> None:
        self._latency = latency
        self._per_byte = per_byte

    def frame(self, now: float, source: int, dest: int, frame: bytes) -> Sequence[Delivery]:
        """One delivery, unchanged."""
        return ((self._latency + self._per_byte * len(frame), frame),)

    def slot(self, now: float, number: int, source: int, dest: int, slot: bytes) -> Delivery:
        """Unchanged."""
        return (self._latency + self._per_byte * len(slot), slot)


class SimulatedNetwork:
    """What joins the simulated ranks."""

    def __init__(self, size: int, queue: EventQueue, conduct: Conduct) -> None:
        self.size = size
        self.queue = queue
        self.conduct = conduct
        self.leaving: set[int] = set()
        self._ends = [SimulatedTransport(self, rank) for rank in range(size)]
        self._latest: dict[tuple[int, int, bool], float] = {}
        self._rounds: dict[int, dict[int, tuple[float, bytes]]] = {}

    def transport(self, rank: int) -> SimulatedTransport:
        """Return the end of one rank."""
        return self._ends[rank]

    def send(self, source: int, dest: int, frame: bytes, when: float, urgent: bool) -> None:
        """Hand over a frame at a time of the sender's; urgent ones keep order among themselves."""
        pair = (source, dest, urgent)
        for delay, data in self.conduct.frame(when, source, dest, frame):
            arrival = when + delay
            if self.conduct.in_order:
                arrival = max(arrival, self._latest.get(pair, 0.0))
                self._latest[pair] = arrival
            self.queue.at(arrival, partial(self._ends[dest].frame_arrives, source, data))

    def enter(self, source: int, number: int, slot: bytes, when: float) -> None:
        """Hand over a slot at a time of the sender's; the last one completes the round."""
        slots = self._rounds.setdefault(number, {})
        slots[source] = (when, slot)
        if len(slots) < self.size:
            return
        del self._rounds[number]
        conduct = self.conduct
        for dest, end in enumerate(self._ends):
            complete, found = slots[dest][0], []
            for rank in range(self.size):
                at, data = slots[rank]
                if rank != dest:
                    delay, data = conduct.slot(at, number, rank, dest, data)
                    complete = max(complete, at + delay)
                found.append(data)
            self.queue.at(complete, partial(end.round_arrives, found))

    def leave(self, rank: int) -> bool:
        """Note that a rank needs nothing more; True once all have said so."""
        if rank not in self.leaving:
            self.leaving.add(rank)
            if len(self.leaving) == self.size:
                for end in self._ends:
                    end.wake()
        return len(self.leaving) == self.size


def _nobody() -> None:
    """Nobody waits."""


class SimulatedTransport:
    """Transport port over a `SimulatedNetwork`.

    clock: the rank's; what it sends leaves at that time. wake: called when something arrives.
    """

    def __init__(self, network: SimulatedNetwork, rank: int) -> None:
        self._network = network
        self.rank = rank
        self.size = network.size
        self.clock = SimulatedClock(network.queue)
        self.wake: Callable[[], None] = _nobody
        self._round = 0
        self._active = False
        self._slots: list[bytes] | None = None
        self._frames: deque[tuple[int, bytes]] = deque()
        self._waiting_bytes = 0

    def start_round(self, slot: bytes) -> None:
        """Enter the next round."""
        check_slot(slot, self._active)
        self._active = True
        self._network.enter(self.rank, self._round, slot, self.clock.now())

    def poll_round(self) -> list[bytes] | None:
        """Return all slots once every rank's has arrived here."""
        if self._slots is None:
            return None
        slots, self._slots = self._slots, None
        self._active = False
        self._round += 1
        return slots

    @property
    def unsent_bytes(self) -> int:
        """Nothing waits here: what is sent is with the network at once."""
        return 0

    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Hand a frame to the network."""
        check_frame(frame, dest, self.rank, self.size)
        if self._network.transport(dest)._waiting_bytes + len(frame) > MAX_UNSENT_BYTES:
            raise InternalError(f"rank {dest} does not take what is sent to it")
        self._network.send(self.rank, dest, frame, self.clock.now(), urgent)

    def poll(self) -> list[tuple[int, bytes]]:
        """Return frames that arrived."""
        queue = self._frames
        found = [queue.popleft() for _ in range(min(len(queue), MAX_FRAMES_PER_POLL))]
        self._waiting_bytes -= sum(len(frame) for _, frame in found)
        return found

    @property
    def under_way(self) -> bool:
        """Whether frames wait to be polled."""
        return bool(self._frames)

    def leave(self) -> bool:
        """Whether all ranks have called this."""
        return self._network.leave(self.rank)

    def close(self) -> None:
        """Take no notice of what arrives from now on."""
        self.wake = _nobody

    # --- called by the network -----------------------------------------------------------
    def frame_arrives(self, source: int, frame: bytes) -> None:
        """Queue a frame and wake the rank."""
        self._waiting_bytes += len(frame)
        self._frames.append((source, frame))
        self.wake()

    def round_arrives(self, slots: list[bytes]) -> None:
        """Keep the slots of the round this rank is in, and wake it."""
        self._slots = slots
        self.wake()
