"""Banded problems: Q couples a tile only to few others, in an order that may be hidden.

In the order of the band, what the free tiles will cost depends on the last tiles decided alone, as
many as the band is wide. Nodes of a beam that agree in these have the same completions, and only
the cheapest is kept (csrc/src/engine_beam.inc). The order is found by the method of Cuthill
and McKee (1969), reversed as by George (1971).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: A band is made use of from so many tiles on, and up to this share of them.
LEAST_TILES = 12
WIDEST_SHARE = 0.25


def band_order(coupled: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return an order of the tiles with a narrow band.

    coupled: bool [m,m], symmetric, whether Q couples two tiles. Int32 [m]: reverse Cuthill–McKee
    from a tile at the far end of the one with fewest neighbours, component after component; the
    natural order where that has no wider band.
    """
    m = coupled.shape[0]
    natural = np.arange(m, dtype=np.int32)
    degree = coupled.sum(axis=1)
    placed: list[int] = []
    left = set(range(m))
    while left:
        start = min(left, key=lambda tile: (int(degree[tile]), tile))
        for _ in range(2):
            start = _layers(coupled, degree, start)[-1]
        layers = _layers(coupled, degree, start)
        placed.extend(layers)
        left.difference_update(layers)
    found = np.array(placed[::-1], dtype=np.int32)
    return found if bandwidth(coupled, found) < bandwidth(coupled, natural) else natural


def _layers(coupled: NDArray[np.bool_], degree: NDArray[np.intp], start: int) -> list[int]:
    """Tiles in the order a search in breadth reaches them, those with fewer neighbours first."""
    reached = [start]
    seen = np.zeros(coupled.shape[0], dtype=bool)
    seen[start] = True
    for tile in reached:
        fresh = np.flatnonzero(coupled[tile] & ~seen)
        seen[fresh] = True
        reached.extend(sorted(fresh.tolist(), key=lambda t: (int(degree[t]), t)))
    return reached


def bandwidth(coupled: NDArray[np.bool_], order: NDArray[np.int32]) -> int:
    """Largest distance in an order of two tiles that Q couples."""
    position = np.empty(order.size, dtype=np.intp)
    position[order] = np.arange(order.size)
    first, second = np.nonzero(coupled)
    return int(np.max(np.abs(position[first] - position[second]), initial=0))


def band_of(coupled: NDArray[np.bool_]) -> int:
    """Width of the band in tiles; 0 where there is none worth an order of its own."""
    m = coupled.shape[0]
    if m < LEAST_TILES or coupled.sum() > 2 * WIDEST_SHARE * m * m + m:
        return 0
    return band_in(coupled, band_order(coupled))


def band_in(coupled: NDArray[np.bool_], order: NDArray[np.int32]) -> int:
    """Width of the band in an order; 0 where it is too wide to be used."""
    width = bandwidth(coupled, order)
    return width if width <= WIDEST_SHARE * coupled.shape[0] else 0
