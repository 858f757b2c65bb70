"""The examples of RFC 8949, appendix A: those in our subset are read and written, no others."""

from __future__ import annotations

import math
import struct

import pytest

from morsr_mpi.base.canonical import CanonicalError, decode, encode

ONE_TO_25 = tuple(range(1, 26))
LONG = "0102030405060708090a0b0c0d0e0f101112131415161718181819"
INSIDE: list[tuple[str, object]] = [
    ("00", 0),
    ("01", 1),
    ("0a", 10),
    ("17", 23),
    ("1818", 24),
    ("1819", 25),
    ("1864", 100),
    ("1903e8", 1000),
    ("1a000f4240", 1000000),
    ("1b000000e8d4a51000", 1000000000000),
    ("1bffffffffffffffff", 18446744073709551615),
    ("20", -1),
    ("29", -10),
    ("3863", -100),
    ("3903e7", -1000),
    ("fb3ff199999999999a", 1.1),
    ("fb7e37e43c8800759c", 1.0e300),
    ("fbc010666666666666", -4.1),
    ("fb7ff0000000000000", math.inf),
    ("fbfff0000000000000", -math.inf),
    ("f4", False),
    ("f5", True),
    ("f6", None),
    ("40", b""),
    ("4401020304", bytes([1, 2, 3, 4])),
    ("60", ""),
    ("6161", "a"),
    ("6449455446", "IETF"),
    ("62225c", '"\\'),
    ("62c3bc", "\u00fc"),
    ("63e6b0b4", "\u6c34"),
    ("64f0908591", "\U00010151"),
    ("80", ()),
    ("83010203", (1, 2, 3)),
    ("8301820203820405", (1, (2, 3), (4, 5))),
    ("9819" + LONG, ONE_TO_25),
]
#: Big numbers, short floats, NaN, other simple values, tags, maps, indefinite lengths.
_OUTSIDE = """
c249010000000000000000 3bffffffffffffffff c349010000000000000000
f90000 f98000 f93c00 f93e00 f97bff fa47c35000 fa7f7fffff f90001 f90400 f9c400
f97c00 f97e00 f9fc00 fa7f800000 fa7fc00000 faff800000 fb7ff8000000000000
f7 f0 f8ff
c074323031332d30332d32315432303a30343a30305a c11a514b67b0 c1fb41d452d9ec200000
d74401020304 d818456449455446 d82076687474703a2f2f7777772e6578616d706c652e636f6d
a0 a201020304 a26161016162820203 826161a161626163 a56161614161626142616361436164614461656145
5f42010243030405ff 7f657374726561646d696e67ff 9fff 9f018202039f0405ffff 9f01820203820405ff
83018202039f0405ff 83019f0203ff820405 9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff
bf61610161629f0203ffff 826161bf61626163ff bf6346756ef563416d7421ff
"""
OUTSIDE = _OUTSIDE.split()


def test_the_list_is_the_whole_of_the_appendix() -> None:
    assert len(INSIDE) + len(OUTSIDE) == 81
    assert len({text for text, _ in INSIDE} | set(OUTSIDE)) == 81


@pytest.mark.parametrize(("text", "value"), INSIDE, ids=lambda item: str(item)[:20])
def test_examples_in_the_subset(text: str, value: object) -> None:
    data = bytes.fromhex(text)
    found = decode(data)
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, float):
        assert struct.pack(">d", found) == struct.pack(">d", value)  # type: ignore[arg-type]
    assert encode(value) == data


@pytest.mark.parametrize("text", OUTSIDE)
def test_all_other_examples_are_refused(text: str) -> None:
    with pytest.raises(CanonicalError):
        decode(bytes.fromhex(text))


def test_floats_that_the_rfc_shortens_have_eight_bytes_here() -> None:
    for value, short in ((0.0, "f90000"), (1.5, "f93e00"), (100000.0, "fa47c35000")):
        assert encode(value)[0] == 0xFB
        assert encode(value).hex() != short
        assert decode(encode(value)) == value
