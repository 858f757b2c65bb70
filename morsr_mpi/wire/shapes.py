"""Checks of the shape of decoded fields; each returns the value typed or raises ValueError."""

from __future__ import annotations

from itertools import pairwise
from struct import unpack

from morsr_mpi.base.digest import DIGEST_BYTES

_CODES = {2: "H", 4: "I"}
_MAX_COUNT = 1 << 62


def count(value: object, below: int = _MAX_COUNT) -> int:
    """A non-negative integer of at most `below`."""
    if type(value) is not int or not 0 <= value <= below:
        raise ValueError("a number out of range")
    return value


def digest(value: object) -> bytes:
    """32 bytes."""
    if type(value) is not bytes or len(value) != DIGEST_BYTES:
        raise ValueError("a digest of the wrong length")
    return value


def text(value: object, longest: int) -> str:
    """A string of at most `longest` characters."""
    if type(value) is not str or len(value) > longest:
        raise ValueError("a text that is none or too long")
    return value


def split_numbers(value: object, width: int, below: int = _MAX_COUNT) -> tuple[int, ...]:
    """Big-endian unsigned numbers of `width` bytes each, at most `below`."""
    if type(value) is not bytes or len(value) % width:
        raise ValueError("packed numbers of the wrong length")
    n = len(value) // width
    numbers: tuple[int, ...] = unpack(f">{n}{_CODES[width]}", value)
    if numbers and max(numbers) > below:
        raise ValueError("a packed number out of range")
    return numbers


def split_bytes(value: object, sizes: tuple[int, ...]) -> tuple[bytes, ...]:
    """The byte string cut into pieces of these sizes, which must use all of it."""
    if type(value) is not bytes or sum(sizes) != len(value):
        raise ValueError("packed bytes of the wrong length")
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    return tuple(value[a:b] for a, b in pairwise(ends))


def digests(value: object, most: int) -> tuple[bytes, ...]:
    """A row of digests, at most `most` of them."""
    if type(value) is not bytes or len(value) % DIGEST_BYTES or len(value) > most * DIGEST_BYTES:
        raise ValueError("packed digests of the wrong length")
    return tuple(value[i : i + DIGEST_BYTES] for i in range(0, len(value), DIGEST_BYTES))


def entries(value: object, width: int) -> tuple[tuple[object, ...], ...]:
    """A tuple of tuples of `width` fields each."""
    if type(value) is not tuple or not all(type(e) is tuple and len(e) == width for e in value):
        raise ValueError("a list whose entries have the wrong form")
    return value
