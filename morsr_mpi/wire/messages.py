"""Messages: what a payload says, with every bound checked before a node sees it.

Each is a dataclass with `fields()`, its canonical fields. `encode_message` puts the type in
front; `decode_message` returns the message or raises ProtocolError naming the sender.
Whether the content makes sense at this moment is for the node to judge. On its way a message
is packed (`wire.packing`): `seal_message` and `open_messages`.
"""

from __future__ import annotations

from collections.abc import Sequence

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_BATCH_MESSAGES, MAX_FRAME_BYTES
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.wire.fetch_messages import CacheRequest, CacheResponse, SlotRequest
from morsr_mpi.wire.hello import Hello
from morsr_mpi.wire.kinds import dense
from morsr_mpi.wire.packing import pack, plain, unpack_all
from morsr_mpi.wire.pulse_messages import (
    Announcement,
    Done,
    Order,
    Results,
    StopRequest,
    packed_results,
)
from morsr_mpi.wire.replica_messages import Replica
from morsr_mpi.wire.shapes import count, digest, entries
from morsr_mpi.wire.steering import Heartbeat, Proposal, Reassignment
from morsr_mpi.wire.sync_messages import SyncOffer, SyncRequest
from morsr_mpi.wire.votes import Vote

__all__ = [
    "Announcement",
    "CacheRequest",
    "CacheResponse",
    "Done",
    "Heartbeat",
    "Hello",
    "Message",
    "Order",
    "Proposal",
    "Reassignment",
    "Replica",
    "Results",
    "SlotRequest",
    "StopRequest",
    "SyncOffer",
    "SyncRequest",
    "Vote",
    "decode_message",
    "encode_message",
    "open_messages",
    "pack_header",
    "seal_message",
    "seal_results",
    "unpack_header",
]

Message = (
    Order
    | Results
    | Announcement
    | StopRequest
    | Done
    | CacheRequest
    | CacheResponse
    | SlotRequest
    | Vote
    | Heartbeat
    | Hello
    | Reassignment
    | Proposal
    | SyncRequest
    | SyncOffer
    | Replica
)
_PARSERS: dict[int, type[Message]] = {
    int(kind.TYPE): kind
    for kind in (
        Order, Results, Announcement, StopRequest, Done, CacheRequest, CacheResponse,
        SlotRequest, Vote, Heartbeat, Hello, Reassignment, Proposal,
        SyncRequest, SyncOffer, Replica,
    )
}  # fmt: skip


def encode_message(message: Message) -> bytes:
    """Return the canonical bytes of (type, fields …)."""
    return encode((int(message.TYPE), *message.fields()))


def decode_message(data: bytes, sender: int) -> Message:
    """Return the message in these bytes. Raises ProtocolError naming the sender."""
    try:
        fields = decode(data, MAX_FRAME_BYTES)
    except CanonicalError as error:
        raise ProtocolError(f"rank {sender} sent a malformed message: {error}") from None
    if type(fields) is not tuple or not fields or type(fields[0]) is not int:
        raise ProtocolError(f"rank {sender} sent a message without a type")
    kind = _PARSERS.get(fields[0])
    if kind is None:
        raise ProtocolError(f"rank {sender} sent a message of unknown type {fields[0]}")
    try:
        return kind.parse(fields[1:])
    except ValueError as error:  # a wrong number of fields is one too
        raise ProtocolError(f"rank {sender} sent a malformed {kind.__name__}: {error}") from None


def seal_message(message: Message) -> bytes:
    """Return the packed bytes of a message."""
    data = encode_message(message)
    return plain(data) if dense(message.TYPE) else pack(data)


def seal_results(pulse: int, indices: tuple[int, ...], packed: tuple[bytes, ...]) -> bytes:
    """Return the packed bytes of RESULTS whose results are packed already."""
    return plain(encode(packed_results(pulse, indices, packed)))


def open_messages(packed: tuple[bytes, ...], sender: int) -> tuple[Message, ...]:
    """Return the messages of one frame. Raises ProtocolError naming the sender.

    Together they may unpack to `config.MAX_FRAME_BYTES` at most.
    """
    try:
        if len(packed) > MAX_BATCH_MESSAGES:
            raise ValueError(f"{len(packed)} messages in one frame")
        unpacked = unpack_all(packed, MAX_FRAME_BYTES)
    except ValueError as error:
        raise ProtocolError(f"rank {sender} sent a malformed frame: {error}") from None
    return tuple(decode_message(data, sender) for data in unpacked)


def pack_batch(packed: Sequence[bytes]) -> bytes:
    """Return the payload of a BATCH frame."""
    return encode(tuple(packed))


def unpack_batch(payload: bytes, sender: int) -> tuple[bytes, ...]:
    """Return the packed messages of a BATCH payload. Raises ProtocolError naming the sender."""
    try:
        return _byte_strings(decode(payload, MAX_FRAME_BYTES))
    except ValueError as error:
        raise ProtocolError(f"rank {sender} sent a malformed batch: {error}") from None


def unpack_header(payload: bytes, sender: int) -> tuple[int, bytes, tuple[bytes, ...]]:
    """Return (pulses committed, digest of S then, packed messages) of a ROUND payload.

    Raises ProtocolError naming the sender.
    """
    try:
        committed, state, packed = entries((decode(payload, MAX_FRAME_BYTES),), 3)[0]
        return count(committed), digest(state), _byte_strings(packed)
    except ValueError as error:
        raise ProtocolError(f"rank {sender} sent a malformed round: {error}") from None


def pack_header(committed: int, state: bytes, messages: tuple[bytes, ...]) -> bytes:
    """Return the payload of a ROUND frame."""
    return encode((committed, state, messages))


def _byte_strings(value: object) -> tuple[bytes, ...]:
    """A tuple of byte strings."""
    if type(value) is not tuple or not all(type(item) is bytes for item in value):
        raise ValueError("messages that are not bytes")
    return value
