"""What the search of one component under a tile term shares: kernels or their twins, tables."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.config import MAX_LISTED_SET
from morsr_mpi.base.errors import InternalError
from morsr_mpi.lattice.points import roots
from morsr_mpi.objectives import _terms
from morsr_mpi.objectives.tile_term import TileTerm
from morsr_mpi.search import _engine
from morsr_mpi.search.prepare import Part
from morsr_mpi.search.ranking import Ranking
from morsr_mpi.search.reference_terms import (
    TwinBeam,
    TwinWalk,
    root_quad,
    term_costs,
)

Array = NDArray[np.float64]
Doubled = NDArray[np.int32]


def roots_by_coordinate() -> Array:
    """Doubled coordinates of the roots in canonical order, float64 [8, 240]."""
    return np.ascontiguousarray(roots().T.astype(np.float64))


def level_weights(ranking: Ranking) -> Array:
    """Weights of a beam's look-ahead in lattice units, [m, m]: of tile b when tile j is decided."""
    m = ranking.factor.tiles
    out = np.zeros((max(1, m), max(1, m)))
    for j in range(1, m):
        at = _engine.rank_row(j)
        out[j, :j] = ranking.levels[at : at + j].astype(np.float64) * ranking.view.unit
    return out


class TermObjective:
    """The objective of one target with its term; the quadratic part from the engine's kernel."""

    def __init__(self, quadratic: _engine.Objective, term: TileTerm) -> None:
        self.quadratic = quadratic
        self.term = term

    def evaluate(self, doubled: Doubled) -> float:
        """The quadratic part, then the tiles in natural order; inf where a tile is not allowed."""
        total = float(self.quadratic.evaluate(doubled))
        for value in self.term.values(doubled.reshape(-1, 8)).tolist():
            total += value
        return total


class TermContext:
    """One component under its term.  kernel: None where Python computes the term (or for tests)."""

    def __init__(self, part: Part, twins: bool = False) -> None:
        term = part.problem.term
        if term is None:
            raise InternalError("a problem without a tile term has no use for this")
        self.part = part
        self.term = term
        self.unit = part.unit
        self.kernel = None if twins else term.native(part.unit)
        self.roots = roots_by_coordinate()
        self._weights: tuple[Ranking, Array] | None = None

    @cached_property
    def quad(self) -> Array:
        """Squared norms of the roots under each diagonal block of Q, [m, 240]."""
        m = self.part.problem.m
        if self.kernel is None:
            return root_quad(self.part.problem.Q, self.roots)
        out = np.empty((m, 240))
        _terms.root_quad(self.part.problem.Q, self.roots, out)
        return out

    @cached_property
    def listed(self) -> Doubled | None:
        """All allowed points, int32 (count, 8), where they are few."""
        return self.term.points(MAX_LISTED_SET)

    def weights(self, ranking: Ranking) -> Array:
        """level_weights of the ranking last used, kept."""
        if self._weights is None or self._weights[0] is not ranking:
            self._weights = (ranking, level_weights(ranking))
        return self._weights[1]

    def origin(self, target: int, places: NDArray[np.intp]) -> Doubled:
        """Origin of a target by position, int32 [n]."""
        return np.ascontiguousarray(self.part.origins[target][places])

    def costs(self, u: Array, c: Array, o: Doubled, points: Doubled) -> tuple[Array, Array]:
        """Quadratic cost and term, lattice units, of points (count, 8) relative to the origin o."""
        if self.kernel is None:
            return term_costs(self.term, self.unit, u, c, o, points)
        quad, term = np.empty(len(points)), np.empty(len(points))
        if len(points):
            self.kernel.costs(u, c, o, np.ascontiguousarray(points), quad, term)
        return quad, term

    def beam(
        self,
        ranking: Ranking,
        centre: Array,
        target: int,
        width: int,
        branch: int,
        gamma: float,
        limit: float,
    ) -> _terms.Beam | TwinBeam:
        """Begin a beam; centre by position."""
        factor, weights = ranking.factor, self.weights(ranking)
        origin = self.origin(target, ranking.places)
        shape = (width, branch, gamma, limit)
        if self.kernel is None:
            return TwinBeam(
                self.term,
                self.unit,
                factor.diag,
                factor.w,
                weights,
                self.roots,
                centre,
                origin,
                *shape,
            )
        return _terms.Beam(
            factor.diag, factor.w, weights, self.roots, self.kernel, centre, origin, *shape
        )

    def walk(
        self, target: int, doubled: Doubled, patience: int, seed: int
    ) -> _terms.Walk | TwinWalk:
        """Begin a descent and walk from an absolute point in natural order."""
        problem = self.part.problem
        goal = problem.targets[target] / problem.scale
        form = (problem.Q, goal, self.quad, self.roots)
        if self.kernel is None:
            return TwinWalk(self.term, self.unit, *form, doubled, patience, seed)
        return _terms.Walk(*form, self.kernel, doubled, patience, seed)
