"""What is fuzzed: each target takes any bytes and fails only where the software has a bug.

A refusal by the declared error is right; what is taken must be the one form of its value.
`SEEDS` are sound inputs for each target, to start from.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import security_targets
import tensor_targets
from toys import ToySearch, toy_settings

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.config import SLOT_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.lattice.tilecode import pack_tiles, unpack_tiles
from morsr_mpi.node.core import Node
from morsr_mpi.node.events import FrameReceived, RoundDone, RoundDue, Tick
from morsr_mpi.node.sync import MissedPulse, open_pulses
from morsr_mpi.search.chambers import Chamber
from morsr_mpi.search.tasks import TaskResult
from morsr_mpi.security.unsigned import UnsignedSigner
from morsr_mpi.storage.memory_store import MemoryStore
from morsr_mpi.storage.store_messages import StoreFound, StorePut
from morsr_mpi.wire.frames import decode_frame, encode_frame
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import (
    CacheRequest,
    CacheResponse,
    Done,
    Heartbeat,
    Message,
    Order,
    Replica,
    Results,
    SlotRequest,
    StopRequest,
    SyncOffer,
    SyncRequest,
    Vote,
    decode_message,
    encode_message,
    open_messages,
    pack_batch,
    pack_header,
    seal_message,
    unpack_batch,
    unpack_header,
)
from morsr_mpi.wire.packing import pack, plain, unpack
from morsr_mpi.wire.slots import pack_slot, unpack_slot
from morsr_mpi.wire.sync_messages import SyncForm

D = sha256(b"d")
LIMIT = 1 << 20
MESSAGES: tuple[Message, ...] = (
    Order(0, 0, D, 2, 0, (0, 1), "stop", (1000, 500)),
    Results(0, (0, 1), (b"r" * 40, b"")),
    CacheRequest((D, sha256(b"e")), (0, 9)),
    CacheResponse(((D, 9, 2, b"bytes"),)),
    Done(0, D, D),
    StopRequest("wall time"),
    SlotRequest(1),
    Vote(b"vote"),
    Heartbeat(9, 1, 5),
    SyncRequest(0, D, b"8 bytes."),
    SyncOffer(SyncForm.PULSES, 1, D, sha256(b"b"), 1, b"b"),
    Replica(StorePut(1, D, 2, b"result")),
    Replica(StoreFound(1, 2, b"result")),
)
_PLAIN_TYPES = (Results,)
SIGNER = UnsignedSigner()


def frame(data: bytes) -> None:
    """A frame, and the messages in it."""
    with suppress(ProtocolError):
        found = decode_frame(data, 3)
        again = encode_frame(
            found.kind, found.sender, found.sequence, found.payload, b"", _Replays(found.signature)
        )
        assert again == data, "a frame has one form"
        packed: tuple[bytes, ...] = (found.payload,)
        if found.kind == MessageType.BATCH:
            packed = unpack_batch(found.payload, 3)
            assert pack_batch(packed) == found.payload
        elif found.kind == MessageType.ROUND:
            committed, state, packed = unpack_header(found.payload, 3)
            assert pack_header(committed, state, packed) == found.payload
        open_messages(packed, 3)


class _Replays(UnsignedSigner):
    """Gives one signature."""

    def __init__(self, signature: bytes) -> None:
        self.signature = signature

    def sign(self, data: bytes) -> bytes:
        return self.signature


def message(data: bytes) -> None:
    """One message; those without packed parts have one form."""
    with suppress(ProtocolError):
        found = decode_message(data, 3)
        if not isinstance(found, _PLAIN_TYPES):
            assert encode_message(found) == data


def packed(data: bytes) -> None:
    """Packed bytes stay within their limit."""
    with suppress(ValueError):
        found = unpack(data, LIMIT)
        assert len(found) <= LIMIT
        assert unpack(pack(found), LIMIT) == found


def slot(data: bytes) -> None:
    """A slot."""
    with suppress(ProtocolError):
        whole = data[:SLOT_BYTES].ljust(SLOT_BYTES, b"\0")
        assert pack_slot(unpack_slot(whole, 3)) == whole


def tiles(data: bytes) -> None:
    """Packed tiles."""
    with suppress(ValueError):
        assert pack_tiles(unpack_tiles(data, 4096)) == data


def result(data: bytes) -> None:
    """The result of a task."""
    with suppress(InternalError):
        assert TaskResult.from_bytes(data).to_bytes() == data


def sync(data: bytes) -> None:
    """A bundle of missed pulses."""
    offer = SyncOffer(SyncForm.PULSES, 2, D, sha256(data), len(data))
    with suppress(ProtocolError):
        missed = open_pulses(offer, data, 0, 3)
        assert encode(tuple(m.fields() for m in missed)) == data


def _met_node() -> Node:
    """Rank 1 of two that have met; nothing is signed, so anybody can say anything."""
    nodes = [
        Node(toy_settings(rank, 2), ToySearch(3, sizes=(3,)), UnsignedSigner(), MemoryStore())
        for rank in range(2)
    ]
    slots = []
    for node in nodes:
        (start,) = node.step(RoundDue())
        slots.append(start.slot)  # type: ignore[union-attr]
    nodes[1].step(RoundDone(tuple(slots)))
    return nodes[1]


def node(data: bytes) -> None:
    """A whole rank: a frame over point-to-point, or a slot, and what follows from it.

    A rank may end the run (InternalError) when what its coordinator says cannot be; whatever
    else it is told it refuses and goes on.
    """
    rank = _met_node()
    with suppress(InternalError):
        if data[:1] == b"\0":
            rank.step(FrameReceived(0, data[1:]))
        else:
            start = next(e for e in rank.step(RoundDue()) if hasattr(e, "slot"))
            theirs = data[1 : SLOT_BYTES + 1].ljust(SLOT_BYTES, b"\0")
            rank.step(RoundDone((theirs, start.slot)))
        rank.step(Tick(1.0))
        rank.step(RoundDue())


def told(data: bytes) -> None:
    """A whole rank that hears one message in a sound frame: in a round, and directly.

    What ends the run must say which rank said so.
    """
    rank = _met_node()
    run = rank.chain.point.head
    kind = _type_of(data)
    try:
        if kind is not None:
            direct = encode_frame(kind, 0, 1, plain(data), run, SIGNER)
            rank.step(FrameReceived(0, direct))
        start = next(e for e in rank.step(RoundDue()) if hasattr(e, "slot"))
        payload = pack_header(0, rank.search.state_digest(), (plain(data[:6000]),))
        theirs = pack_slot([encode_frame(MessageType.ROUND, 0, 1, payload, run, SIGNER)])
        rank.step(RoundDone((theirs, start.slot)))
        rank.step(Tick(1.0))
        rank.step(RoundDue())
    except InternalError as error:
        if "rank 0" not in str(error):
            raise


def _type_of(data: bytes) -> MessageType | None:
    """The type a message says it has; None for none."""
    with suppress(ProtocolError):
        return decode_message(data, 0).TYPE
    return None


def _orders() -> list[bytes]:
    """Orders for the first pulse of the rank of `told`: sound, and almost."""
    _, tasks = ToySearch(3, sizes=(3,)).plan()
    name = sha256(b"".join(task.task_id for task in tasks))
    ranks = (0,) * len(tasks)
    orders = [
        Order(0, 0, name, len(tasks), 0, ranks),
        Order(0, 0, name, len(tasks), 0, ranks, "stop", (1, 2)),
        Order(0, 0, name, len(tasks), 1, ranks[1:]),
    ]
    return [encode_message(order) for order in orders]


def _frames() -> list[bytes]:
    """A sound frame of rank 0 for each message."""
    return [encode_frame(m.TYPE, 0, 1, seal_message(m), b"", SIGNER) for m in MESSAGES]


def _rounds() -> list[bytes]:
    """Sound ROUND frames of rank 0."""
    return [
        encode_frame(MessageType.ROUND, 0, 1, pack_header(0, D, (seal_message(m),)), b"", SIGNER)
        for m in MESSAGES
    ]


_RESULTS = [
    TaskResult(5, 1.5, bytes(range(32)), (), (1, 2)),
    TaskResult(5, float("inf"), b"", (Chamber(None, 0, b"", 0.5),), ()),
    TaskResult(5, 2.0, b"", (Chamber(None, 3, bytes(range(32)), 0.5),), (1, 2, 3, 4)),
]
_MISSED = tuple(MissedPulse(p, (0, 1), (b"a", b"b"), D).fields() for p in range(2))

TARGETS: dict[str, Callable[[bytes], None]] = {
    "frame": frame,
    "message": message,
    "packed": packed,
    "slot": slot,
    "tiles": tiles,
    "result": result,
    "sync": sync,
    "node": node,
    "told": told,
    **security_targets.TARGETS,
    **tensor_targets.TARGETS,
}
SEEDS: dict[str, list[bytes]] = {
    "frame": [*_frames(), *_rounds()],
    "message": [encode_message(m) for m in MESSAGES],
    "packed": [pack(b"abc"), pack(b"abcd" * 1000)],
    "slot": [pack_slot([f])[: len(f) + 9] for f in _rounds()],
    "tiles": [pack_tiles(bytes(64)), pack_tiles(bytes(range(64)))],
    "result": [r.to_bytes() for r in _RESULTS],
    "sync": [encode(_MISSED)],
    "told": [*map(encode_message, MESSAGES), *_orders()],
    "node": [
        *(b"\0" + f for f in [*_frames(), *_rounds()]),
        *(b"\1" + pack_slot([f])[: len(f) + 4] for f in _rounds()),
    ],
    **security_targets.SEEDS,
    **tensor_targets.SEEDS,
}
