"""Points of E8 around a centre that lies outside of what is allowed.

The neighbours of such a centre are the wrong points.  For any y, with g = U^T U (y - c),
    ||U (p - c)||^2 = ||U (y - c)||^2 + 2 g.(p - y) + ||U (p - y)||^2,
and when y is near the least of the norm on the convex hull of what is allowed, g.(p - y) is hardly
negative there.  How near decides what is gained, not what holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.objectives.separable import SeparableTerm
from morsr_mpi.objectives.tile_term import BOUND_MARGIN, TileTerm
from morsr_mpi.search.reference_terms import tile_norm
from morsr_mpi.search.short_vectors import grams_of

Array = NDArray[np.float64]
Doubled = NDArray[np.int32]

#: Steps of a projected gradient.
PROJECTIONS = 48
#: Partial points of a constrained list; more are not gone through at once.
MOST_PARTIAL = 1 << 18


@dataclass(frozen=True, eq=False)
class Shift:
    """y: absolute, float64 [8].  own: ||U (y - c)||^2.  slope: 2 g, float64 [8]."""

    y: Array
    own: float
    slope: Array


def shift_of(term: TileTerm, u: Array, x: Array) -> Shift | None:
    """Return where to list for the absolute centre x; None where that is x itself."""
    y = term.clip(x)
    if (y == x).all():
        return None
    gram = grams_of(u).reshape(8, 8)
    step = 1.0 / float(np.max(_sum_of(np.abs(gram).T)))
    for _ in range(PROJECTIONS):
        y = term.clip(y - step * _sum_of(gram.T * (y - x)[:, None]))
    slope = 2.0 * _sum_of(gram.T * (y - x)[:, None])
    return Shift(y, float(tile_norm(u, y - x)), slope)


def known_of(term: TileTerm, shift: Shift) -> float:
    """Return a number k with ||U (p - c)||^2 >= k + ||U (p - y)||^2 for every allowed p."""
    product = shift.slope * shift.y
    least = term.least_product(shift.slope) - sum(product.tolist())
    size = shift.own + abs(least) + 2.0 * sum(np.abs(product).tolist())
    return float(shift.own + least - BOUND_MARGIN * size)


def _sum_of(rows: Array) -> Array:
    """Sum over the first axis, one row after the other."""
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    return np.asarray(total)


def separable_points(
    term: SeparableTerm, unit: float, u: Array, shift: Shift, reach: float
) -> tuple[Doubled, float]:
    """Return points, doubled and absolute, and a cost up to which they are complete.

    Cost: ||U (p - c)||^2 + f(p) / unit.  Complete up to `reach` when that many can be listed;
    else up to less.  Coordinate by coordinate, with prices f and 2 g (p - y) less their least.
    """
    d = term.coordinates
    price = term.entries / unit + shift.slope[:, None] * (0.5 * d - shift.y[:, None])
    least = np.min(price, axis=1)
    size = np.max(np.where(np.isfinite(price), np.abs(price), 0.0), axis=1)
    base = shift.own + sum(least.tolist())
    margin = BOUND_MARGIN * (shift.own + sum(size.tolist()))
    radius = reach - base + margin
    if radius < 0.0:
        return np.empty((0, 8), dtype=np.int32), reach
    while True:
        points = _within(u, shift.y, price - least[:, None], d, radius + margin)
        if points is not None:
            complete = radius >= reach - base
            return points, reach if complete else base + radius - margin
        radius *= 0.5


def _within(u: Array, y: Array, price: Array, d: Doubled, radius: float) -> Doubled | None:
    """Points of E8 with ||U (p - y)||^2 + prices <= radius, or None when they are too many."""
    chosen = np.zeros((1, 8), dtype=np.int32)
    cost, sums = np.zeros(1), np.zeros((1, 8))
    for i in range(7, -1, -1):
        e = 0.5 * d - y[i]
        z = u[9 * i] * e[None, :] + sums[:, i, None]
        now = cost[:, None] + z * z + price[i]
        keep = now <= radius * (1.0 + BOUND_MARGIN)
        if i < 7:
            keep &= (d[None, :] & 1) == (chosen[:, 7, None] & 1)
        row, at = np.nonzero(keep)
        if row.size > MOST_PARTIAL:
            return None
        chosen, cost, sums = chosen[row], now[row, at], sums[row]
        chosen[:, i] = d[at]
        for k in range(i):
            sums[:, k] += u[8 * k + i] * e[at]
    return np.asarray(chosen[np.sum(chosen, axis=1) % 4 == 0])
