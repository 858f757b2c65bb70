"""Our factorisations against NumPy's, their proofs against true eigenvalues."""

from __future__ import annotations

import numpy as np
import pytest
from instances import random_problem

from morsr_mpi.base.errors import InputError
from morsr_mpi.search import _engine, reference
from morsr_mpi.search.bounds import constant_weights, proven_eigenvalues
from morsr_mpi.search.factor import (
    cholesky_of,
    coordinates_of,
    factor_of,
    inverse_of,
    norms_of,
    tolerance_of,
)
from morsr_mpi.search.orders import diagonal_order, natural_order, random_order, vblast_order

SIZES = [8, 16, 56, 64, 72, 136, 200]


@pytest.mark.parametrize("n", SIZES)
def test_cholesky_and_inverse_agree_with_numpy(n: int) -> None:
    problem = random_problem(n, 50.0, n)
    order = random_order(n // 8, 3)
    places = coordinates_of(order)
    permuted = problem.Q[np.ix_(places, places)]
    u = np.triu(cholesky_of(problem.Q, order))
    np.testing.assert_allclose(u, np.linalg.cholesky(permuted).T, atol=1e-12)
    g = inverse_of(u)
    assert not np.any(np.tril(g, -1))
    bound = 4 * n * 2.0**-53 * (np.abs(u) @ np.abs(g))
    assert np.all(np.abs(u @ g - np.eye(n)) <= bound + 1e-15)


def test_cholesky_names_the_pivot_that_fails() -> None:
    Q = np.eye(16)
    Q[11, 11] = -1.0
    with pytest.raises(InputError, match=r"pivot 11 .*coordinate 11"):
        cholesky_of(Q, natural_order(2))


@pytest.mark.parametrize("n", [16, 72])
def test_blocks_move_the_conditional_minimiser(n: int) -> None:
    """W_bj (p − c_j) is what pinning tile j does to the minimiser over the free tiles."""
    problem = random_problem(n, 30.0, 5)
    m = n // 8
    u = cholesky_of(problem.Q, natural_order(m))
    factor = factor_of(u, inverse_of(u), natural_order(m))
    for j in range(1, m):
        free, tile = slice(0, 8 * j), slice(8 * j, 8 * j + 8)
        expected = -np.linalg.solve(problem.Q[free, free], problem.Q[free, tile])
        at = j * (j - 1) // 2 * 64
        blocks = factor.w[at : at + 64 * j].reshape(j, 8, 8)  # [b][column][row]
        np.testing.assert_allclose(blocks.transpose(0, 2, 1).reshape(8 * j, 8), expected, atol=1e-9)
        np.testing.assert_allclose(
            factor.diag.reshape(m, 8, 8)[j], np.triu(u)[tile, tile], atol=0.0
        )


@pytest.mark.parametrize("kappa", [1.0, 10.0, 1e5])
def test_couplings_bound_how_far_centres_move(kappa: float) -> None:
    problem = random_problem(56, kappa, 6)
    order = random_order(7, 1)
    u = cholesky_of(problem.Q, order)
    g = inverse_of(u)
    factor = factor_of(u, g, order)
    out = np.empty(7)
    weights = constant_weights(np.ones(8))
    _engine.couplings(factor.diag, factor.w, weights, np.empty(0), out)
    assert out[0] == 0.0
    for j in range(1, 7):
        norm = np.linalg.norm(g[: 8 * j, 8 * j : 8 * j + 8], 2)
        assert norm * (1 - 1e-12) <= out[j] <= 1.08 * norm + 1e-9


@pytest.mark.parametrize("kappa", [1.0, 10.0, 1e4])
@pytest.mark.parametrize("n", [8, 40, 136])
def test_proven_eigenvalues_are_below_the_true_ones_and_close(n: int, kappa: float) -> None:
    problem = random_problem(n, kappa, 9)
    m = n // 8
    order = diagonal_order(problem.Q)
    u = cholesky_of(problem.Q, order)
    estimate = factor_of(u, inverse_of(u), order).eigenvalues
    proven = proven_eigenvalues(problem.Q, order, estimate)
    places = coordinates_of(order)
    permuted = problem.Q[np.ix_(places, places)]
    for j in range(1, m + 1):
        true = np.linalg.eigvalsh(permuted[: 8 * j, : 8 * j])[0]
        assert proven[j] <= true * (1 + 1e-12)
        # One step of the ladder of shifts, coarser for more tiles.
        assert proven[j] >= true * (0.95 if m <= 32 else 0.79)


def test_norms_are_upper_bounds() -> None:
    problem = random_problem(64, 1e3, 2)
    u = np.triu(cholesky_of(problem.Q, natural_order(8)))
    g = inverse_of(u)
    product, chi, trace = norms_of(u, g)
    assert product >= np.linalg.norm(np.abs(u) @ np.abs(g), 2) ** 2 * (1 - 1e-12)
    blocks = [slice(8 * j, 8 * j + 8) for j in range(8)]
    assert chi >= max(np.linalg.norm(np.abs(u[b, b]) @ np.abs(g[b, b])) for b in blocks) - 1e-9
    assert trace == pytest.approx(np.trace(problem.Q), rel=1e-12)


def test_tolerance_grows_with_conditioning_and_gives_up() -> None:
    values = []
    for kappa in (10.0, 1e4, 1e8):
        problem = random_problem(64, kappa, 4)
        u = cholesky_of(problem.Q, natural_order(8))
        least = 1.0 / np.linalg.norm(np.linalg.inv(problem.Q), 2)
        values.append(tolerance_of(64, norms_of(u, inverse_of(u)), float(least)))
    assert 0.0 < values[0] < 1e-9
    assert values[0] < values[1] < values[2]
    assert tolerance_of(64, (1.0, 1.0, 1.0), 0.0) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_vblast_order_agrees_with_its_twin(seed: int) -> None:
    problem = random_problem(72, 200.0, seed)
    g = inverse_of(cholesky_of(problem.Q, natural_order(9)))
    assert vblast_order(g).tolist() == reference.vblast_order(problem.Q).tolist()


def test_random_orders_are_permutations_fixed_for_ever() -> None:
    assert sorted(random_order(12, 5).tolist()) == list(range(12))
    assert random_order(8, 1).tolist() == [6, 7, 1, 2, 3, 5, 4, 0]
    assert random_order(64, 1).tolist() != random_order(64, 2).tolist()


@pytest.mark.parametrize("n", [8, 64, 200])
def test_evaluate_agrees_with_numpy(n: int) -> None:
    problem = random_problem(n, 100.0, 1, scale=0.3)
    rng = np.random.default_rng(n)
    doubled = rng.integers(-9, 9, n).astype(np.int32)
    kernel = _engine.Objective(problem.Q, problem.targets[0], 0.3, np.empty(2 * n))
    expected = reference.objective(problem.Q, problem.targets[0], 0.3, doubled)
    assert kernel.evaluate(doubled) == pytest.approx(expected, rel=1e-12)
