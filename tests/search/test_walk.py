"""Walks over root moves: the kernel against its twin, never worse than their start; their share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instances import random_problem

from morsr_mpi.base.errors import InternalError
from morsr_mpi.lattice.points import contains
from morsr_mpi.lattice.tilecode import pack_tiles
from morsr_mpi.search import _engine, cpu
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.reference import objective
from morsr_mpi.search.reference_walk import walk as slow_walk
from morsr_mpi.search.tasks import ADVANCE, Task, TaskResult
from morsr_mpi.search.walks import BEAM_PATIENCE, LENGTHS, SHARES, Walks, walks_of


@pytest.mark.parametrize("n", [16, 72, 136])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_walk_agrees_with_its_twin(n: int, scale: float) -> None:
    problem = random_problem(n, 20.0, n, scale=scale)
    part = prepare(problem).parts[0]
    kernel = _engine.Objective(problem.Q, problem.targets[0], scale, np.empty(2 * n))
    start = part.origins[0].copy()
    found = np.empty(n, dtype=np.int32)
    for seed in range(4):
        run = _engine.Walk(kernel, start, 60, seed)
        while not run.step(1000):
            pass
        run.best(found)
        assert found.tolist() == slow_walk(problem, start, 60, seed).tolist()


def test_a_walk_goes_on_from_its_best_point_after_a_stall() -> None:
    problem = random_problem(24, 10.0, 5)
    kernel = _engine.Objective(problem.Q, problem.targets[0], 1.0, np.empty(48))
    start = prepare(problem).parts[0].origins[0].copy()
    found = np.empty(24, dtype=np.int32)
    run = _engine.Walk(kernel, start, 2300, 1)
    assert run.step(1 << 40)
    run.best(found)
    assert found.tolist() == slow_walk(problem, start, 2300, 1).tolist()


@pytest.mark.parametrize("n", [8, 64, 200])
def test_a_walk_ends_no_higher_on_the_lattice_and_slices_do_not_show(n: int) -> None:
    problem = random_problem(n, 50.0, n + 1)
    kernel = _engine.Objective(problem.Q, problem.targets[0], 1.0, np.empty(2 * n))
    start = prepare(problem).parts[0].origins[0].copy()
    outcomes = set()
    before = cpu.cpu_level()
    try:
        for level in cpu.cpu_levels():
            cpu.use_cpu_level(level)
            for ticks in (1, 5000, 1 << 40):
                run = _engine.Walk(kernel, start, 300, 7)
                while not run.step(ticks):
                    pass
                found = np.empty(n, dtype=np.int32)
                run.best(found)
                outcomes.add((found.tobytes(), run.ticks))
    finally:
        cpu.use_cpu_level(before)
    assert len(outcomes) == 1
    assert np.all(contains(found.reshape(-1, 8)))
    least = objective(problem.Q, problem.targets[0], 1.0, start)
    assert objective(problem.Q, problem.targets[0], 1.0, found) <= least


def test_a_walk_as_a_task_reports_what_is_better_than_its_cutoff_alone() -> None:
    problem = random_problem(64, 20.0, 2)
    prepared = prepare(problem)
    explorer = Explorer(problem, prepared)
    start = prepared.parts[0].origins[0]
    body = (pack_tiles(start.astype("<i4").tobytes()), 200, 3)
    value = objective(problem.Q, problem.targets[0], 1.0, start)
    results = []
    for cutoff in (value, 0.0):
        run = explorer.begin(Task(ADVANCE, 0, 0, cutoff, body))
        while not run.step(10):
            pass
        results.append(TaskResult.from_bytes(run.result()))
    assert results[0].objective < value
    point = np.frombuffer(results[0].point, dtype="<i4")
    assert objective(problem.Q, problem.targets[0], 1.0, point) == results[0].objective
    assert results[1].point == b""
    assert results[1].objective == float("inf")
    for wrong in ((b"", 200, 3), (body[0], -1, 3), (body[0], 200)):
        with pytest.raises(InternalError):
            explorer.begin(Task(ADVANCE, 0, 0, value, wrong))


def test_walks_get_more_of_the_work_while_they_pay() -> None:
    walks = Walks()
    for _ in SHARES:
        walks.note_beams(2, 1)
    assert (walks.level, walks.after_beam) == (len(SHARES) - 1, BEAM_PATIENCE[-1])
    assert walks.due(0, 1)
    assert not walks.due(1, 1)
    walks.note_beams(0, 0)
    for _ in SHARES:
        walks.note_beams(3, 1)
    assert walks.level == 0
    walks.note_walks(improved=True)
    assert (walks.level, walks.patience) == (1, 1 << LENGTHS[0])
    for _ in range(40):
        walks.note_walks(improved=False)
    assert (walks.level, walks.patience) == (1, 1 << LENGTHS[1])
    assert [walks.seed(), walks.seed()] == [1, 2]


@given(st.integers(0, len(SHARES) - 1), st.integers(0, 1 << 40), st.integers(*LENGTHS))
def test_the_record_of_walks_survives_the_state(level: int, count: int, length: int) -> None:
    walks = Walks(level, count, length)
    assert Walks.from_fields(walks.fields()) == walks
    for wrong in ((9, 0, 12), (0, -1, 12), (0, 0, 99), (0, 0), "no"):
        with pytest.raises(InternalError):
            Walks.from_fields(wrong)
    for counts in ((1, 2), (1,), ()):
        with pytest.raises(InternalError):
            walks_of(counts)
