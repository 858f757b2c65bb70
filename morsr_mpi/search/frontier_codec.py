"""A frontier as columns of bytes: what a snapshot holds of it.

A trie of 100 000 chambers is written within a second because its links are written once each and
column by column.  The order is that of depth and digest, so that equal frontiers have equal bytes.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from morsr_mpi.base.errors import InternalError
from morsr_mpi.search.chambers import TILE_BYTES, Chamber, Prefix
from morsr_mpi.search.frontier import Frontier, View

#: Values of the column of cursors.
WHOLE, AFTER, FROM = 0, 1, 2


def encode_frontier(frontier: View) -> tuple[object, ...]:
    """Return (limit, folded, links, chambers) for the canonical bytes.

    links: parents (uint32, 1 + index of the parent link, 0 for none), ranks (uint64), tiles (32
    bytes each), parents first.  chambers: links (uint32, likewise), skips (uint64), cursors
    (uint8), bounds (float64), tiles of the cursors (32 bytes each where there is one).  All
    little-endian.
    """
    # Two sorts by one attribute: pairs would be as many objects as there are links.
    links = sorted(sorted(frontier.links(), key=attrgetter("digest")), key=attrgetter("depth"))
    index = {link.digest: i for i, link in enumerate(links, 1)}
    chambers = frontier.chambers()
    parents = [0 if link.parent is None else index[link.parent.digest] for link in links]
    stands = [0 if c.prefix is None else index[c.prefix.digest] for c in chambers]
    cursors = bytes([0 if not c.skip else FROM if c.inclusive else AFTER for c in chambers])
    return (
        frontier.limit,
        frontier.folded,
        (
            np.array(parents, dtype="<u4").tobytes(),
            np.array([link.rank for link in links], dtype="<u8").tobytes(),
            b"".join([link.tile for link in links]),
        ),
        (
            np.array(stands, dtype="<u4").tobytes(),
            np.array([c.skip for c in chambers], dtype="<u8").tobytes(),
            cursors,
            np.array([c.bound for c in chambers], dtype="<f8").tobytes(),
            b"".join([c.after for c in chambers]),
        ),
    )


def decode_frontier(columns: tuple[object, ...], tiles: int) -> Frontier:
    """Inverse of encode_frontier; raises InternalError for what it did not write."""
    match columns:
        case (
            int(limit),
            bool(folded),
            (bytes(parents), bytes(ranks), bytes(link_tiles)),
            (bytes(stands), bytes(skips), bytes(cursors), bytes(bounds), bytes(afters)),
        ):
            pass
        case _:
            raise InternalError("malformed frontier")
    count, size = len(ranks) // 8, len(cursors)
    lengths = (len(parents), len(ranks), len(link_tiles), len(stands), len(skips), len(bounds))
    expected = (4 * count, 8 * count, TILE_BYTES * count, 4 * size, 8 * size, 8 * size)
    if lengths != expected or len(afters) != TILE_BYTES * (size - cursors.count(WHOLE)):
        raise InternalError("malformed frontier: columns of different lengths")
    links: list[Prefix | None] = [None]
    for i, (parent, rank) in enumerate(
        zip(_column(parents, "<u4"), _column(ranks, "<u8"), strict=True)
    ):
        if parent > i:
            raise InternalError("malformed frontier: a link before its parent")
        links.append(Prefix(links[parent], link_tiles[TILE_BYTES * i : TILE_BYTES * (i + 1)], rank))
    frontier = Frontier(limit, tiles, folded=folded)
    chambers, at = [], 0
    rows = zip(
        _column(stands, "<u4"), _column(skips, "<u8"), cursors, _column(bounds, "<f8"), strict=True
    )
    for stand, skip, cursor, bound in rows:
        if stand > count or cursor > FROM:
            raise InternalError("malformed frontier: no such link or cursor")
        after = b""
        if cursor != WHOLE:
            after = afters[at : at + TILE_BYTES]
            at += TILE_BYTES
        chambers.append(Chamber(links[stand], skip, after, bound, inclusive=cursor == FROM))
    frontier.add(chambers)
    return frontier


def _column(data: bytes, kind: str) -> list[Any]:
    values: list[Any] = np.frombuffer(data, dtype=kind).tolist()
    return values
