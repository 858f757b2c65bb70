"""LDLQ with coordinate descent: the rounding used today, kept here to compare with.

Block LDLQ as in QuIP# (Tseng et al. 2024, section 4.1, and its public code): tiles are decided
one after the other, each rounded to the E8 point nearest to its conditional centre; then sweeps
of coordinate descent move one tile at a time to the E8 point nearest to the centre that all the
others leave it. The search itself never uses this module: it is a yardstick in NumPy, and NumPy's
linear algebra may give other last bits on another machine.

The peer is given its best settings: both tile orders, and for every target the best of all
iterates is kept, where the original keeps the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice.e8 import nearest
from morsr_mpi.objectives.problem import QuadraticProblem

Matrix = NDArray[np.float64]
Doubled = NDArray[np.int32]

#: Sweeps of coordinate descent; the default of QuIP#.
SWEEPS = 10


@dataclass(frozen=True, eq=False)
class Rounded:
    """Lattice points of a rounding: doubled int32 [k, n] and the objective of each [k]."""

    doubled: Doubled
    objective: Matrix

    def better_of(self, other: Rounded) -> Rounded:
        """Return, target by target, whichever of the two has the lower objective."""
        takes = other.objective < self.objective
        return Rounded(
            np.where(takes[:, None], other.doubled, self.doubled),
            np.where(takes, other.objective, self.objective),
        )


def objectives(problem: QuadraticProblem, doubled: Doubled) -> Matrix:
    """Return (v - t)^T Q (v - t) of each target [k] for the given doubled points [k, n]."""
    error = doubled * (problem.scale / 2.0) - problem.targets
    return np.asarray(np.einsum("ki,ki->k", error @ problem.Q, error), dtype=np.float64)


def nearest_point(problem: QuadraticProblem) -> Rounded:
    """Round every tile by itself, as if Q were the unit matrix: the simplest method there is."""
    tiles = problem.targets.reshape(-1, 8) / problem.scale
    doubled = nearest(tiles).reshape(problem.k, problem.n)
    return Rounded(doubled, objectives(problem, doubled))


def natural_order(problem: QuadraticProblem) -> list[int]:
    """Return the tiles in the order in which QuIP# decides them: the last tile first."""
    return list(range(problem.m - 1, -1, -1))


def diagonal_order(problem: QuadraticProblem) -> list[int]:
    """Return the tiles with the largest diagonal of Q first; ties by tile number."""
    weight = np.diagonal(problem.Q).reshape(problem.m, 8).sum(axis=1)
    return [int(tile) for tile in np.argsort(-weight, kind="stable")]


def block_ldlq(problem: QuadraticProblem, order: Sequence[int]) -> Rounded:
    """Decide the tiles in the given order, each nearest to its conditional centre.

    With the tile decided first put last, Q = U^T U, and row block j of U (v - t) is
    U_jj (v_j - c_j), so c_j = t_j - U_jj^-1 sum_b>j U_jb (v_b - t_b).
    Raises InputError when Q is not positive definite.
    """
    places = np.concatenate([np.arange(8 * tile, 8 * tile + 8) for tile in reversed(order)])
    try:
        upper = np.linalg.cholesky(problem.Q[np.ix_(places, places)]).T
    except np.linalg.LinAlgError:
        raise InputError("Q is not positive definite; add damping to its diagonal") from None
    targets = problem.targets[:, places]
    error = np.zeros_like(targets)
    doubled = np.zeros((problem.k, problem.n), dtype=np.int32)
    for first in range(problem.n - 8, -1, -8):
        here, decided = slice(first, first + 8), slice(first + 8, problem.n)
        push = np.linalg.solve(upper[here, here], upper[here, decided] @ error[:, decided].T).T
        chosen = nearest((targets[:, here] - push) / problem.scale)
        error[:, here] = chosen * (problem.scale / 2.0) - targets[:, here]
        doubled[:, places[here]] = chosen
    return Rounded(doubled, objectives(problem, doubled))


def descend(
    problem: QuadraticProblem,
    start: Rounded,
    order: Sequence[int],
    sweeps: int = SWEEPS,
) -> Rounded:
    """Sweep over the tiles in the given order; return the best iterate of every target.

    One move: v_j becomes the E8 point nearest to v_j - Q_jj^-1 (Q (v - t))_j.
    """
    best = start
    doubled = start.doubled.copy()
    scale = problem.scale
    inverse = {j: np.linalg.inv(problem.Q[8 * j : 8 * j + 8, 8 * j : 8 * j + 8]) for j in order}
    for _ in range(sweeps):
        # Fresh in every sweep, so that rounding does not pile up.
        gradient = (doubled * (scale / 2.0) - problem.targets) @ problem.Q
        moved = False
        for tile in order:
            here = slice(8 * tile, 8 * tile + 8)
            centre = doubled[:, here] / 2.0 - gradient[:, here] @ inverse[tile] / scale
            chosen = nearest(centre)
            step = (chosen - doubled[:, here]) * (scale / 2.0)
            if step.any():
                gradient += step @ problem.Q[here]
                doubled[:, here] = chosen
                moved = True
        if not moved:
            break
        best = best.better_of(Rounded(doubled.copy(), objectives(problem, doubled)))
    return best


def ldlq_with_descent(problem: QuadraticProblem, sweeps: int = SWEEPS) -> Rounded:
    """Return LDLQ with coordinate descent, the better of natural and diagonal order per target."""
    results = []
    for order in (natural_order(problem), diagonal_order(problem)):
        start = block_ldlq(problem, order)
        results.append(descend(problem, start, order, sweeps))
    return results[0].better_of(results[1])
