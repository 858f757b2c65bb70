"""Terms that depend on the squared norm alone: `ball`, and what `rate` is with bits by shell.

f(p) = table[|p|^2 / 2]; squared norms in E8 are even.  Beyond the table nothing is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from morsr_mpi.base.config import MAX_BALL_RADIUS2
from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice.e8 import nearest
from morsr_mpi.lattice.points import points_by_norm, theta_coefficient
from morsr_mpi.objectives import _terms
from morsr_mpi.objectives.tile_term import (
    BOUND_MARGIN,
    Array,
    Doubled,
    Parameter,
    TileTerm,
    in_rows,
    kernel_values,
    number,
    take,
)

BALL = "ball"


class RadialTerm(TileTerm):
    """f by shell: shells[k], objective units, is the value at squared norm 2k; inf: forbidden."""

    def __init__(self, kind: str, parameters: Mapping[str, Parameter], shells: Array) -> None:
        last = int(np.flatnonzero(np.isfinite(shells))[-1])
        self.kind = kind
        self.parameters = parameters
        self.shells = np.ascontiguousarray(shells[: last + 1])
        self.rim = float(np.sqrt(2.0 * last))
        self._kernel = _terms.Term(_terms.RADIAL, last + 1, 0, self.shells, self.rim)

    def values(self, points: Doubled) -> Array:
        """See TileTerm."""
        return kernel_values(self._kernel, points)

    def reference_values(self, points: Doubled) -> Array:
        """See TileTerm."""
        norm = np.sum(in_rows(points).astype(np.int64) ** 2, axis=1) // 8
        inside = norm < self.shells.size
        out = np.where(inside, self.shells[np.where(inside, norm, 0)], np.inf)
        return np.asarray(out.reshape(np.shape(points)[:-1]))

    def native(self, unit: float) -> _terms.Term:
        """See TileTerm."""
        return _terms.Term(_terms.RADIAL, self.shells.size, 0, self.shells / unit, self.rim)

    def start(self, x: Array) -> Doubled:
        """Nearest points, after what lies outside the longest shell was pulled back to it."""
        norm = np.zeros(len(x))
        for i in range(8):
            norm = norm + x[:, i] * x[:, i]
        norm = np.sqrt(norm)
        outside = norm > self.rim
        share = self.rim / np.where(outside, norm, 1.0)
        return nearest(np.where(outside[:, None], x * share[:, None], x))

    @cached_property
    def _flat(self) -> bool:
        return not self.shells.any()

    def bound(
        self, centres: Array, origins: Doubled, weights: Array, parts: Array, unit: float
    ) -> Array:
        """Every shell by the larger of `parts` and least weight times (|c| - radius)^2."""
        x = centres + 0.5 * origins
        norm = np.zeros(len(x))
        for i in range(8):
            norm = norm + x[:, i] * x[:, i]
        norm = np.sqrt(norm)
        least = np.min(weights, axis=1)
        first = self.shells.size - 1 if self._flat else 0
        radius = np.sqrt(2.0 * np.arange(first, self.shells.size))
        gap = np.abs(norm[:, None] - radius)
        if self._flat:  # inside it is as if there were no term
            gap = np.maximum(norm[:, None] - radius, 0.0)
        gap = np.maximum(gap - BOUND_MARGIN * (1.0 + norm[:, None] + radius), 0.0)
        away = least[:, None] * gap * gap
        value = np.maximum(parts[:, None], away) + self.shells[first:] / unit
        return np.asarray(np.min(value, axis=1))

    def clip(self, x: Array) -> Array:
        """See TileTerm."""
        norm = _length(x)
        return x if norm <= self.rim else x * (self.rim / norm)

    def least_product(self, g: Array) -> float:
        """See TileTerm."""
        return -self.rim * _length(g)

    def points(self, most: int) -> Doubled | None:
        """See TileTerm."""
        allowed = [2 * int(k) for k in np.flatnonzero(np.isfinite(self.shells))]
        if sum(theta_coefficient(norm) for norm in allowed) > most:
            return None
        return np.concatenate([points_by_norm(norm) for norm in allowed])


def _length(x: Array) -> float:
    total = 0.0
    for item in x.tolist():
        total += item * item
    return float(np.sqrt(total))


def ball(parameters: Mapping[str, object]) -> RadialTerm:
    """Return the term `ball`: 0 where |v_b / s|^2 <= radius2, else not allowed.

    Raises InputError for parameters that make no sense.
    """
    given = take(BALL, parameters, ("radius2",), ())
    radius2 = number(BALL, "radius2", given["radius2"])
    if not 0.0 <= radius2 <= MAX_BALL_RADIUS2:
        raise InputError(
            f"tile term ball: radius2 = {radius2!r} is not between 0 and {MAX_BALL_RADIUS2}"
        )
    return RadialTerm(BALL, {"radius2": radius2}, np.zeros(int(radius2 // 2.0) + 1))
