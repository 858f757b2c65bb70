"""Terms that are a sum over the coordinates: `box`, and what `rate` is with bits by coordinate.

f(p) = sum over i of table[i][d_i - first] for the doubled coordinates d; outside the table
nothing is allowed.  Their bound is exact: the minimum over E8 of a separable function.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from morsr_mpi.base.config import MAX_BOX
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives import _terms
from morsr_mpi.objectives.tile_term import (
    Array,
    Doubled,
    Parameter,
    TileTerm,
    in_rows,
    kernel_values,
    number,
    take,
)

BOX = "box"


class SeparableTerm(TileTerm):
    """f by coordinate: entries[i][a], objective units, at doubled coordinate first + a."""

    def __init__(
        self, kind: str, parameters: Mapping[str, Parameter], entries: Array, first: int
    ) -> None:
        self.kind = kind
        self.parameters = parameters
        self.entries = np.ascontiguousarray(np.broadcast_to(entries, (8, entries.shape[-1])))
        self.first = first
        finite = np.isfinite(self.entries)
        count = self.entries.shape[1]
        self.lower = 0.5 * (first + np.argmax(finite, axis=1))
        self.upper = 0.5 * (first + count - 1 - np.argmax(finite[:, ::-1], axis=1))
        self._kernel = self.native(1.0)

    @property
    def coordinates(self) -> Doubled:
        """The doubled coordinates that have entries, int32 [count]."""
        return self.first + np.arange(self.entries.shape[1], dtype=np.int32)

    def values(self, points: Doubled) -> Array:
        """See TileTerm."""
        return kernel_values(self._kernel, points)

    def reference_values(self, points: Doubled) -> Array:
        """See TileTerm."""
        rows = in_rows(points).astype(np.int64) - self.first
        count = self.entries.shape[1]
        out = np.zeros(len(rows))
        for i in range(8):
            inside = (rows[:, i] >= 0) & (rows[:, i] < count)
            out = out + np.where(inside, self.entries[i][np.where(inside, rows[:, i], 0)], np.inf)
        return np.asarray(out.reshape(np.shape(points)[:-1]))

    def native(self, unit: float) -> _terms.Term:
        """See TileTerm."""
        flat = np.ascontiguousarray((self.entries / unit).reshape(-1))
        count = self.entries.shape[1]
        return _terms.Term(_terms.SEPARABLE, count, self.first, flat, float("inf"))

    def clip(self, x: Array) -> Array:
        """See TileTerm."""
        return np.asarray(np.minimum(np.maximum(x, self.lower), self.upper))

    def least_product(self, g: Array) -> float:
        """See TileTerm."""
        return float(sum(np.minimum(g * self.lower, g * self.upper).tolist()))

    def start(self, x: Array) -> Doubled:
        """Nearest allowed points."""
        d = self.coordinates
        away = 0.5 * d - x[:, :, None]
        cost = np.where(np.isfinite(self.entries), away * away, np.inf)
        return _least(cost, d)[1]

    def bound(
        self, centres: Array, origins: Doubled, weights: Array, parts: Array, unit: float
    ) -> Array:
        """Return the exact minimum over E8."""
        del parts
        d = self.coordinates
        away = 0.5 * (d - origins[:, :, None]) - centres[:, :, None]
        cost = weights[:, :, None] * (away * away) + self.entries / unit
        return _least(cost, d)[0]


def _least(cost: Array, d: Doubled) -> tuple[Array, Doubled]:
    """Least sum over the coordinates for points of E8: (p,), and where: int32 (p, 8).

    cost: (p, 8, count) at doubled coordinates d.  In each coset the sum of doubled coordinates is
    divisible by four when an even number of them is 2 or 3 modulo 4; where it is odd, the
    coordinate of least price changes sides.
    """
    rows = len(cost)
    least = np.full(rows, np.inf)
    point = np.zeros((rows, 8), dtype=np.int32)
    for coset in range(2):
        best = np.full((2, rows, 8), np.inf)
        place = np.zeros((2, rows, 8), dtype=np.int32)
        for which in range(2):
            chosen = np.flatnonzero((d & 3) == coset + 2 * which)
            if chosen.size:
                at = np.argmin(cost[:, :, chosen], axis=2)
                best[which] = np.take_along_axis(cost[:, :, chosen], at[:, :, None], 2)[:, :, 0]
                place[which] = d[chosen][at]
        side = best[1] < best[0]
        low = np.where(side, best[1], best[0])
        high = np.where(side, best[0], best[1])
        total = np.zeros(rows)
        with np.errstate(invalid="ignore"):
            price = high - low
        price = np.where(np.isnan(price), np.inf, price)
        for i in range(8):
            total = total + low[:, i]
        odd = np.sum(side, axis=1) % 2 == 1
        change = np.argmin(price, axis=1)
        total = np.where(odd, total + price[np.arange(rows), change], total)
        flip = odd[:, None] & (np.arange(8) == change[:, None])
        which = np.where(flip, ~side, side)
        found = np.where(which, place[1], place[0])
        better = total < least
        least = np.where(better, total, least)
        point = np.where(better[:, None], found, point)
    return least, point


def box(parameters: Mapping[str, object]) -> SeparableTerm:
    """Return the term `box`: 0 where lower <= v_i / s <= upper for every coordinate.

    lower <= 0 <= upper.  Raises InputError for parameters that make no sense.
    """
    given = take(BOX, parameters, ("lower", "upper"), ())
    lower, upper = (number(BOX, name, given[name]) for name in ("lower", "upper"))
    if not -MAX_BOX <= lower <= 0.0 <= upper <= MAX_BOX:
        raise InputError(
            f"tile term box: lower = {lower!r} and upper = {upper!r}; it must hold "
            f"-{MAX_BOX} <= lower <= 0 <= upper <= {MAX_BOX}"
        )
    first, last = int(np.ceil(2.0 * lower)), int(np.floor(2.0 * upper))
    return SeparableTerm(BOX, {"lower": lower, "upper": upper}, np.zeros(last - first + 1), first)
