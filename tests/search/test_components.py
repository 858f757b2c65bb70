"""Independent components are found, solved and certified one by one."""

from __future__ import annotations

import numpy as np
import pytest
from instances import drive, random_problem

from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.components import components_of
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.reference import objective
from morsr_mpi.search.state import Search


def scattered(sizes: list[int], seed: int) -> tuple[QuadraticProblem, list[list[int]]]:
    """Independent random problems of so many tiles each, their tiles shuffled together."""
    m = sum(sizes)
    tiles = np.random.default_rng(seed).permutation(m)
    Q = np.zeros((8 * m, 8 * m))
    target = np.zeros(8 * m)
    groups, at = [], 0
    for i, size in enumerate(sizes):
        group = sorted(int(t) for t in tiles[at : at + size])
        at += size
        piece = random_problem(8 * size, 20.0, 100 * seed + i)
        places = np.concatenate([np.arange(8 * t, 8 * t + 8) for t in group])
        Q[np.ix_(places, places)] = piece.Q
        target[places] = piece.targets[0]
        groups.append(group)
    return QuadraticProblem.create(Q, target), groups


@pytest.mark.parametrize("seed", range(4))
def test_components_are_found(seed: int) -> None:
    problem, groups = scattered([3, 1, 4, 2], seed)
    found = [tiles.tolist() for tiles in components_of(problem.Q)]
    assert found == sorted(groups)


def test_each_component_is_certified_and_the_sum_is_the_answer() -> None:
    # 20 tiles in one piece would be out of reach; in pieces they take a moment.
    problem, _ = scattered([5, 5, 5, 5], 7)
    search = drive(problem, SearchOptions(work=None))
    solution = search.solution()
    assert solution.certified[0] == 1
    whole = objective(problem.Q, problem.targets[0], 1.0, solution.doubled[0])
    assert solution.objective[0] == pytest.approx(whole, rel=1e-12)
    assert solution.lower_bound[0] <= solution.objective[0]
    assert solution.lower_bound[0] >= solution.objective[0] * (1 - 1e-9)
    total = 0.0
    for part in prepare(problem).parts:
        alone = drive(part.problem, SearchOptions(work=None)).solution()
        total += alone.objective[0]
    assert solution.objective[0] == pytest.approx(total, rel=1e-12)


def test_the_budget_is_shared_by_the_components_of_a_target() -> None:
    problem, _ = scattered([9, 9, 2], 3)
    search = drive(problem, SearchOptions(work=20_000))
    works = [unit.work for unit in search.target(0)]
    assert len(works) == 3
    assert 20_000 <= sum(works) < 60_000
    assert search.solution().work[0] == sum(works)


def test_states_with_components_are_restored() -> None:
    problem, _ = scattered([6, 4], 5)
    prepared = prepare(problem)
    options = SearchOptions(30_000)
    snapshots: list[bytes] = []
    whole = drive(
        problem, options, prepared=prepared, watch=lambda s, *_: snapshots.append(s.snapshot())
    )
    again = Search.restore(problem, prepared, options, snapshots[len(snapshots) // 2])
    done = drive(problem, options, prepared=prepared, search=again)
    assert done.solution().to_bytes() == whole.solution().to_bytes()


def test_a_bad_pivot_is_named_as_the_user_counts() -> None:
    Q = np.eye(24)
    Q[13, 13] = -1.0
    with pytest.raises(InputError, match="coordinate 13"):
        prepare(QuadraticProblem.create(Q, np.zeros(24)))
