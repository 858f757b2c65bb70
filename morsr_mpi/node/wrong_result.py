"""Evidence of a wrong result: what a rank has signed that it found for a task.

It names no right result: whoever judges it computes the task itself (DESIGN section 4). The
frame is the culprit's own, as it came, so nobody else can have made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.config import MAX_VALUE_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.base.ports import Signer
from morsr_mpi.wire.frames import Frame, check_signature, decode_frame
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import (
    Announcement,
    Message,
    Results,
    open_messages,
    unpack_header,
)

_KIND = "wrong result"
#: How this evidence begins: no other does.
WRONG_RESULT_PREFIX = encode((_KIND, b"", 0, 0))[: len(encode(_KIND)) + 1]


def claims_of(messages: Iterable[Message]) -> Iterable[tuple[int, int, bytes]]:
    """Yield what messages claim, as (pulse, index of the task, digest of its result)."""
    for message in messages:
        if isinstance(message, Results):
            for index, result in zip(message.indices, message.results, strict=True):
                yield message.pulse, index, sha256(result)
        elif isinstance(message, Announcement):
            for index, name, _ in message.items:
                yield message.pulse, index, name


@dataclass(frozen=True, slots=True)
class Claim:
    """What a rank has signed. digest: of a task's result; committed, state: pulses it had
    committed, and the digest of S then. From another S, results say nothing."""

    culprit: int
    digest: bytes
    committed: int
    state: bytes


def position_of(frame: Frame) -> tuple[int, bytes]:
    """Return pulses committed and digest of S that a frame with the content of a slot names."""
    committed, state, _ = unpack_header(frame.payload, frame.sender)
    return committed, state


def messages_of(frame: Frame) -> tuple[Message, ...]:
    """Return the messages of a frame with the content of a slot.

    Raises ProtocolError for any other.
    """
    if frame.kind not in (MessageType.ROUND, MessageType.RELAY):
        raise ProtocolError("a frame without results")
    _, _, packed = unpack_header(frame.payload, frame.sender)
    return open_messages(packed, frame.sender)


@dataclass(frozen=True, slots=True)
class WrongResult:
    """frame: a signed frame of the culprit; pulse, index: the task whose result in it is wrong."""

    frame: bytes
    pulse: int
    index: int

    def encode(self) -> bytes:
        """Canonical bytes; they begin with `WRONG_RESULT_PREFIX`."""
        return encode((_KIND, self.frame, self.pulse, self.index))

    @classmethod
    def decode(cls, data: bytes) -> WrongResult:
        """Return the evidence in these bytes. Raises ValueError for anything else."""
        match decode(data, MAX_VALUE_BYTES):
            case ("wrong result", bytes(frame), int(pulse), int(index)) if min(pulse, index) >= 0:
                return cls(frame, int(pulse), int(index))
        raise ValueError("no evidence of a wrong result")

    def claim(self, run: bytes, keys: Sequence[bytes], signer: Signer) -> Claim:
        """Return who signed what.

        Raises ValueError when the frame is not signed by a rank of this run, or says nothing of
        this task, and where nothing is signed.
        """
        try:
            frame = decode_frame(self.frame, 0)
            if not signer.signature_bytes or frame.sender >= len(keys):
                raise ValueError("a frame that nobody has signed")
            check_signature(frame, keys[frame.sender], run, signer)
            for pulse, index, digest in claims_of(messages_of(frame)):
                if (pulse, index) == (self.pulse, self.index):
                    return Claim(frame.sender, digest, *position_of(frame))
        except ProtocolError as error:
            raise ValueError(str(error)) from None
        raise ValueError("a frame that says nothing of the task")
