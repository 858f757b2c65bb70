"""Messages that ask for bytes and bring them: results by digest, damaged slots."""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack as struct_pack
from typing import ClassVar

from morsr_mpi.base.config import MAX_REQUEST_DIGESTS, MAX_RESULT_BYTES
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.shapes import count, digest, digests, entries, split_numbers

#: Longest packed form of a result (`packing.pack`): one byte more than the result.
MAX_PACKED_BYTES = MAX_RESULT_BYTES + 1


@dataclass(frozen=True, slots=True)
class CacheRequest:
    """Asks for results by digest.

    starts: for each, how many bytes of its packed form are here already; () for none of any.
    """

    TYPE: ClassVar[MessageType] = MessageType.CACHE_REQUEST
    digests: tuple[bytes, ...]
    starts: tuple[int, ...] = ()

    def fields(self) -> tuple[object, ...]:
        """Digests in a row; starts as four bytes each, big-endian."""
        return (b"".join(self.digests), struct_pack(f">{len(self.starts)}I", *self.starts))

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> CacheRequest:
        """Raise ValueError for fields that do not fit."""
        names, packed = f
        asked = digests(names, MAX_REQUEST_DIGESTS)
        starts = split_numbers(packed, 4, MAX_PACKED_BYTES)
        if starts and (len(starts) != len(asked) or not any(starts)):
            raise ValueError("starts that do not belong to the digests")
        return cls(asked, starts)


@dataclass(frozen=True, slots=True)
class CacheResponse:
    """Pieces of packed results: (digest, packed size of the whole, offset, bytes).

    size -1: not held.
    """

    TYPE: ClassVar[MessageType] = MessageType.CACHE_RESPONSE
    pieces: tuple[tuple[bytes, int, int, bytes], ...]

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.pieces,)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> CacheResponse:
        """Raise ValueError for fields that do not fit."""
        (pieces,) = f
        parsed = []
        for name, size, offset, data in entries(pieces, 4):
            if type(data) is not bytes:
                raise ValueError("a piece without bytes")
            whole = -1 if size == -1 and type(size) is int else count(size, MAX_PACKED_BYTES)
            at = count(offset, MAX_PACKED_BYTES)
            if at + len(data) > max(whole, 0):
                raise ValueError("a piece beyond its result")
            parsed.append((digest(name), whole, at, data))
        return cls(tuple(parsed))


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """Asks for the frames of a round again that arrived damaged."""

    TYPE: ClassVar[MessageType] = MessageType.SLOT_REQUEST
    round: int

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.round,)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> SlotRequest:
        """Raise ValueError for fields that do not fit."""
        (number,) = f
        return cls(count(number))
