"""Counts what a rank says, by type of message: the same code beside a real and a simulated
transport, so that the counts of both can be compared.

Counted are messages and their packed bytes as they leave their rank, in slots and in frames;
how they share frames is a matter of time and differs from run to run.
"""

from __future__ import annotations

from collections import Counter

from morsr_mpi.base.ports import Transport
from morsr_mpi.wire.frames import decode_frame
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import open_messages, unpack_batch, unpack_header
from morsr_mpi.wire.slots import unpack_slot


class CountingTransport:
    """A transport that counts by type what goes out. rounds: empty ones too."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.rank = inner.rank
        self.size = inner.size
        self.messages: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.rounds = 0

    def start_round(self, slot: bytes) -> None:
        """Count and pass on."""
        self.rounds += 1
        for data in unpack_slot(slot, self.rank):
            frame = decode_frame(data, self.rank)
            if frame.kind == MessageType.ROUND:
                _, _, packed = unpack_header(frame.payload, self.rank)
                self._count(packed)
            else:  # HELLO, which is not packed
                self._add(frame.kind, len(frame.payload))
        self._inner.start_round(slot)

    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Count and pass on."""
        opened = decode_frame(frame, self.rank)
        if opened.kind == MessageType.BATCH:
            self._count(unpack_batch(opened.payload, self.rank))
        elif opened.kind != MessageType.ROUND:  # a slot said again is no new message
            self._count((opened.payload,))
        self._inner.send(dest, frame, urgent)

    def _count(self, packed: tuple[bytes, ...]) -> None:
        for data in packed:
            (message,) = open_messages((data,), self.rank)
            self._add(message.TYPE, len(data))

    def _add(self, kind: MessageType, size: int) -> None:
        self.messages[kind.name] += 1
        self.bytes[kind.name] += size

    def poll_round(self) -> list[bytes] | None:
        """Pass on."""
        return self._inner.poll_round()

    def poll(self) -> list[tuple[int, bytes]]:
        """Pass on."""
        return self._inner.poll()

    @property
    def under_way(self) -> bool:
        """Pass on."""
        return self._inner.under_way

    @property
    def unsent_bytes(self) -> int:
        """Pass on."""
        return self._inner.unsent_bytes

    def leave(self) -> bool:
        """Pass on."""
        return self._inner.leave()

    def close(self) -> None:
        """Pass on."""
        self._inner.close()
