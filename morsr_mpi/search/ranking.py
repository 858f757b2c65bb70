"""What beams rank by: a factor in float32 with weights of the look-ahead (docs/method.md).

Rankings decide which lattice point is found, never what is proven: objectives are evaluated in
float64 from Q.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.config import RANKING_CACHE_BYTES
from morsr_mpi.search import _engine
from morsr_mpi.search.factor import Factor, coordinates_of
from morsr_mpi.search.orders import OrderName
from morsr_mpi.search.prepare import Part


@dataclass(frozen=True, eq=False)
class Ranking:
    """Tables of one (Q, order), shared by all targets.

    places: int [n], the coordinate at each permuted place.  w: float32 [32 m (m-1)] as in Factor.
    tiles: float32 [m*312], per tile the metric's factor, the metric, its inverse, half the roots'
    squared norms.  levels: float32 [2*rank_row(m)], weights, then bends of the slopes.
    """

    factor: Factor
    places: NDArray[np.intp]
    w: NDArray[np.float32]
    tiles: NDArray[np.float32]
    levels: NDArray[np.float32]
    view: _engine.RankingView

    @property
    def nbytes(self) -> int:
        """Memory held beside the factor's, bytes."""
        return self.w.nbytes + self.tiles.nbytes + self.levels.nbytes + self.places.nbytes


def ranking_of(factor: Factor, band: int = 0) -> Ranking:
    """Return the tables of a factor; band: of Q in its order, in tiles, 0 for none."""
    m = factor.tiles
    w = np.zeros(max(1, 32 * m * (m - 1)), dtype=np.float32)
    tiles = np.zeros(312 * m, dtype=np.float32)
    levels = np.zeros(2 * max(8, _engine.rank_row(m)), dtype=np.float32)
    view = _engine.RankingView(factor.view, w, tiles, levels, np.empty(2 * m), band)
    return Ranking(factor, coordinates_of(factor.order), w, tiles, levels, view)


class Rankings:
    """The rankings of one component, the last used ones kept within a limit of bytes."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._held: OrderedDict[OrderName, Ranking] = OrderedDict()

    def get(self, name: OrderName) -> Ranking | None:
        """Return the ranking of an order; None while another rank of this node makes its factor."""
        held = self._held.pop(name, None)
        if held is None:
            factor = self._part.factor(name)
            if factor is None:
                return None
            held = ranking_of(factor, self._part.band_in(factor.order))
            size = held.nbytes
            while self._held and sum(r.nbytes for r in self._held.values()) + size > (
                RANKING_CACHE_BYTES
            ):
                self._held.popitem(last=False)
        self._held[name] = held
        return held
