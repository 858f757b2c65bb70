"""Sealing and opening frames as one rank of a run: keys, run id, sequence numbers."""

from __future__ import annotations

from collections.abc import Sequence

from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.base.ports import Signer
from morsr_mpi.wire.frames import Frame, check_signature, decode_frame, encode_frame
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import Message, decode_message, encode_message


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

    def direct_frame(self, message: Message) -> bytes:
        """Return the frame of one message sent over point-to-point."""
        self._direct += 1
        return encode_frame(
            message.TYPE, self._rank, self._direct, encode_message(message), self._run, self._signer
        )

    def open(self, data: bytes, source: int) -> Frame:
        """Return the frame if it is sound and signed by the rank it names.

        Raises ProtocolError naming the sender.
        """
        frame = decode_frame(data, source)
        if frame.sender >= len(self._keys):
            raise ProtocolError(f"rank {source} sent a frame of rank {frame.sender}: no such rank")
        check_signature(frame, self._keys[frame.sender], self._run, self._signer)
        return frame

    def open_direct(self, frame: Frame) -> Message:
        """Return the message of a frame sent over point-to-point."""
        message = decode_message(frame.payload, frame.sender)
        if frame.kind != message.TYPE:
            raise ProtocolError(f"rank {frame.sender} sent a frame that names another type")
        return message
