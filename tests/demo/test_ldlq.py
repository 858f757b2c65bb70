"""LDLQ with coordinate descent, the yardstick: against formulas and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice.e8 import nearest
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search import ldlq


def random_problem(
    seed: int, n: int = 24, k: int = 5, condition: float = 100.0
) -> QuadraticProblem:
    generator = np.random.Generator(np.random.PCG64(seed))
    rotation = np.linalg.qr(generator.standard_normal((n, n)))[0]
    Q = (rotation * np.geomspace(1.0, condition, n)) @ rotation.T
    target = 3.0 * generator.standard_normal((k, n))
    return QuadraticProblem.create((Q + Q.T) / 2, target, 0.7)


def phi(problem: QuadraticProblem, doubled: np.ndarray) -> list[float]:
    out = []
    for row, target in zip(doubled, problem.targets, strict=True):
        error = row * (problem.scale / 2) - target
        out.append(float(error @ problem.Q @ error))
    return out


@pytest.mark.parametrize("seed", range(5))
def test_objectives_belong_to_the_points(seed: int) -> None:
    problem = random_problem(seed)
    for rounded in (ldlq.nearest_point(problem), ldlq.ldlq_with_descent(problem)):
        assert rounded.doubled.dtype == np.int32
        np.testing.assert_allclose(rounded.objective, phi(problem, rounded.doubled), rtol=1e-12)
        tiles = rounded.doubled.reshape(-1, 8)
        np.testing.assert_array_equal(nearest(tiles / 2.0), tiles)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_block_ldlq_rounds_conditional_centres(order: list[int]) -> None:
    problem = random_problem(11)
    found = ldlq.block_ldlq(problem, order)
    for row, target in zip(found.doubled, problem.targets, strict=True):
        error = np.zeros(problem.n)
        decided: list[int] = []
        for tile in order:
            free = [i for i in range(problem.n) if i not in decided]
            centre = target.copy()
            # Minimise over all that is free with the decided coordinates held.
            push = problem.Q[np.ix_(free, decided)] @ error[decided]
            centre[free] -= np.linalg.solve(problem.Q[np.ix_(free, free)], push)
            here = list(range(8 * tile, 8 * tile + 8))
            expected = nearest(centre[here] / problem.scale)
            np.testing.assert_array_equal(row[here], expected)
            error[here] = expected * (problem.scale / 2) - target[here]
            decided += here


def test_descent_never_loses_and_ends_where_no_tile_moves() -> None:
    problem = random_problem(3, n=40, k=20)
    order = ldlq.natural_order(problem)
    start = ldlq.block_ldlq(problem, order)
    best = start.objective
    for sweeps in (1, 3, 10):
        found = ldlq.descend(problem, start, order, sweeps)
        assert np.all(found.objective <= best)
        best = found.objective
    assert best.sum() < start.objective.sum()


def test_better_of_both_orders_is_taken_for_every_target() -> None:
    problem = random_problem(4, n=32, k=30, condition=1000.0)
    found = ldlq.ldlq_with_descent(problem)
    for order in (ldlq.natural_order(problem), ldlq.diagonal_order(problem)):
        one = ldlq.descend(problem, ldlq.block_ldlq(problem, order), order)
        assert np.all(found.objective <= one.objective)


def test_orders() -> None:
    problem = random_problem(6)
    assert ldlq.natural_order(problem) == [2, 1, 0]
    Q = np.diag(np.repeat([1.0, 3.0, 2.0], 8))
    assert ldlq.diagonal_order(QuadraticProblem.create(Q, np.zeros(24))) == [1, 2, 0]
    assert ldlq.diagonal_order(QuadraticProblem.create(np.eye(24), np.zeros(24))) == [0, 1, 2]


def test_unit_quadratic_is_solved_exactly() -> None:
    generator = np.random.Generator(np.random.PCG64(9))
    problem = QuadraticProblem.create(np.eye(16), generator.standard_normal((4, 16)))
    expected = ldlq.nearest_point(problem)
    found = ldlq.ldlq_with_descent(problem)
    np.testing.assert_array_equal(found.doubled, expected.doubled)


def test_indefinite_quadratic_is_refused() -> None:
    problem = QuadraticProblem.create(np.diag([1.0] * 7 + [-1.0]), np.zeros(8))
    with pytest.raises(InputError, match="not positive definite"):
        ldlq.ldlq_with_descent(problem)
