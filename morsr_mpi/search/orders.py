"""Tile orders: in which order the tiles are decided.

An order is an int32 array: entry j is the tile at position j, and the last position is decided
first.  Named by a pair (kind, seed), which is what tasks carry.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.errors import InternalError
from morsr_mpi.search import _engine
from morsr_mpi.search.bands import band_order
from morsr_mpi.search.components import coupled_tiles


class OrderName(NamedTuple):
    """kind: natural, diagonal, vblast, band, near or random; seed: of the last two, else 0."""

    kind: str
    seed: int = 0


NATURAL = OrderName("natural")
DIAGONAL = OrderName("diagonal")
VBLAST = OrderName("vblast")
BAND = OrderName("band")


def natural_order(m: int) -> NDArray[np.int32]:
    """Tiles as they are numbered; the last one is decided first."""
    return np.arange(m, dtype=np.int32)


def diagonal_order(Q: NDArray[np.float64]) -> NDArray[np.int32]:
    """Tiles with the largest diagonal are decided first (ties: the higher number first)."""
    n = Q.shape[0]
    weights = []
    for tile in range(n // 8):
        total = 0.0
        for i in range(8 * tile, 8 * tile + 8):
            total += float(Q[i, i])
        weights.append((total, tile))
    return np.array([tile for _, tile in sorted(weights)], dtype=np.int32)


def vblast_order(g: NDArray[np.float64]) -> NDArray[np.int32]:
    """Surest tile first, from g = U⁻¹ of the natural order (Wolniansky et al. 1998, by blocks)."""
    n = g.shape[0]
    order = np.empty(n // 8, dtype=np.int32)
    _engine.vblast(g, np.empty((n, n)), order, np.empty(9 * n))
    return order


def random_order(m: int, seed: int) -> NDArray[np.int32]:
    """A permutation that depends on (m, seed) alone, on every machine."""

    def key(tile: int) -> bytes:
        return hashlib.sha256(b"morsr-order:%d:%d" % (seed, tile)).digest()

    return np.array(sorted(range(m), key=key), dtype=np.int32)


#: How far tiles of a near order move: share of all tiles.
NEAR_SHARE = 0.25


def near_order(order: NDArray[np.int32], seed: int) -> NDArray[np.int32]:
    """Disturb an order: every position is moved back by up to NEAR_SHARE of all, by (m, seed)."""
    m = int(order.size)
    places = []
    for position in range(m):
        digest = hashlib.sha256(b"morsr-near:%d:%d" % (seed, position)).digest()
        shift = int.from_bytes(digest[:4], "little") * 2.0**-32
        places.append((position + NEAR_SHARE * m * shift, position))
    return order[np.array([position for _, position in sorted(places)], dtype=np.intp)]


def order_by_name(
    name: OrderName, Q: NDArray[np.float64], vblast: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return the order a task names; the V-BLAST order is computed once per problem."""
    if name.kind == "natural":
        return natural_order(vblast.size)
    if name.kind == "diagonal":
        return diagonal_order(Q)
    if name.kind == "vblast":
        return vblast
    if name.kind == "band":
        return band_order(coupled_tiles(Q))
    if name.kind == "near":
        return near_order(vblast, name.seed)
    if name.kind == "random":
        return random_order(vblast.size, name.seed)
    raise InternalError(f"unknown tile order {name.kind!r}")
