"""Canonical bytes: round trips, one encoding per value, refusal of all others."""

from __future__ import annotations

import math
import struct

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_CANONICAL_DEPTH

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=30).map(tuple), max_leaves=60)


def same(a: object, b: object) -> bool:
    """Equality of type and bits: 1 is not True, 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack(">d", a) == struct.pack(">d", b)
    return a == b


@given(values)
def test_round_trip(value: object) -> None:
    assert same(decode(encode(value)), value)


@given(values)
def test_cbor2_reads_it(value: object) -> None:
    def thaw(x: object) -> object:
        return tuple(map(thaw, x)) if isinstance(x, list | tuple) else x

    assert same(thaw(cbor2.loads(encode(value))), value)


@given(values.filter(lambda v: "inf" not in repr(v)))
def test_cbor2_writes_it(value: object) -> None:
    """But for infinities, which cbor2 shortens to 16 bits."""
    assert encode(value) == cbor2.dumps(value)


@given(st.binary(max_size=60))
@settings(max_examples=500)
def test_what_is_decoded_is_canonical(data: bytes) -> None:
    try:
        value = decode(data)
    except CanonicalError:
        return
    assert encode(value) == data


@given(values, st.data())
def test_damage_is_seen_or_is_another_value(value: object, data: st.DataObject) -> None:
    good = encode(value)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    try:
        other = decode(bad)
    except CanonicalError:
        return
    assert encode(other) == bad
    assert not same(other, value)


@given(values)
def test_truncated_and_trailing(value: object) -> None:
    good = encode(value)
    for bad in (good[:-1], good + b"\x00"):
        with pytest.raises(CanonicalError):
            decode(bad)


def test_fixed_bytes() -> None:
    """These bytes are signed and hashed: they never change."""
    value = ("pulse", 7, -1, 24, 2**32, 1.5, math.inf, b"\x00\xff", None, True, False, (), "é")
    assert encode(value).hex() == (
        "8d6570756c7365072018181b0000000100000000fb3ff8000000000000fb7ff0000000000000"
        "4200fff6f5f48062c3a9"
    )


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        2**64,
        -(2**63) - 1,
        {},
        {1: 2},
        {1},
        np.float64(1.0),
        np.int64(1),
        np.zeros(2),
        bytearray(b"x"),
        "\ud800",
        1j,
        object(),
    ],
    ids=repr,
)
def test_no_canonical_bytes(value: object) -> None:
    with pytest.raises(CanonicalError):
        encode(value)
    with pytest.raises(CanonicalError):
        encode((1, (value,)))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty", ""),
        ("long head", "1801"),
        ("longer head", "1900ff"),
        ("longest head", "1b0000000000000001"),
        ("half float", "f93c00"),
        ("single float", "fa3f800000"),
        ("NaN", "fb7ff8000000000000"),
        ("half NaN", "f97e00"),
        ("undefined", "f7"),
        ("simple value", "f820"),
        ("map", "a10102"),
        ("tag", "c101"),
        ("big number", "c249010000000000000000"),
        ("negative beyond 64 bits", "3bffffffffffffffff"),
        ("indefinite array", "9f01ff"),
        ("indefinite bytes", "5f4100ff"),
        ("break", "ff"),
        ("huge array", "9b7fffffffffffffff"),
        ("huge bytes", "5b7fffffffffffffff00"),
        ("not UTF-8", "61ff"),
        ("surrogate", "63eda080"),
        ("half a head", "19ff"),
        ("half a float", "fb3ff8"),
    ],
)
def test_refused(name: str, data: str) -> None:
    with pytest.raises(CanonicalError):
        decode(bytes.fromhex(data))


def test_limits() -> None:
    deep: object = 0
    for _ in range(MAX_CANONICAL_DEPTH):
        deep = (deep,)
    assert decode(encode(deep)) == deep
    with pytest.raises(CanonicalError, match="deeper"):
        encode((deep,))
    with pytest.raises(CanonicalError, match="deeper"):
        decode(b"\x81" + encode(deep))
    with pytest.raises(CanonicalError, match="limit"):
        decode(encode(b"x" * 100), max_bytes=50)
    with pytest.raises(CanonicalError, match="takes bytes"):
        decode(bytearray(b"\x00"))  # type: ignore[arg-type]
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(CanonicalError, match="deeper"):
        encode(loop)
