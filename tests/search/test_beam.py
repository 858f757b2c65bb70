"""The beam kernel against its twin; the descent against a plain search for a better root."""

from __future__ import annotations

import numpy as np
import pytest
from instances import random_problem

from morsr_mpi.lattice.points import contains, roots
from morsr_mpi.search import _engine
from morsr_mpi.search.factor import coordinates_of
from morsr_mpi.search.orders import VBLAST, OrderName
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.reference import Tree, objective


@pytest.mark.parametrize("gamma", [1.0, 3.0])
@pytest.mark.parametrize(("width", "branch"), [(1, 1), (4, 3), (6, 10)])
def test_beam_agrees_with_its_twin(width: int, branch: int, gamma: float) -> None:
    problem = random_problem(24, 20.0, 31 * width + branch)
    prepared = prepare(problem).parts[0]
    for name in (VBLAST, OrderName("random", 4)):
        factor = prepared.factor(name)
        centre = prepared.centres[0]
        places = coordinates_of(factor.order)
        tree = Tree(problem.Q, factor.order, centre, factor.eigenvalues)
        expected = tree.beam(width, branch, gamma, float("inf"))
        assert expected is not None
        beam = _engine.Beam(
            factor.view, np.ascontiguousarray(centre[places]), width, branch, gamma, float("inf")
        )
        while not beam.step(50):
            pass
        found = np.empty(24, dtype=np.int32)
        cost = beam.best(found)
        assert cost == pytest.approx(expected.partial, rel=1e-9)
        assert found.tolist() == np.concatenate([expected.pinned[j] for j in range(3)]).tolist()


def test_slices_do_not_show_in_the_result() -> None:
    problem = random_problem(64, 100.0, 8)
    prepared = prepare(problem).parts[0]
    places = coordinates_of(prepared.rank.order)
    centre = np.ascontiguousarray(prepared.centres[0][places])
    outcomes = set()
    for ticks in (1, 1000, 10**9):
        beam = _engine.Beam(prepared.rank.view, centre, 32, 8, 2.0, float("inf"))
        while not beam.step(ticks):
            pass
        found = np.empty(64, dtype=np.int32)
        cost = beam.best(found)
        outcomes.add((cost, found.tobytes(), beam.ticks))
    assert len(outcomes) == 1


def test_a_limit_below_every_point_empties_the_beam() -> None:
    problem = random_problem(16, 10.0, 1)
    prepared = prepare(problem).parts[0]
    places = coordinates_of(prepared.rank.order)
    centre = np.ascontiguousarray(prepared.centres[0][places])
    beam = _engine.Beam(prepared.rank.view, centre, 8, 8, 1.0, 1e-9)
    while not beam.step(1000):
        pass
    assert beam.best(np.empty(16, dtype=np.int32)) is None


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
