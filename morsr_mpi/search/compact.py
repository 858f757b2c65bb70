"""Chambers by columns: what a result lists, in a tenth of what float64 arrays take.

`squeeze` takes what `chambers.pack` gives and returns one byte string; `expand` is its inverse
and refuses every byte string that squeeze would not have written. Columns: number of chambers;
links shared with the chamber before; new links; skip; kind of cursor (0 none, 1 after it, 2 at
it); ranks of the new links; tiles of the new links, then of the cursors (`lattice.tilecode`);
bounds as little-endian float64. Numbers are LEB128, least significant seven bits first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import pack as struct_pack
from struct import unpack as struct_unpack

from morsr_mpi.base.config import MAX_RESULT_TILES
from morsr_mpi.lattice.tilecode import pack_tiles, unpack_tiles
from morsr_mpi.search.chambers import LINK_BYTES, TILE_BYTES

_RANK_BYTES = LINK_BYTES - TILE_BYTES
_MAX_NUMBER = (1 << 63) - 1

#: One chamber as `chambers.pack` gives it: shared, new links, skip, cursor, bound.
Item = tuple[int, bytes, int, bytes, float]


def squeeze(items: Iterable[Item]) -> bytes:
    """Return the bytes of packed chambers; b"" for none."""
    rows = list(items)
    if not rows:
        return b""
    links = b"".join([more for _, more, _, _, _ in rows])
    numbers = [len(rows)]
    numbers += [row[0] for row in rows]
    numbers += [len(row[1]) // LINK_BYTES for row in rows]
    numbers += [row[2] for row in rows]
    numbers += [(len(row[3]) + TILE_BYTES - 1) // TILE_BYTES for row in rows]
    tiles = links
    if _RANK_BYTES:
        cuts = range(0, len(links), LINK_BYTES)
        tiles = b"".join([links[at : at + TILE_BYTES] for at in cuts])
        ends = [links[at + TILE_BYTES : at + LINK_BYTES] for at in cuts]
        numbers += [int.from_bytes(rank, "little") for rank in ends]
    cursors = b"".join([row[3][:TILE_BYTES] for row in rows])
    bounds = struct_pack(f"<{len(rows)}d", *[row[4] for row in rows])
    return put_numbers(numbers) + pack_tiles(tiles + cursors) + bounds


def expand(data: bytes) -> tuple[Item, ...]:
    """Return packed chambers; raises ValueError for bytes squeeze did not write."""
    if not data:
        return ()
    (count,), at = take_numbers(data, 0, 1)
    if not 0 < count <= len(data) // 12:  # four numbers and a bound at least for each
        raise ValueError("an impossible number of chambers")
    shared, at = take_numbers(data, at, count)
    fresh, at = take_numbers(data, at, count)
    skips, at = take_numbers(data, at, count)
    kinds, at = take_numbers(data, at, count)
    links = sum(fresh)
    if max(kinds) > 2 or links > len(data):
        raise ValueError("chambers with impossible links or cursors")
    ranks: Sequence[int] = ()
    if _RANK_BYTES:
        ranks, at = take_numbers(data, at, links)
    end = len(data) - 8 * count
    if end < at:
        raise ValueError("chambers without bounds")
    cursors = sum(kind > 0 for kind in kinds)
    tiles = unpack_tiles(data[at:end], MAX_RESULT_TILES)
    if len(tiles) != TILE_BYTES * (links + cursors):
        raise ValueError("another number of tiles than of links and cursors")
    bounds = struct_unpack(f"<{count}d", data[end:])
    items: list[Item] = []
    chain: list[bytes] = []
    link, cursor = 0, TILE_BYTES * links
    for i in range(count):
        more = []
        for number in range(link, link + fresh[i]):
            tile = tiles[TILE_BYTES * number : TILE_BYTES * (number + 1)]
            more.append(tile + ranks[number].to_bytes(8, "little") if _RANK_BYTES else tile)
        link += fresh[i]
        common = shared[i]
        if common > len(chain) or (more and common < len(chain) and more[0] == chain[common]):
            raise ValueError("chambers that share more links, or fewer, than they say")
        chain[common:] = more
        after = b""
        if kinds[i]:
            after = tiles[cursor : cursor + TILE_BYTES] + (b"\1" if kinds[i] == 2 else b"")
            cursor += TILE_BYTES
        if bounds[i] != bounds[i]:
            raise ValueError("a bound that is no number")
        items.append((common, b"".join(more), skips[i], after, bounds[i]))
    return tuple(items)


def put_numbers(numbers: Sequence[int]) -> bytes:
    """LEB128 of numbers from 0 to 2**63 - 1."""
    if max(numbers) < 0x80:
        return bytes(numbers)
    out = bytearray()
    for number in numbers:
        while number >= 0x80:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def take_numbers(data: bytes, at: int, count: int) -> tuple[Sequence[int], int]:
    """Return `count` numbers from a place on, and the place after them.

    Raises ValueError where the bytes end, and for a number in more bytes than it needs.
    """
    piece = data[at : at + count]
    if len(piece) == count and piece.isascii():
        return piece, at + count
    numbers: list[int] = []
    for _ in range(count):
        number = shift = 0
        while True:
            if at >= len(data) or shift > 56:
                raise ValueError("a number that is cut short or too large")
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if byte == 0 and shift:
            raise ValueError("a number in more bytes than it needs")
        numbers.append(number)
    return numbers, at
