"""Lag: batches planned ahead follow one fixed sequence of each target, and certificates agree."""

from __future__ import annotations

import numpy as np
import pytest
from instances import drive, histories_of, random_problem, run_task

from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.batches import Batch
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search
from morsr_mpi.search.tasks import PROVE


def test_certified_optima_agree_across_lags() -> None:
    problem = random_problem(48, 12.0, 4, k=3)
    prepared = prepare(problem)
    found = [drive(problem, SearchOptions(None, lag), prepared=prepared) for lag in range(5)]
    solutions = [search.solution() for search in found]
    for solution in solutions:
        assert solution.certified.all()
        assert np.array_equal(solution.doubled, solutions[0].doubled)
        assert np.array_equal(solution.objective, solutions[0].objective)


@pytest.mark.parametrize("lag", [1, 3])
def test_pulses_and_other_targets_do_not_change_what_a_target_finds(lag: int) -> None:
    problem = random_problem(40, 30.0, 3, k=4)
    options = [SearchOptions(None, lag), SearchOptions(None, lag, pulse_tasks=2)]
    found = [drive(problem, o, slice_units=s).solution() for o in options for s in (7, 9999)]
    assert len({solution.to_bytes() for solution in found}) == 1
    for t in range(problem.k):
        alone = QuadraticProblem.create(problem.Q, problem.targets[t : t + 1], problem.scale)
        solution = drive(alone, SearchOptions(None, lag)).solution()
        assert solution.objective[0] == found[0].objective[t]
        assert np.array_equal(solution.doubled[0], found[0].doubled[t])


@pytest.mark.parametrize("lag", [1, 2])
def test_a_run_with_less_work_is_a_prefix_and_goes_on_to_the_same_bits(lag: int) -> None:
    problem = random_problem(72, 200.0, 6, k=2)
    prepared = prepare(problem)
    found = [histories_of(problem, prepared, SearchOptions(w, lag)) for w in (20_000, 80_000)]
    searches, histories = zip(*found, strict=True)
    for short, long in zip(*histories, strict=True):
        assert 0 < len(short) < len(long)
        assert long[: len(short)] == short
    larger = SearchOptions(80_000, lag)
    woken = Search.restore(problem, prepared, larger, searches[0].snapshot())
    done = drive(problem, larger, prepared=prepared, search=woken)
    assert done.solution().to_bytes() == searches[1].solution().to_bytes()


def test_a_state_restored_anywhere_goes_on_to_the_same_bits() -> None:
    problem = random_problem(56, 20.0, 7, k=2)
    prepared = prepare(problem)
    options = SearchOptions(100_000, lag=2)
    whole = drive(problem, options, prepared=prepared)
    snapshots: list[bytes] = []
    drive(
        problem,
        options,
        prepared=prepared,
        watch=lambda search, *_: snapshots.append(search.snapshot()),
    )
    for snapshot in snapshots[:: max(1, len(snapshots) // 6)]:
        again = Search.restore(problem, prepared, options, snapshot)
        assert again.snapshot() == snapshot
        done = drive(problem, options, prepared=prepared, search=again)
        assert done.state_digest() == whole.state_digest()


def test_the_bound_covers_what_is_in_flight() -> None:
    problem = random_problem(56, 40.0, 5)
    prepared = prepare(problem)
    optimum = drive(problem, SearchOptions(None), prepared=prepared).solution()
    assert optimum.certified[0]

    def watch(search: Search, *_: object) -> None:
        unit = search.units[0]
        outstanding = [*unit.ready, *unit.flight.values()]
        least = min([c.bound for c in unit.frontier] + [b.bound for b in outstanding], default=0.0)
        if unit.frontier or outstanding:
            assert search.lower_bound(0) <= optimum.objective[0]
            assert least >= 0.0

    drive(problem, SearchOptions(None, lag=3), prepared=prepared, watch=watch)


def test_what_is_dropped_returns_to_the_frontier() -> None:
    problem = random_problem(64, 40.0, 8)
    prepared = prepare(problem)
    explorer = Explorer(problem, prepared)
    search = Search(problem, prepared, SearchOptions(None))
    unit = search.units[0]
    while True:
        pulse, tasks = search.plan()
        if len(tasks) > 2 and tasks[0].kind == PROVE:
            break
        search.commit(pulse, [run_task(explorer, task) for task in tasks])
    batch = unit.flight[pulse]
    kept = {chamber.key for chamber in unit.frontier}
    unit.settle(pulse, [0], [run_task(explorer, tasks[0])])
    assert not batch.closed
    assert Batch.from_bytes(batch.to_bytes()) == batch
    unit.drop(pulse)
    assert batch.closed
    unit.retire(pulse)
    assert not unit.flight
    limit = unit.objective * unit.limit_scale
    left = [chamber for chamber in batch.chambers(range(1, len(tasks))) if chamber.bound <= limit]
    assert left
    assert not kept & {chamber.key for chamber in left}
    assert {chamber.key for chamber in left} <= {chamber.key for chamber in unit.frontier}
