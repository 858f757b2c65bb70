"""Transport of a group of ranks over links: rounds and frames by point-to-point.

Good for any members of a job, whoever else is dead or stopped, and needs no agreement of the
MPI library. An empty slot costs one short message to each member; measured against a
collective of full slots this is no dearer for the tens of ranks of a job.

On the links each message starts with a byte that says whose it is: control messages (those
of regrouping), or a group's, followed by the group's epoch and stream.
"""

from __future__ import annotations

import struct
from collections import deque

from morsr_mpi.adapters.memory import check_frame, check_slot
from morsr_mpi.base.config import MAX_FRAMES_PER_POLL, MAX_PENDING_FRAMES, SLOT_BYTES
from morsr_mpi.base.ports import Links

_CONTROL = b"\x00"
_SLOT, _FRAME, _LEAVE = 1, 2, 3
#: Kind, epoch, stream, round number.
_HEADER = struct.Struct(">BIBI")


class Switch:
    """Sorts what arrives on links: control messages, and each group's traffic.

    What belongs to a later epoch waits, a bounded amount per sender; what belongs to an
    earlier one is dropped.
    """

    def __init__(self, links: Links) -> None:
        self.links = links
        self._control: deque[tuple[int, bytes]] = deque()
        self._epoch = 0
        self._streams: dict[tuple[int, int], GroupTransport] = {}
        self._early: dict[tuple[int, int], deque[tuple[int, bytes]]] = {}
        self._waiting: dict[int, int] = {}

    def pump(self) -> None:
        """Take in what has arrived."""
        for source, data in self.links.poll():
            if data[:1] == _CONTROL:
                self._control.append((source, data[1:]))
            elif len(data) >= _HEADER.size:
                self._sort(source, data)

    def control(self) -> list[tuple[int, bytes]]:
        """Return control messages that arrived since the last call."""
        self.pump()
        found = list(self._control)
        self._control.clear()
        return found

    def send_control(self, dest: int, data: bytes) -> None:
        """Send a control message."""
        self.links.send(dest, _CONTROL + data)

    def open(self, epoch: int, stream: int, members: tuple[int, ...]) -> GroupTransport:
        """Return the transport of a group this rank belongs to; earlier epochs are over."""
        if epoch > self._epoch:
            self._epoch = epoch
            self._streams = {key: t for key, t in self._streams.items() if key[0] >= epoch}
            for key in [key for key in self._early if key[0] < epoch]:
                for source, _ in self._early.pop(key):
                    self._waiting[source] -= 1
        transport = GroupTransport(self, epoch, stream, members)
        self._streams[epoch, stream] = transport
        for source, data in self._early.pop((epoch, stream), ()):
            self._waiting[source] -= 1
            transport.take(source, data)
        return transport

    def _sort(self, source: int, data: bytes) -> None:
        _, epoch, stream, _ = _HEADER.unpack_from(data)
        transport = self._streams.get((epoch, stream))
        if transport is not None:
            transport.take(source, data)
        elif epoch >= self._epoch and self._waiting.get(source, 0) < MAX_PENDING_FRAMES:
            self._waiting[source] = self._waiting.get(source, 0) + 1
            self._early.setdefault((epoch, stream), deque()).append((source, data))


class GroupTransport:
    """Transport port over the members of a group, numbered in the order given."""

    def __init__(self, switch: Switch, epoch: int, stream: int, members: tuple[int, ...]) -> None:
        self._switch = switch
        self._key = (epoch, stream)
        self._members = members
        self._index = {rank: i for i, rank in enumerate(members)}
        self.rank = self._index[switch.links.rank]
        self.size = len(members)
        self._number = 0
        self._active = False
        self._slots: dict[int, dict[int, bytes]] = {}
        self._frames: deque[tuple[int, bytes]] = deque()
        self._left: set[int] = set()
        self._said = False

    def start_round(self, slot: bytes) -> None:
        """Send the slot to every member, without the zeros at its end."""
        check_slot(slot, self._active)
        self._active = True
        self._number += 1
        self._slots.setdefault(self._number, {})[self.rank] = slot
        self._broadcast(_SLOT, self._number, slot.rstrip(b"\x00"))

    def poll_round(self) -> list[bytes] | None:
        """Return all slots when all are here."""
        if not self._active:
            return None
        slots = self._slots[self._number]
        if len(slots) < self.size:
            self._switch.pump()
            if len(slots) < self.size:
                return None
        del self._slots[self._number]
        self._active = False
        return [slots[i] for i in range(self.size)]

    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Send a frame; one queue for all, which keeps either order."""
        check_frame(frame, dest, self.rank, self.size)
        header = _HEADER.pack(_FRAME, *self._key, 0)
        self._switch.links.send(self._members[dest], header + frame)

    def poll(self) -> list[tuple[int, bytes]]:
        """Return frames that arrived."""
        self._switch.pump()
        count = min(len(self._frames), MAX_FRAMES_PER_POLL)
        return [self._frames.popleft() for _ in range(count)]

    @property
    def under_way(self) -> bool:
        """Whether bytes are under way on the links."""
        return bool(self._frames) or self._switch.links.under_way

    @property
    def unsent_bytes(self) -> int:
        """What waits on the links."""
        return self._switch.links.unsent_bytes

    def leave(self) -> bool:
        """Say that this rank is done; whether all have said so."""
        if not self._said:
            self._said = True
            self._left.add(self.rank)
            self._broadcast(_LEAVE, 0, b"")
        self._switch.pump()
        return len(self._left) == self.size

    def close(self) -> None:
        """Nothing to let go of: the links live on."""

    def take(self, source: int, data: bytes) -> None:
        """Take in a message of this group; of others than its members nothing."""
        index = self._index.get(source)
        if index is None:
            return
        kind, _, _, number = _HEADER.unpack_from(data)
        body = data[_HEADER.size :]
        first = self._number if self._active else self._number + 1
        if kind == _SLOT and first <= number <= first + 1:  # nobody is further than that
            slot = body[:SLOT_BYTES].ljust(SLOT_BYTES, b"\x00")
            self._slots.setdefault(number, {}).setdefault(index, slot)
        elif kind == _FRAME:
            self._frames.append((index, body))
        elif kind == _LEAVE:
            self._left.add(index)

    def _broadcast(self, kind: int, number: int, body: bytes) -> None:
        data = _HEADER.pack(kind, *self._key, number) + body
        for member in self._members:
            if member != self._switch.links.rank:
                self._switch.links.send(member, data)
