"""Packed bytes: what comes out is what went in, within bounds that are checked before use."""

from __future__ import annotations

import os
from contextlib import suppress

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.config import COMPRESS_ABOVE_BYTES, MAX_FRAME_BYTES
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.wire.messages import Order, Results, encode_message, open_messages, seal_message
from morsr_mpi.wire.packing import pack, plain, unpack, unpack_all, unpacked_bytes

_BYTES = st.one_of(
    st.binary(max_size=3000),
    st.builds(lambda part, times: part * times, st.binary(max_size=40), st.integers(0, 400)),
)


@given(_BYTES)
def test_packed_bytes_come_back(data: bytes) -> None:
    packed = pack(data)
    assert len(packed) <= len(data) + 1
    assert unpacked_bytes(packed) == len(data)
    assert unpack(packed, len(data)) == data
    assert unpack(plain(data), len(data)) == data
    if data:
        with pytest.raises(ValueError, match="more than"):
            unpack(packed, len(data) - 1)


def test_large_regular_bytes_shrink_and_small_or_random_ones_do_not() -> None:
    assert len(pack(b"abcd" * 1000)) < 100
    assert pack(b"a" * (COMPRESS_ABOVE_BYTES - 1))[:1] == b"\0"
    noise = bytes(i * i * 31 % 251 for i in range(200)) + os.urandom(2000)
    assert len(pack(noise)) == len(noise) + 1


@given(_BYTES, st.data())
def test_damaged_packed_bytes_are_refused_or_within_their_limit(
    data: bytes, draw: st.DataObject
) -> None:
    raw = bytearray(pack(data))
    position = draw.draw(st.integers(0, len(raw) - 1))
    raw[position] = draw.draw(st.integers(0, 255))
    cut = bytes(raw[: draw.draw(st.integers(0, len(raw)))])
    for damaged in (bytes(raw), cut):
        with suppress(ValueError):
            assert len(unpack(damaged, 4000)) <= 4000


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"", "unknown kind"),
        (b"\2abc", "unknown kind"),
        (b"\1\0\0", "unknown kind"),
        (b"\1\xff\xff\xff\xff" + b"x" * 50, "impossible length"),  # 4 GiB from 50 bytes
        (b"\1\0\0\0\x05" + b"x" * 50, "impossible length"),  # larger than plain
        (b"\1\0\0\x10\0" + b"x" * 50, "damaged"),
        (b"\1\0\0\x08\0" + lz4.block.compress(b"a" * 2047, store_size=False), "another length"),
    ],
)
def test_what_packed_bytes_must_not_say(packed: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        unpack(packed, MAX_FRAME_BYTES)


def test_a_frame_of_bombs_is_refused_before_anything_is_unpacked() -> None:
    bomb = pack(b"\0" * (4 << 20))
    assert len(bomb) < 17_000
    with pytest.raises(ValueError, match="more than"):
        unpack_all((bomb,) * 5, MAX_FRAME_BYTES)
    with pytest.raises(ProtocolError, match="rank 7 sent a malformed frame"):
        open_messages((bomb,) * 5, 7)
    results = encode_message(Results(1, tuple(range(5)), (b"\0" * (4 << 20),) * 5))
    assert len(results) < 90_000
    with pytest.raises(ProtocolError, match="rank 7 sent a malformed Results"):
        open_messages((plain(results),), 7)


def test_messages_are_packed_when_that_pays() -> None:
    order = Order(0, 1, bytes(32), 2048, 0, tuple(i % 2 for i in range(2048)))
    sealed = seal_message(order)
    assert len(sealed) < 300
    assert open_messages((sealed,), 1) == (order,)
