"""Links over MPI: point-to-point on a communicator that is never revoked, deaths by ULFM.

After a death nothing but point-to-point is used: Open MPI 5 refuses to make a communicator
for the survivors from one with reported deaths (`Create_group` raises MPI_ERR_PROC_FAILED,
acknowledged or not), and a shrunk one cannot be had while a rank is merely stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from mpi4py import MPI

from morsr_mpi.adapters.memory import check_slot
from morsr_mpi.adapters.mpi import MpiTransport
from morsr_mpi.base.config import (
    MAX_FRAMES_PER_POLL,
    MAX_LINK_BYTES,
    MAX_PENDING_SENDS,
    MAX_UNSENT_BYTES,
    SLOT_BYTES,
)
from morsr_mpi.base.errors import InternalError, PeersLostError

T = TypeVar("T")
_TAG = 2
_TESTS = 9  # see adapters/mpi.py

#: Error classes of MPI that mean that a peer is gone.
_GONE = tuple(
    getattr(MPI, name)
    for name in ("ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING", "ERR_REVOKED")
    if hasattr(MPI, name)
)


def _is_loss(error: MPI.Exception) -> bool:
    """Whether an error says that a peer is gone."""
    return error.Get_error_class() in _GONE


class MpiLinks:
    """Links port over the ranks of a communicator; all must call at the same time."""

    def __init__(self, comm: MPI.Intracomm | None = None) -> None:
        """comm: default all ranks; it is duplicated."""
        self._comm = (comm or MPI.COMM_WORLD).Dup()
        self._group = self._comm.Get_group()
        self.rank = self._comm.Get_rank()
        self.size = self._comm.Get_size()
        self._dead: frozenset[int] = frozenset()
        self._sending: dict[int, deque[tuple[MPI.Request, bytes]]] = {}
        self._queues: dict[int, deque[bytes]] = {}
        self._unsent = 0
        #: Sends to the dead: MPI may still read what it was given.
        self._given_up: list[tuple[MPI.Request, bytes]] = []
        self._receiving: deque[tuple[int, MPI.Request, bytearray]] = deque()
        self._status = MPI.Status()

    def failed(self) -> frozenset[int]:
        """Ask ULFM; acknowledge what it reports, so that receives from anybody go on."""
        try:
            group = self._comm.Get_failed()
        except (NotImplementedError, MPI.Exception):  # an MPI without fault tolerance
            return self._dead
        count = group.Get_size()
        if count != len(self._dead):
            ranks = MPI.Group.Translate_ranks(group, list(range(count)), self._group)
            self._dead = frozenset(int(r) for r in ranks)
            self._comm.Ack_failed(count)
            for dest in self._dead:
                self._unsent -= sum(map(len, self._queues.pop(dest, ())))
                self._given_up.extend(self._sending.pop(dest, ()))
        group.Free()
        return self._dead

    def send(self, dest: int, data: bytes) -> None:
        """Start to send; what MPI does not take yet waits here."""
        if len(data) > MAX_LINK_BYTES or dest == self.rank or not 0 <= dest < self.size:
            raise InternalError(f"rank {self.rank} cannot send {len(data)} bytes to {dest}")
        if dest in self._dead:
            return
        if self._unsent + len(data) > MAX_UNSENT_BYTES:
            raise InternalError(f"rank {dest} does not take what is sent to it")
        self._unsent += len(data)
        self._queues.setdefault(dest, deque()).append(data)
        self._push(dest)

    def forget(self, dest: int) -> None:
        """Drop what waits to be sent to a rank that does not answer."""
        self._unsent -= sum(map(len, self._queues.pop(dest, ())))

    def poll(self) -> list[tuple[int, bytes]]:
        """Receive what is there, and go on sending."""
        for dest in list(self._queues):
            self._push(dest)
        while len(self._receiving) < MAX_FRAMES_PER_POLL:
            message = self._next_message()
            if message is None:
                break
            source, length = self._status.Get_source(), self._status.Get_count(MPI.BYTE)
            if not 0 <= length <= MAX_LINK_BYTES:
                raise InternalError(f"rank {source} sent {length} bytes at once")
            data = bytearray(length)
            self._receiving.append((source, message.Irecv((data, length, MPI.BYTE)), data))
        found: list[tuple[int, bytes]] = []
        late: set[int] = set()
        still: deque[tuple[int, MPI.Request, bytearray]] = deque()
        for item in self._receiving:
            source, request, data = item
            try:
                here = source not in late and request.Test()
            except MPI.Exception as error:
                if not _is_loss(error):
                    raise
                continue  # its sender died in the middle of it
            if here:
                found.append((source, bytes(data)))
            else:
                late.add(source)
                still.append(item)
        self._receiving = still
        return found

    @property
    def under_way(self) -> bool:
        """Whether bytes are being sent or received."""
        return bool(self._receiving) or any(self._queues.values()) or any(self._sending.values())

    @property
    def unsent_bytes(self) -> int:
        """What waits here."""
        return self._unsent

    def _next_message(self) -> MPI.Message | None:
        for _ in range(_TESTS):
            try:
                message = self._comm.Improbe(MPI.ANY_SOURCE, _TAG, self._status)
            except MPI.Exception as error:
                if not _is_loss(error):
                    raise
                self.failed()
                continue
            if message is not None:
                return message
        return None

    def _push(self, dest: int) -> None:
        """Complete sends to a rank, start those that wait."""
        if dest in self._dead:
            return
        sending = self._sending.setdefault(dest, deque())
        queue = self._queues.get(dest, deque())
        try:
            while sending and sending[0][0].Test():
                sending.popleft()
            while queue and len(sending) < MAX_PENDING_SENDS:
                data = queue[0]
                request = self._comm.Isend((data, len(data), MPI.BYTE), dest, _TAG)
                queue.popleft()
                self._unsent -= len(data)
                if not request.Test():
                    sending.append((request, data))
        except MPI.Exception as error:
            if not _is_loss(error):
                raise
            self._unsent -= sum(map(len, self._queues.pop(dest, ())))
            self._given_up.extend(self._sending.pop(dest, ()))
        if not queue:
            self._queues.pop(dest, None)


class BreakableTransport:
    """The transport over all ranks; a death shows as PeersLostError when it is polled."""

    def __init__(
        self,
        comm: MPI.Intracomm | None = None,
        slot_bytes: int = SLOT_BYTES,
        *,
        own: bool = False,
    ) -> None:
        """As MpiTransport."""
        self._slot_bytes = slot_bytes
        self._inner = MpiTransport(comm, slot_bytes, own=own)
        self.rank = self._inner.rank
        self.size = self._inner.size
        self._broken = False
        self._active = False

    def start_round(self, slot: bytes) -> None:
        """Enter a round; a broken one is reported by the next poll."""
        check_slot(slot, self._active, self._slot_bytes)
        self._active = True
        self._try(self._inner.start_round, slot)

    def poll_round(self) -> list[bytes] | None:
        """Test the round."""
        found = self._try(self._inner.poll_round)
        self._report()
        if found is not None:
            self._active = False
        return found

    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Send a frame."""
        self._try(self._inner.send, dest, frame, urgent)

    def poll(self) -> list[tuple[int, bytes]]:
        """Return frames."""
        found = self._try(self._inner.poll)
        self._report()
        return found or []

    @property
    def under_way(self) -> bool:
        """Whether frames are under way."""
        return not self._broken and self._inner.under_way

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait."""
        return 0 if self._broken else self._inner.unsent_bytes

    def leave(self) -> bool:
        """Whether all are done."""
        done = self._try(self._inner.leave)
        self._report()
        return bool(done)

    def close(self) -> None:
        """Let go."""
        if not self._broken:
            self._try(self._inner.close)

    def _try(self, call: Callable[..., T], *arguments: Any) -> T | None:
        """Call; None and a note when a peer is gone."""
        if self._broken:
            return None
        try:
            return call(*arguments)
        except MPI.Exception as error:
            if not _is_loss(error):
                raise
            self._broken = True
            return None

    def _report(self) -> None:
        if self._broken:
            raise PeersLostError("a rank of this communicator is gone")
