"""Sealing and opening frames as one rank of a run: keys, run id, sequence numbers."""

from __future__ import annotations

from collections.abc import Sequence

from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.base.ports import Signer
from morsr_mpi.wire.batch import Batch
from morsr_mpi.wire.frames import (
    SELF_SIGNED,
    Frame,
    check_signature,
    decode_frame,
    encode_frame,
)
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import Message, open_messages, pack_batch, unpack_batch


class Envelope:
    """Signs what this rank sends and checks who sent what it receives."""

    def __init__(self, rank: int, signer: Signer, run: bytes, keys: Sequence[bytes]) -> None:
        """run: id of the run, part of every signature; keys: public key of each rank."""
        self._rank = rank
        self._signer = signer
        self._run = run
        self._keys = tuple(keys)
        self._direct = 0

    def round_frame(self, number: int, payload: bytes) -> bytes:
        """Return the frame of an exchange round."""
        return encode_frame(MessageType.ROUND, self._rank, number, payload, self._run, self._signer)

    def direct_frame(self, batch: Batch) -> bytes:
        """Return the frame of messages sent over point-to-point: one for itself, or a batch."""
        self._direct += 1
        packed = [data for _, data in batch.messages]
        if len(packed) == 1:
            kind, payload = batch.messages[0][0].TYPE, packed[0]
        else:
            kind, payload = MessageType.BATCH, pack_batch(packed)
        return encode_frame(kind, self._rank, self._direct, payload, self._run, self._signer)

    def relay_frame(self, payload: bytes) -> bytes:
        """Return the frame of a slot's content sent over point-to-point."""
        self._direct += 1
        return encode_frame(
            MessageType.RELAY, self._rank, self._direct, payload, self._run, self._signer
        )

    def open(self, data: bytes, source: int) -> Frame:
        """Return the frame if it is sound and signed by the rank it names.

        Raises ProtocolError naming the sender.
        """
        frame = decode_frame(data, source)
        if frame.sender >= len(self._keys):
            raise ProtocolError(f"rank {source} sent a frame of rank {frame.sender}: no such rank")
        if frame.kind in SELF_SIGNED and frame.sender != source:
            raise ProtocolError(f"rank {source} sent a frame of rank {frame.sender} unsigned")
        check_signature(frame, self._keys[frame.sender], self._run, self._signer)
        return frame

    def open_direct(self, frame: Frame) -> tuple[Message, ...]:
        """Return the messages of a frame sent over point-to-point.

        Raises ProtocolError naming the sender.
        """
        sender = frame.sender
        if frame.kind == MessageType.BATCH:
            return open_messages(unpack_batch(frame.payload, sender), sender)
        messages = open_messages((frame.payload,), sender)
        if frame.kind != messages[0].TYPE:
            raise ProtocolError(f"rank {sender} sent a frame that names another type")
        return messages
