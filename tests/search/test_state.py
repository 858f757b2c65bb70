"""plan and commit: one sequence whatever the slices, budgets, pulses and restarts."""

from __future__ import annotations

import numpy as np
import pytest
from instances import drive, histories_of, random_problem, run_task

from morsr_mpi.base.errors import InputError, InternalError, UsageError
from morsr_mpi.search import cpu
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search
from morsr_mpi.search.tasks import Task, TaskResult


def test_certified_runs_close_the_gap() -> None:
    search = drive(random_problem(32, 10.0, 1, k=3), SearchOptions(work=None))
    solution = search.solution()
    assert solution.certified.tolist() == [1, 1, 1]
    assert np.all(solution.lower_bound <= solution.objective)
    assert np.all(solution.lower_bound >= solution.objective * (1 - 1e-9))
    assert search.progress().gap == 0.0


def test_slices_pulses_and_budgets_do_not_change_what_a_target_finds() -> None:
    problem = random_problem(40, 30.0, 3, k=5)
    options = [SearchOptions(None), SearchOptions(None, pulse_tasks=3)]
    digests = {
        drive(problem, o, slice_units=s).solution().to_bytes() for o in options for s in (7, 9999)
    }
    assert len(digests) == 1


def test_every_cpu_level_gives_the_same_state() -> None:
    problem = random_problem(72, 50.0, 5, k=2)
    before = cpu.cpu_level()
    digests = {}
    try:
        for level in cpu.cpu_levels():
            cpu.use_cpu_level(level)
            digests[level] = drive(problem, SearchOptions(60_000)).state_digest()
    finally:
        cpu.use_cpu_level(before)
    assert len(digests) >= 1
    assert len(set(digests.values())) == 1
    with pytest.raises(UsageError, match="not available"):
        cpu.use_cpu_level("abacus")


@pytest.mark.parametrize("n", [40, 136])
def test_a_run_is_an_exact_prefix_of_one_with_twice_the_work(n: int) -> None:
    problem = random_problem(n, 200.0, 6, k=2)
    prepared = prepare(problem)
    short, long = (histories_of(problem, prepared, SearchOptions(w))[1] for w in (30_000, 60_000))
    for t in range(2):
        assert 0 < len(short[t]) <= len(long[t])
        assert long[t][: len(short[t])] == short[t]


def test_a_restored_state_goes_on_to_the_same_bits() -> None:
    problem = random_problem(64, 60.0, 7, k=2)
    prepared = prepare(problem)
    options = SearchOptions(100_000)
    whole = drive(problem, options, prepared=prepared)
    snapshots: list[bytes] = []
    drive(
        problem,
        options,
        prepared=prepared,
        watch=lambda search, *_: snapshots.append(search.snapshot()),
    )
    assert len(snapshots) > 4
    for snapshot in snapshots[:: max(1, len(snapshots) // 4)]:
        again = Search.restore(problem, prepared, options, snapshot)
        assert again.snapshot() == snapshot
        done = drive(problem, options, prepared=prepared, search=again)
        assert done.state_digest() == whole.state_digest()
        assert done.solution().to_bytes() == whole.solution().to_bytes()


def test_a_snapshot_with_a_pulse_in_flight_goes_on_too() -> None:
    problem = random_problem(64, 200.0, 8)
    prepared = prepare(problem)
    options = SearchOptions(20_000)
    whole = drive(problem, options, prepared=prepared)
    search = Search(problem, prepared, options)
    explorer = Explorer(problem, prepared)
    for _ in range(3):
        pulse, tasks = search.plan()
        search.commit(pulse, [run_task(explorer, task) for task in tasks])
    search.plan()
    again = Search.restore(problem, prepared, options, search.snapshot())
    assert again.state_digest() == search.state_digest()
    assert drive(problem, options, prepared=prepared, search=again).state_digest() == (
        whole.state_digest()
    )


def test_a_larger_budget_wakes_a_finished_search() -> None:
    problem = random_problem(64, 300.0, 9)
    prepared = prepare(problem)
    first = drive(problem, SearchOptions(20_000), prepared=prepared)
    woken = Search.restore(problem, prepared, SearchOptions(80_000), first.snapshot())
    assert not woken.finished
    done = drive(problem, SearchOptions(80_000), prepared=prepared, search=woken)
    direct = drive(problem, SearchOptions(80_000), prepared=prepared)
    assert done.solution().to_bytes() == direct.solution().to_bytes()


def test_a_budget_below_what_is_used_is_refused_while_work_is_in_flight() -> None:
    problem = random_problem(64, 200.0, 8)
    prepared = prepare(problem)
    explorer = Explorer(problem, prepared)
    search = Search(problem, prepared, SearchOptions(None))
    while search.units[0].work < 10_000:
        pulse, tasks = search.plan()
        search.commit(pulse, [run_task(explorer, task) for task in tasks])
    quiet = search.snapshot()
    search.plan()
    with pytest.raises(UsageError, match="give more"):
        Search.restore(problem, prepared, SearchOptions(5_000), search.snapshot())
    done = Search.restore(problem, prepared, SearchOptions(5_000), quiet)
    assert done.finished
    assert done.solution().work[0] == search.units[0].work


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\x83\x01\x02\x03"])
def test_damaged_snapshots_are_refused(damage: bytes) -> None:
    problem = random_problem(16, 5.0, 1)
    prepared = prepare(problem)
    with pytest.raises(InputError, match="checkpoint"):
        Search.restore(problem, prepared, SearchOptions(), damage)


def test_the_state_machine_refuses_what_no_honest_caller_does() -> None:
    problem = random_problem(16, 5.0, 1)
    search = Search(problem, prepare(problem), SearchOptions())
    pulse, tasks = search.plan()
    with pytest.raises(InternalError, match="not the next"):
        search.commit(pulse + 1, [])
    with pytest.raises(InternalError):
        search.commit(pulse, [b"junk"] * len(tasks))


def test_tasks_and_results_survive_their_bytes() -> None:
    problem = random_problem(40, 30.0, 2)
    prepared = prepare(problem)
    explorer = Explorer(problem, prepared)
    search = Search(problem, prepared, SearchOptions(5_000))
    while not search.finished:
        pulse, tasks = search.plan()
        results = []
        for task in tasks:
            again = Task.from_bytes(task.to_bytes())
            assert (again, again.task_id, again.weight) == (task, task.task_id, task.weight)
            results.append(run_task(explorer, again))
        search.commit(pulse, results)
    with pytest.raises(InternalError):
        Task.from_bytes(b"\x80")
    with pytest.raises(InternalError):
        TaskResult.from_bytes(b"\x80")


@pytest.mark.parametrize(
    "options", [{"work": 0}, {"work": -5}, {"pulse_tasks": 0}, {"lag": -1}, {"lag": 65}]
)
def test_options_that_make_no_sense(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        SearchOptions(**options)  # type: ignore[arg-type]


def test_the_options_digest_leaves_out_the_budget_alone() -> None:
    assert SearchOptions(work=5).digest() == SearchOptions(work=None).digest()
    assert SearchOptions(pulse_tasks=4).digest() != SearchOptions().digest()


def test_a_target_on_the_lattice_is_found_and_certified() -> None:
    problem = random_problem(24, 10.0, 3)
    from morsr_mpi.objectives.problem import QuadraticProblem

    exact = QuadraticProblem.create(problem.Q, np.arange(24) % 2 * 0.0 + 2.0, 1.0)
    solution = drive(exact, SearchOptions()).solution()
    assert solution.objective[0] == 0.0
    assert solution.certified[0] == 1
    assert solution.doubled[0].tolist() == [4] * 24
