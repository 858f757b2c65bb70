"""Frames, slots and messages: what goes in comes out; whatever else comes is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.config import MAX_FRAME_BYTES, SLOT_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.storage.store_messages import StoreFound, StoreGet, StoreKept, StorePut
from morsr_mpi.wire.frames import (
    FRAME_OVERHEAD,
    SELF_SIGNED,
    check_signature,
    decode_frame,
    encode_frame,
)
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import (
    Announcement,
    CacheRequest,
    CacheResponse,
    Done,
    Heartbeat,
    Hello,
    Message,
    Order,
    Proposal,
    Reassignment,
    Replica,
    Results,
    SlotRequest,
    StopRequest,
    Vote,
    decode_message,
    encode_message,
    pack_header,
    unpack_header,
)
from morsr_mpi.wire.slots import EMPTY_SLOT, SLOT_CAPACITY, pack_slot, unpack_slot

D = sha256(b"d")
AUTHORITY = TwinAuthority()
SIGNER = AUTHORITY.signer(3)

MESSAGES: list[Message] = [
    Order(0, 7, D, 5, 2, (0, 65535, 3)),
    Order(1, 7, D, 0, 0, (), "SIGUSR1"),
    Results(3, (0, 5), (b"", b"abc")),
    Results(3, (), ()),
    Announcement(3, ((1, D, 100_000),)),
    StopRequest("Ctrl-C"),
    Done(9, D, sha256(b"h")),
    CacheRequest((D, sha256(b"e"))),
    CacheRequest((D, sha256(b"e")), (0, 77)),
    Results(4, (1, 2), (b"x" * 5000, bytes(range(256)))),
    Vote(b"canonical"),
    Order(0, 7, D, 5, 2, (0, 65535, 3), "", (1000, 500)),
    Reassignment(0, 7, (1, 4), (0, 2)),
    Proposal(0, 7, 0, 1, ((7, 1, 0), (7, 2, 3)), D),
    Proposal(1, 8, 1, 2, (), D),
    Heartbeat(1 << 40, 4, 9),
    CacheResponse(((D, 10, 4, b"abcdef"), (D, -1, 0, b""))),
    SlotRequest(12),
    Replica(StorePut(7, D, 65535, b"result")),
    Replica(StoreKept(7, True)),
    Replica(StoreGet(8, D)),
    Replica(StoreFound(8, 2, b"")),
    Replica(StoreFound(9, 0, None)),
    Hello("0.1", 1, D, D, "sign", b"s", 4, D, b"k" * 32, 1000, 2, D, D),
]


def complaint(decode: Callable[[bytes, int], object], data: bytes, sender: int) -> str | None:
    """What a decoder says against these bytes; None when it takes them."""
    try:
        decode(data, sender)
    except ProtocolError as error:
        return str(error)
    return None


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_messages_come_back(message: Message) -> None:
    assert decode_message(encode_message(message), 3) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
@given(data=st.data())
def test_damaged_messages_are_refused_or_another_message(
    message: Message, data: st.DataObject
) -> None:
    raw = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    for damaged in (bytes(raw), cut):
        said = complaint(decode_message, damaged, 3)
        assert said is None or ("rank 3" in said and "\n" not in said)


@given(st.binary(max_size=300))
def test_noise_is_refused_by_name(data: bytes) -> None:
    for decode in (decode_frame, decode_message, unpack_header):
        with pytest.raises(ProtocolError, match="rank 5"):
            decode(data, 5)


_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False),
        st.binary(max_size=40),
        st.text(max_size=10),
    ),
    lambda inner: st.lists(inner, max_size=6).map(tuple),
    max_leaves=20,
)


@given(st.sampled_from([int(kind) for kind in MessageType]), st.lists(_VALUES, max_size=13))
def test_canonical_nonsense_never_crashes(kind: int, fields: list[object]) -> None:
    for decode in (decode_message, decode_frame, unpack_header):
        said = complaint(decode, encode((kind, *fields)), 4)
        assert said is None or "rank 4" in said


@given(st.binary(max_size=500), st.integers(0, 2**62), st.sampled_from(list(MessageType)))
def test_frames_come_back(payload: bytes, number: int, kind: MessageType) -> None:
    data = encode_frame(kind, 3, number, payload, D, SIGNER)
    assert len(data) <= len(payload) + SIGNER.signature_bytes + FRAME_OVERHEAD
    frame = decode_frame(data, 3)
    assert (frame.kind, frame.sender, frame.sequence, frame.payload) == (kind, 3, number, payload)
    check_signature(frame, SIGNER.public_key, D, SIGNER)
    if kind in SELF_SIGNED:  # its votes are signed one by one
        assert not frame.signature
        return
    with pytest.raises(ProtocolError, match="rank 3"):
        check_signature(frame, SIGNER.public_key, sha256(b"another run"), SIGNER)
    with pytest.raises(ProtocolError, match="rank 3"):
        check_signature(frame, AUTHORITY.signer(4).public_key, D, SIGNER)


@given(st.data())
def test_no_changed_byte_passes(data: st.DataObject) -> None:
    raw = bytearray(encode_frame(MessageType.ROUND, 3, 9, b"payload", D, SIGNER))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError):
        check_signature(decode_frame(bytes(raw), 3), SIGNER.public_key, D, SIGNER)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((1, 17, 3, 0, b"", b""), "version 1"),
        ((True, 17, 3, 0, b"", b""), "version True"),
        ((2, 99, 3, 0, b"", b""), "unknown type 99"),
        ((2, 17, -1, 0, b"", b""), "malformed"),
        ((2, 17, 1 << 16, 0, b"", b""), "malformed"),
        ((2, 17, 3, -1, b"", b""), "malformed"),
        ((2, 17, 3, True, b"", b""), "malformed"),
        ((2, 17, 3, 0, "text", b""), "malformed"),
        ((2, 17, 3, 0, b"", b"s" * 257), "malformed"),
        ((2, 17, 3, 0, b""), "fields of a frame"),
        ((), "fields of a frame"),
    ],
)
def test_what_a_frame_must_not_say(fields: tuple[object, ...], reason: str) -> None:
    with pytest.raises(ProtocolError, match=f"rank 6.*{reason}"):
        decode_frame(encode(fields), 6)


def test_oversized_frames_are_refused_on_both_sides() -> None:
    with pytest.raises(InternalError):
        encode_frame(MessageType.ROUND, 3, 0, bytes(MAX_FRAME_BYTES), D, SIGNER)
    with pytest.raises(ProtocolError, match="rank 1"):
        decode_frame(bytes(MAX_FRAME_BYTES + 1), 1)


@given(st.lists(st.binary(min_size=1, max_size=2000), max_size=4))
def test_slots_come_back(frames: list[bytes]) -> None:
    slot = pack_slot(frames)
    assert len(slot) == SLOT_BYTES
    assert unpack_slot(slot, 1) == frames


@given(st.binary(max_size=64), st.integers(0, SLOT_BYTES))
def test_damaged_slots_are_refused_or_frames(noise: bytes, at: int) -> None:
    slot = (b"\0" * at + noise)[:SLOT_BYTES].ljust(SLOT_BYTES, b"\0")
    said = complaint(unpack_slot, slot, 2)
    assert said is None or "rank 2" in said


def test_slot_limits() -> None:
    assert unpack_slot(EMPTY_SLOT, 0) == []
    assert unpack_slot(pack_slot([b"x" * SLOT_CAPACITY]), 0) == [b"x" * SLOT_CAPACITY]
    for frames in ([b"x" * (SLOT_CAPACITY + 1)], [b"", b"x"]):
        with pytest.raises(InternalError):
            pack_slot(frames)
    with pytest.raises(ProtocolError, match="rank 9"):
        unpack_slot(b"short", 9)


def test_round_header() -> None:
    assert unpack_header(pack_header(4, D, (b"a", b"b")), 1) == (4, D, (b"a", b"b"))
