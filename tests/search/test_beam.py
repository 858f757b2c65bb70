"""The beam kernel against its twin; the descent against a plain search for a better root."""

from __future__ import annotations

import numpy as np
import pytest
from instances import drive, random_problem

from morsr_mpi.lattice.e8 import nearest
from morsr_mpi.lattice.points import contains, roots
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search import _engine
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.orders import VBLAST, OrderName
from morsr_mpi.search.prepare import Part, prepare
from morsr_mpi.search.ranking import Ranking, ranking_of
from morsr_mpi.search.reference import objective
from morsr_mpi.search.reference_beam import LEAST, RATE, SLOPE, START, STEP2, RankedTree


def nearest_dist2(x: np.ndarray) -> np.ndarray:
    """Squared distances to E8 of points [k,8]."""
    return np.asarray(np.sum((x - 0.5 * nearest(x)) ** 2, axis=1))


def beam_of(
    part: Part, name: OrderName, width: int, branch: int, gamma: float, limit: float = float("inf")
) -> tuple[_engine.Beam, Ranking]:
    """A beam over the first target of a part."""
    factor = part.factor(name)
    assert factor is not None
    ranking = ranking_of(factor)
    centre = np.ascontiguousarray(part.centres[0][ranking.places])
    return _engine.Beam(ranking.view, centre, width, branch, gamma, limit), ranking


@pytest.mark.parametrize("gamma", [0.0, 0.8, 2.0])
@pytest.mark.parametrize(("width", "branch"), [(1, 1), (4, 3), (7, 10)])
def test_beam_agrees_with_its_twin(width: int, branch: int, gamma: float) -> None:
    problem = random_problem(40, 40.0, 31 * width + branch)
    part = prepare(problem).parts[0]
    for name in (VBLAST, OrderName("random", 4), OrderName("near", 4)):
        beam, ranking = beam_of(part, name, width, branch, gamma)
        order = ranking.factor.order
        tree = RankedTree(problem.Q, order, part.centres[0], ranking.factor.eigenvalues)
        expected = tree.beam(width, branch, gamma, float("inf"))
        assert expected is not None
        while not beam.step(50):
            pass
        found = np.empty(40, dtype=np.int32)
        assert beam.best(found) is not None
        assert found.tolist() == np.concatenate([expected.pinned[j] for j in range(5)]).tolist()


@pytest.mark.parametrize("n", [16, 72, 136])
def test_tables_of_a_ranking_agree_with_its_twin(n: int) -> None:
    problem = random_problem(n, 300.0, n)
    part = prepare(problem).parts[0]
    ranking = ranking_of(part.rank)
    m, unit = n // 8, ranking.view.unit
    assert np.log2(unit) % 2 == 0
    tree = RankedTree(problem.Q, ranking.factor.order, part.centres[0], np.zeros(m + 1))
    upper, metric, inverse, _ = np.split(ranking.tiles, [64 * m, 128 * m, 192 * m])
    weights, bends = np.split(ranking.levels, 2)
    for j in range(m):
        block = slice(64 * j, 64 * j + 64)
        u = upper[block].reshape(8, 8).T
        assert np.allclose(u.T @ u, metric[block].reshape(8, 8), rtol=1e-5, atol=1e-5)
        assert np.allclose(unit * metric[block].reshape(8, 8), tree.metric[j], rtol=1e-5)
        identity = inverse[block].reshape(8, 8) @ metric[block].reshape(8, 8)
        assert np.allclose(identity, np.eye(8), atol=1e-4)
        row = _engine.rank_row(j)
        for b in range(j):
            assert unit * weights[row + b] == pytest.approx(tree.weight(j, b), rel=1e-5)
            deviation = np.sqrt(np.sum(tree.W[j][b] ** 2) / 64 * STEP2)
            assert bends[row + b] == pytest.approx(START - RATE * deviation, abs=1e-5)
        assert not np.any(weights[row + j : _engine.rank_row(j + 1)])


def test_slope_of_the_estimate_is_that_of_random_moves() -> None:
    """One measured constant behind the ranking: moves that leave the Voronoi cell gain less."""
    rng = np.random.default_rng(11)
    centre = rng.uniform(-2.0, 2.0, (60_000, 8))
    point, dist2 = nearest(centre), nearest_dist2(centre)
    residue = centre - 0.5 * point
    for deviation in (0.02, 0.06):
        move = rng.normal(0.0, deviation, centre.shape)
        change = nearest_dist2(centre + move) - dist2
        slope = np.clip(1.0 - SLOPE * (dist2 - START + RATE * deviation), LEAST, 1.0)
        plain = 2.0 * np.sum(residue * move, axis=1)
        left = [
            float(np.mean((change - x) ** 2)) for x in (plain + np.sum(move**2, 1), slope * plain)
        ]
        assert left[1] < 0.85 * left[0]


def test_slices_do_not_show_in_the_result() -> None:
    part = prepare(random_problem(64, 100.0, 8)).parts[0]
    outcomes = set()
    for ticks in (1, 1000, 10**9):
        beam, _ = beam_of(part, VBLAST, 32, 8, 0.8)
        while not beam.step(ticks):
            pass
        found = np.empty(64, dtype=np.int32)
        assert beam.best(found) is not None
        outcomes.add((found.tobytes(), beam.ticks))
    assert len(outcomes) == 1


def test_a_limit_below_every_point_empties_the_beam() -> None:
    part = prepare(random_problem(16, 10.0, 1)).parts[0]
    beam, _ = beam_of(part, VBLAST, 8, 8, 1.0, limit=1e-9)
    while not beam.step(1000):
        pass
    assert beam.best(np.empty(16, dtype=np.int32)) is None


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_wider_than_the_tree_finds_the_optimum(seed: int) -> None:
    """With branches enough and nothing dropped for want of room, only the estimate can miss."""
    problem = random_problem(16, 5.0, seed)
    part = prepare(problem).parts[0]
    search = drive(problem, SearchOptions(None))
    beam, ranking = beam_of(part, VBLAST, 4096, 64, 0.0)
    while not beam.step(1 << 20):
        pass
    found = np.empty(16, dtype=np.int32)
    assert beam.best(found) is not None
    doubled = part.origins[0].copy()
    doubled[ranking.places] += found
    value = objective(problem.Q, problem.targets[0], 1.0, doubled)
    assert value == pytest.approx(search.solution().objective[0], rel=1e-9)


def test_far_centres_lose_nothing_to_float32() -> None:
    """Residues are kept, not centres: a target far out gives the same points, moved."""
    near = random_problem(48, 100.0, 3)
    shift = 2.0**20
    far = QuadraticProblem.create(near.Q, near.targets + shift, 1.0)
    points = []
    for problem, off in ((near, 0.0), (far, 2.0 * shift)):
        part = prepare(problem).parts[0]
        beam, ranking = beam_of(part, VBLAST, 16, 8, 0.8)
        while not beam.step(1000):
            pass
        found = np.empty(48, dtype=np.int32)
        assert beam.best(found) is not None
        doubled = part.origins[0].copy()
        doubled[ranking.places] += found
        points.append((doubled - int(off)).tolist())
    assert points[0] == points[1]


def test_babai_is_what_no_root_improves_tile_by_tile() -> None:
    problem = random_problem(48, 60.0, 9)
    part = prepare(problem).parts[0]
    ranking = ranking_of(part.rank)
    centre = np.ascontiguousarray(part.centres[0][ranking.places])
    found = np.empty(48, dtype=np.int32)
    assert _engine.babai(ranking.factor.view, centre, found) > 0
    tree = RankedTree(problem.Q, ranking.factor.order, part.centres[0], np.zeros(7))
    expected = tree.beam(1, 1, 0.0, float("inf"))
    assert expected is not None
    assert found.tolist() == np.concatenate([expected.pinned[j] for j in range(6)]).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_descent_ends_where_no_root_improves(seed: int) -> None:
    problem = random_problem(40, 30.0, seed, scale=0.7)
    prepared = prepare(problem).parts[0]
    rng = np.random.default_rng(seed)
    start = prepared.origins[0].copy()
    start += 2 * rng.permutation(roots())[:5].astype(np.int32).reshape(-1)
    kernel = _engine.Objective(problem.Q, problem.targets[0], 0.7, np.empty(80))
    doubled = start.copy()
    assert kernel.descend(prepared.quad, doubled, 64) > 0
    assert np.all(contains(doubled.reshape(-1, 8)))
    value = objective(problem.Q, problem.targets[0], 0.7, doubled)
    assert value < objective(problem.Q, problem.targets[0], 0.7, start)
    for tile in range(5):
        for root in roots():
            moved = doubled.copy()
            moved[8 * tile : 8 * tile + 8] += root
            assert objective(problem.Q, problem.targets[0], 0.7, moved) >= value * (1 - 1e-10)
