"""The look-ahead bounds: proven below Q, exact on every tile, never above a point.

Brute force in small dimensions, and problems made to be nasty: nearly singular tiles, huge scales,
ties, targets in deep holes.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import drive, random_problem

from morsr_mpi.lattice.e8 import k_nearest
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search import _engine, cpu
from morsr_mpi.search.bounds import proven_blocks, root_block_bounds
from morsr_mpi.search.factor import coordinates_of
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.orders import random_order
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.reference import Tree, objective

KINDS = ["rotation", "nearly-singular", "scaled", "correlated", "blocks"]


def nasty(kind: str, n: int, seed: int) -> np.ndarray:
    """A symmetric positive definite Q of some unpleasant kind."""
    rng = np.random.default_rng([n, seed])
    if kind == "rotation":
        return random_problem(n, 10.0 ** rng.uniform(0, 4), seed).Q
    if kind == "nearly-singular":  # one tile almost flat in one direction
        a = rng.standard_normal((n, n))
        a[:, :8] *= 0.1
        a[:, 3] = a[:, 4] + 0.1 * a[:, 3]
        return a.T @ a + 1e-4 * np.eye(n)
    if kind == "scaled":  # tiles of very different weight
        s = np.repeat(10.0 ** rng.uniform(-4, 4, n // 8), 8)
        q = random_problem(n, 5.0, seed).Q
        return q * s[:, None] * s[None, :]
    if kind == "correlated":
        at = np.arange(n)
        return 0.9 ** np.abs(at[:, None] - at[None, :])
    q = np.zeros((n, n))
    for b in range(0, n, 8):
        q[b : b + 8, b : b + 8] = random_problem(8, 30.0, seed + b).Q
    return q + 1e-9 * np.ones((n, n))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [8, 24, 64])
def test_weights_and_blocks_are_below_q_at_every_depth(kind: str, n: int) -> None:
    problem = QuadraticProblem.create(nasty(kind, n, 3), np.full(n, 0.3))
    part = prepare(problem).parts[0]
    order = part.vblast
    places = coordinates_of(order)
    Q = part.problem.Q[np.ix_(places, places)]
    blocks = proven_blocks(part.problem.Q, order, part.proof.eigenvalues)
    for j in range(1, part.problem.m + 1):
        leading = Q[: 8 * j, : 8 * j]
        weights = part.proof.weights[4 * j * (j - 1) : 4 * j * (j + 1)]
        assert np.all(weights >= 0.0)
        rounding = 1e-14 * np.trace(leading)
        assert np.linalg.eigvalsh(leading - np.diag(weights))[0] >= -rounding
        # Never worse in sum than one eigenvalue for all.
        assert np.sum(weights) >= 8 * j * part.proof.eigenvalues[j] * (1 - 1e-12)
        whole = np.zeros_like(leading)
        for b in range(j):
            at = 32 * j * (j - 1) + 64 * b
            whole[8 * b : 8 * b + 8, 8 * b : 8 * b + 8] = blocks[at : at + 64].reshape(8, 8)
        assert np.array_equal(whole, whole.T)
        assert np.linalg.eigvalsh(leading - whole)[0] >= -rounding


def test_weights_and_blocks_pay() -> None:
    """What they are there for: more than the least eigenvalue gives."""
    part = prepare(random_problem(64, 10.0, 5)).parts[0]
    blocks = proven_blocks(part.problem.Q, part.vblast, part.proof.eigenvalues)
    places = coordinates_of(part.vblast)
    Q = part.problem.Q[np.ix_(places, places)]
    for j in (4, 6):
        least = np.linalg.eigvalsh(Q[: 8 * j, : 8 * j])[0]
        assert np.mean(part.proof.weights[4 * j * (j - 1) : 4 * j * (j + 1)]) > 1.05 * least
        own = blocks[32 * j * (j - 1) : 32 * j * (j + 1)].reshape(j, 8, 8)
        assert np.mean(np.linalg.det(own) ** (1 / 8)) > 1.3 * least


def brute_least(c: np.ndarray, metric: np.ndarray) -> float:
    """Least (p − c)ᵀ metric (p − c) over E8, by exact search in the Cholesky factor."""
    u = np.linalg.cholesky(metric).T
    return float(k_nearest(c, 1, metric=np.triu(u)).cost[0])


DEEP = np.array([1.0, 0, 0, 0, 0, 0, 0, 0])
TIE = np.full(8, 0.25)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), place=st.sampled_from(["random", "deep", "tie", "lattice"]))
def test_the_look_ahead_of_a_tile_is_the_least_weighted_distance(seed: int, place: str) -> None:
    rng = np.random.default_rng(seed)
    weights = 10.0 ** rng.uniform(-1, 1, 24)
    centres = rng.uniform(-4, 4, 24)
    if place != "random":
        centres[:8] = {"deep": DEEP, "tie": TIE, "lattice": np.full(8, 1.5)}[place]
    part = np.empty(3)
    total = _engine.free_bound(weights, centres, part)
    for b in range(3):
        at = slice(8 * b, 8 * b + 8)
        expected = brute_least(centres[at], np.diag(weights[at]))
        assert part[b] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert total == part[2] + part[1] + part[0]


@pytest.mark.parametrize("kappa", [1.0, 10.0, 1e4])
def test_the_look_ahead_by_blocks_is_below_the_least_of_every_block(kappa: float) -> None:
    part = prepare(random_problem(40, kappa, 8)).parts[0]
    factor = part.prover
    rng = np.random.default_rng(4)
    below = above = 0.0
    for j in (1, 3, 5):
        own = factor.blocks[32 * j * (j - 1) : 32 * j * (j + 1)].reshape(j, 8, 8)
        for trial in range(12):
            centres = rng.uniform(-3, 3, 8 * j)
            if trial < 3:
                centres[:8] = (DEEP, TIE, np.zeros(8))[trial]
            exact = sum(brute_least(centres[8 * b : 8 * b + 8], own[b]) for b in range(j))
            found = factor.view.block_bound(np.ascontiguousarray(centres))
            assert found <= exact
            below += found
            above += exact
    if kappa <= 10.0:  # where most tables reach far enough it is nearly exact
        assert below > 0.85 * above


def test_every_cpu_level_gives_the_same_bounds() -> None:
    problem = random_problem(72, 30.0, 2)
    before = cpu.cpu_level()
    found = set()
    try:
        for level in cpu.cpu_levels():
            cpu.use_cpu_level(level)
            factor = prepare(problem).parts[0].prover
            centres = np.random.default_rng(1).uniform(-2, 2, 56)
            bits = factor.weights.tobytes() + factor.blocks.tobytes()
            found.add((bits, factor.view.block_bound(centres)))
    finally:
        cpu.use_cpu_level(before)
    assert len(found) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_no_bound_is_above_a_point(kind: str) -> None:
    """At every depth of 16 dimensions: the bounds of a node against all points below it."""
    rng = np.random.default_rng(7)
    problem = QuadraticProblem.create(nasty(kind, 16, 5), rng.uniform(-2, 2, 16))
    part = prepare(problem).parts[0]
    factor = part.prover
    tree = Tree(part.problem.Q, factor.order, part.centres[0], part.proof.eigenvalues)
    for child in tree.children(tree.root, 12, np.inf):
        best = tree.children(child, 1, np.inf)[0].partial
        centre = np.ascontiguousarray(child.centre[:8])
        for ahead in (
            _engine.free_bound(factor.weights[:8], centre, np.empty(1)),
            factor.view.block_bound(centre),
        ):
            assert child.partial + ahead <= best * (1 + 1e-9)
    assert (
        float(part.root_bounds[0]) <= drive(problem, SearchOptions(200_000)).solution().objective[0]
    )


def test_both_look_aheads_of_children_agree_with_the_twin() -> None:
    """What beams and enumerations compute for many children, against dense algebra."""
    part = prepare(random_problem(48, 20.0, 3)).parts[0]
    factor = part.prover
    j, count = 5, 29
    tree = Tree(part.problem.Q, factor.order, part.centres[0], part.proof.eigenvalues)
    children = tree.children(tree.root, count, np.inf)
    centre = tree.root.centre
    step = np.ascontiguousarray(np.array([0.5 * c.pinned[j] - centre[8 * j :] for c in children]).T)
    start = np.array([c.partial for c in children])
    least = float(part.proof.eigenvalues[j])
    weights = factor.weights[4 * j * (j - 1) : 4 * j * (j + 1)]
    free = np.ascontiguousarray(centre[: 8 * j])
    keys = np.empty(count)
    factor.view.look_ahead(free, step, start, False, least, np.inf, keys)
    np.testing.assert_allclose(keys, [tree.bound(c) for c in children], rtol=1e-9)
    expected = [
        c.partial
        + _engine.free_bound(weights, np.ascontiguousarray(c.centre[: 8 * j]), np.empty(5))
        for c in children
    ]
    limit = float(np.median(expected))
    factor.view.look_ahead(free, step, start, True, 0.0, limit, keys)
    for key, value in zip(keys, expected, strict=True):
        if value <= limit * (1 - 1e-9):
            assert key == pytest.approx(value, rel=1e-9)
        elif value > limit * (1 + 1e-9):
            assert key == np.inf


@pytest.mark.parametrize("seed", range(3))
def test_root_bounds_by_blocks_hold_and_are_better(seed: int) -> None:
    """Small enough to be certified: bound, one eigenvalue's bound, and the optimum."""
    problem = random_problem(40, 30.0, seed, k=2)
    part = prepare(problem).parts[0]
    least = float(part.proof.eigenvalues[5])
    bounds = root_block_bounds(problem.Q, least, part.centres)
    optimum = drive(problem, SearchOptions(None)).solution().objective
    for t in range(2):
        single = sum(brute_least(c, np.eye(8)) for c in part.centres[t].reshape(-1, 8)) * least
        assert 1.2 * single < bounds[t] <= optimum[t]


def test_a_larger_problem_has_a_better_bound_than_its_least_eigenvalue() -> None:
    problem = random_problem(136, 50.0, 1)
    part = prepare(problem).parts[0]
    search = drive(problem, SearchOptions(5_000))
    solution = search.solution()
    least = float(part.proof.eigenvalues[17])
    single = sum(brute_least(c, np.eye(8)) for c in part.centres[0].reshape(-1, 8)) * least
    assert solution.lower_bound[0] > 1.2 * single
    assert solution.lower_bound[0] < solution.objective[0]


def test_neighbours_that_go_together_are_bounded_by_blocks_far_beyond_one_eigenvalue() -> None:
    """40 tiles, few sweeps; covariance of an AR(1) process: the least eigenvalue says little."""
    at = np.arange(320)
    Q = 0.9 ** np.abs(at[:, None] - at[None, :])
    problem = QuadraticProblem.create(Q, np.random.default_rng(3).uniform(-4, 4, 320), 1.0)
    part = prepare(problem).parts[0]
    least = float(part.proof.eigenvalues[40])
    single = sum(brute_least(c, np.eye(8)) for c in part.centres[0].reshape(-1, 8)) * least
    solution = drive(problem, SearchOptions(5_000)).solution()
    assert 2.0 * single < solution.lower_bound[0] < solution.objective[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["random", "deep", "tie"])
def test_certified_optima_of_nasty_problems_are_optimal(kind: str, where: str) -> None:
    """16 dimensions against every point that a plain enumeration finds within the optimum."""
    rng = np.random.default_rng(11)
    target = {"random": rng.uniform(-3, 3, 16), "deep": np.tile(DEEP, 2), "tie": np.tile(TIE, 2)}
    problem = QuadraticProblem.create(nasty(kind, 16, 9), target[where])
    solution = drive(problem, SearchOptions(3_000_000)).solution()
    value = objective(problem.Q, problem.targets[0], 1.0, solution.doubled[0])
    assert solution.objective[0] == pytest.approx(value, rel=1e-6)
    assert solution.lower_bound[0] <= solution.objective[0]
    assert solution.certified[0]
    order = random_order(2, 5)
    tree = Tree(problem.Q, order, problem.targets[0], np.zeros(3))
    better = tree.points(tree.root, float(solution.objective[0]) * (1 - 1e-6))
    assert better == []
