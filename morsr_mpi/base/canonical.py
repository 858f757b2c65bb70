"""Canonical bytes: one value, one byte string, and no other byte string for it.

A subset of CBOR (RFC 8949) that leaves no choice to the encoder:

========== ==================================================================
None       f6
bool       f4 / f5
int        major types 0 and 1, shortest head, -2**63 <= i < 2**64
float      fb and eight bytes, always; NaN is refused, -0.0 and infinities kept
bytes      major type 2, shortest head
str        major type 3, UTF-8, shortest head, no lone surrogates
tuple/list major type 4, definite length, shortest head; decoded to a tuple
========== ==================================================================

No maps, no tags, nothing of indefinite length. What is hashed and signed must not
depend on the version of a library (CBOR encoders differ in the width of infinities
and accept non-minimal heads), so the few lines stand here; the tests compare them
with cbor2.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from morsr_mpi.base.config import MAX_CANONICAL_BYTES, MAX_CANONICAL_DEPTH

_F64: Final = Struct(">d")
_U16: Final = Struct(">H")
_U32: Final = Struct(">I")
_U64: Final = Struct(">Q")
_MIN_INT: Final = -(1 << 63)
_MAX_INT: Final = (1 << 64) - 1
_SMALL: Final = tuple(bytes([i]) for i in range(256))


class CanonicalError(ValueError):
    """A value that has no canonical bytes, or bytes that are nobody's canonical bytes."""


def _head(major: int, n: int) -> bytes:
    """Return the shortest head of a major type (already shifted by 5) with argument n."""
    if n < 24:
        return _SMALL[major | n]
    if n < 0x100:
        return _SMALL[major | 24] + _SMALL[n]
    if n < 0x10000:
        return _SMALL[major | 25] + _U16.pack(n)
    if n < 0x100000000:
        return _SMALL[major | 26] + _U32.pack(n)
    return _SMALL[major | 27] + _U64.pack(n)


def _put(out: list[bytes], value: object, depth: int) -> None:
    """Append the pieces of one value; exact types only, so that numpy scalars are seen."""
    kind = type(value)
    if kind is int:
        n: int = value  # type: ignore[assignment]
        if 0 <= n <= _MAX_INT:
            out.append(_head(0x00, n))
        elif _MIN_INT <= n < 0:
            out.append(_head(0x20, -1 - n))
        else:
            raise CanonicalError(f"the integer {n} does not fit 64 bits")
    elif kind is bytes:
        data: bytes = value  # type: ignore[assignment]
        out.append(_head(0x40, len(data)))
        out.append(data)
    elif kind is tuple or kind is list:
        if depth <= 0:
            raise CanonicalError(f"nested deeper than {MAX_CANONICAL_DEPTH} arrays")
        items: tuple[object, ...] = value  # type: ignore[assignment]
        out.append(_head(0x80, len(items)))
        for item in items:
            _put(out, item, depth - 1)
    elif kind is float:
        x: float = value  # type: ignore[assignment]
        if x != x:
            raise CanonicalError("NaN has no canonical bytes")
        out.append(b"\xfb" + _F64.pack(x))
    elif kind is str:
        text: str = value  # type: ignore[assignment]
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError:
            raise CanonicalError("a string holds a lone surrogate") from None
        out.append(_head(0x60, len(data)))
        out.append(data)
    elif value is None:
        out.append(b"\xf6")
    elif value is True:
        out.append(b"\xf5")
    elif value is False:
        out.append(b"\xf4")
    else:
        raise CanonicalError(f"a value of type {kind.__name__} has no canonical bytes")


def encode(value: object) -> bytes:
    """Return the canonical bytes of a value.

    Takes None, bool, int (64 bits), float, str, bytes and tuples or lists of them,
    at most `config.MAX_CANONICAL_DEPTH` deep. Raises `CanonicalError` for anything
    else; a numpy scalar is refused too: convert it with `int()` or `float()`.
    """
    out: list[bytes] = []
    _put(out, value, MAX_CANONICAL_DEPTH)
    return b"".join(out)


def _argument(data: bytes, pos: int, info: int) -> tuple[int, int]:
    """Return (argument, position after the head); refuse heads that are not the shortest."""
    if info < 24:
        return info, pos
    if info == 24 and pos < len(data):
        n = data[pos]
        least, pos = 24, pos + 1
    elif info == 25 and pos + 2 <= len(data):
        n = _U16.unpack_from(data, pos)[0]
        least, pos = 0x100, pos + 2
    elif info == 26 and pos + 4 <= len(data):
        n = _U32.unpack_from(data, pos)[0]
        least, pos = 0x10000, pos + 4
    elif info == 27 and pos + 8 <= len(data):
        n = _U64.unpack_from(data, pos)[0]
        least, pos = 0x100000000, pos + 8
    elif info > 27:
        raise CanonicalError("indefinite lengths and reserved heads are not canonical")
    else:
        raise CanonicalError("the bytes end inside a head")
    if n < least:
        raise CanonicalError("a head is longer than needed")
    return n, pos


def _get(data: bytes, pos: int, depth: int) -> tuple[object, int]:
    """Return (value, position after it) for the value that starts at pos."""
    if pos >= len(data):
        raise CanonicalError("the bytes end where a value should start")
    first = data[pos]
    pos += 1
    major = first & 0xE0
    if major == 0xE0:
        return _get_simple(data, pos, first)
    n, pos = _argument(data, pos, first & 0x1F)
    if major == 0x00:
        return n, pos
    if major == 0x20:
        if n > 0x7FFFFFFFFFFFFFFF:
            raise CanonicalError("a negative integer does not fit 64 bits")
        return -1 - n, pos
    if major == 0x80:
        if depth <= 0:
            raise CanonicalError(f"nested deeper than {MAX_CANONICAL_DEPTH} arrays")
        if n > len(data) - pos:  # every item has a byte at least: no allocation on a lie
            raise CanonicalError("an array is longer than the bytes that follow")
        items = []
        for _ in range(n):
            item, pos = _get(data, pos, depth - 1)
            items.append(item)
        return tuple(items), pos
    if major in (0x40, 0x60):
        end = pos + n
        if end > len(data):
            raise CanonicalError("a string is longer than the bytes that follow")
        piece = data[pos:end]
        if major == 0x40:
            return piece, end
        try:
            return piece.decode("utf-8"), end
        except UnicodeDecodeError:
            raise CanonicalError("a string is not UTF-8") from None
    raise CanonicalError("maps and tags are not canonical")


def _get_simple(data: bytes, pos: int, first: int) -> tuple[object, int]:
    """Return a float, None or bool: what major type 7 may hold here."""
    if first == 0xFB:
        if pos + 8 > len(data):
            raise CanonicalError("the bytes end inside a float")
        x: float = _F64.unpack_from(data, pos)[0]
        if x != x:
            raise CanonicalError("NaN is not canonical")
        return x, pos + 8
    if first == 0xF6:
        return None, pos
    if first == 0xF5:
        return True, pos
    if first == 0xF4:
        return False, pos
    raise CanonicalError("short floats and other simple values are not canonical")


def decode(data: bytes, max_bytes: int = MAX_CANONICAL_BYTES) -> object:
    """Return the value whose canonical bytes these are; arrays become tuples.

    Raises `CanonicalError` for anything that `encode` would not have written, for
    trailing bytes, for more than `max_bytes` and for arrays nested deeper than
    `config.MAX_CANONICAL_DEPTH`. Memory stays proportional to `len(data)`.
    """
    if type(data) is not bytes:
        raise CanonicalError(f"decode takes bytes, not {type(data).__name__}")
    if len(data) > max_bytes:
        raise CanonicalError(f"{len(data)} bytes are more than the limit of {max_bytes}")
    value, end = _get(data, 0, MAX_CANONICAL_DEPTH)
    if end != len(data):
        raise CanonicalError(f"{len(data) - end} bytes follow the value")
    return value
