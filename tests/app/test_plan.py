"""plan: memory, pulses, time, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.app.plan import begin_plan, complete_plan, memory_of, ranks_fed
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.options import SearchOptions


def make(path: Path, n: int, k: int = 1, condition: float = 100.0) -> Path:
    """Write a problem with a dense Q of the given condition."""
    random = np.random.default_rng(n)
    low_rank = random.standard_normal((n, 8)) / np.sqrt(n)
    Q = np.diag(np.geomspace(1.0, condition, n)) + low_rank @ low_rank.T
    save_problem(path, QuadraticProblem.create(Q, random.uniform(-4, 4, (k, n))))
    return path


def test_ranks_fed() -> None:
    assert ranks_fed([]) == 1
    assert ranks_fed([[5]]) == 1
    assert ranks_fed([[1], [5, 5, 5, 5]]) == 4
    assert ranks_fed([[1], [20, 5, 5, 10]]) == 2


def test_a_small_problem_is_solved_at_once(tmp_path: Path) -> None:
    options = SearchOptions()
    problem, plan = begin_plan(make(tmp_path / "p.h5", 16, 2), 2, options)
    complete_plan(problem, options, plan)
    found = plan.to_json()
    assert (found["n"], found["k"], found["ranks"]) == (16, 2, 2)
    assert found["trial_finished"]
    assert found["pulse_tasks"]
    assert found["seconds"] < 10


def test_a_problem_that_cannot_feed_all_ranks_is_warned_about(tmp_path: Path) -> None:
    options = SearchOptions()
    problem, plan = begin_plan(make(tmp_path / "p.h5", 256, 1, 1000.0), 100_000, options)
    complete_plan(problem, options, plan)
    assert any("100000 are asked for" in text for text in plan.warnings)
    assert plan.seconds is not None
    assert plan.seconds > 0


def test_bad_problems_are_refused(tmp_path: Path) -> None:
    save_problem(tmp_path / "p.h5", QuadraticProblem.create(-np.eye(8), np.zeros(8)))
    problem, plan = begin_plan(tmp_path / "p.h5", 1, SearchOptions())
    with pytest.raises(InputError, match="not positive definite"):
        complete_plan(problem, SearchOptions(), plan)
    with pytest.raises(InputError, match="does not exist"):
        begin_plan(tmp_path / "none.h5", 1, SearchOptions())


@pytest.mark.parametrize(("n", "work"), [(64, 100_000), (384, 1_000_000), (1536, 200_000)])
def test_memory_is_right_within_a_fifth(tmp_path: Path, n: int, work: int) -> None:
    path = make(tmp_path / "p.h5", n)
    _, plan = begin_plan(path, 1, SearchOptions(work=work))
    code = (
        "import morsr_mpi\n"
        f"morsr_mpi.solve(morsr_mpi.Problem.load({str(path)!r}), work={work})\n"
        "status = open('/proc/self/status').read()\n"
        "print(status.split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    used = int(done.stdout) * 1024
    assert 0.8 * used <= plan.memory_bytes_per_rank <= 1.2 * used


def test_memory_has_a_bound_where_work_has_none() -> None:
    endless, short = SearchOptions(None), SearchOptions(1000)
    assert memory_of(4096, 1, endless, 1).per_rank < 1 << 30
    assert memory_of(64, 1, endless, 1).per_rank > memory_of(64, 1, short, 1).per_rank


def test_ranks_of_a_node_share_what_is_large() -> None:
    alone, four = (memory_of(4096, 1, SearchOptions(None), ranks) for ranks in (1, 4))
    assert alone.shared == 0
    assert four.shared + 4 * four.per_rank < 4 * alone.per_rank
    assert four.per_rank < 200 << 20
    small = memory_of(64, 1, SearchOptions(None), 4)
    assert small.shared == 0, "a copy each costs less than the trouble"
