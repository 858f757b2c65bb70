"""The Python interface in a plain process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import morsr_mpi
from morsr_mpi.adapters.hdf5_result import load_result, solution_digest
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.provenance.chain import verify_chain


def test_problem_survives_its_file(tmp_path: Path) -> None:
    problem = morsr_mpi.Problem(np.eye(8) * 2, np.arange(8.0), scale=0.5)
    problem.save(tmp_path / "p.h5")
    again = morsr_mpi.Problem.load(tmp_path / "p.h5")
    assert isinstance(again, morsr_mpi.Problem)
    assert again.digest == problem.digest
    assert (problem.n, problem.k, problem.m) == (8, 1, 1)


def test_solve_arrays() -> None:
    target = np.array([0.1, -0.2, 0.3, 0.0, 1.1, 0.9, 0.1, -0.1])
    result = morsr_mpi.solve(np.eye(8), target)
    point = result.points(1.0)[0]
    assert np.array_equal(point, [0, 0, 0, 0, 1, 1, 0, 0])
    assert result.objective[0] == pytest.approx(((point - target) ** 2).sum(), rel=1e-12)
    assert result.certified[0]
    assert result.lower_bound[0] <= result.objective[0]
    assert set(result.to_json()) == {
        "objective",
        "lower_bound",
        "certified",
        "work",
        "tolerance",
        "ranks",
        "wall_seconds",
        "failures",
        "restarts",
        "fingerprint",
        "run_dir",
    }


def test_any_number_of_nodes_in_this_process_gives_the_same_bits(large: Path) -> None:
    problem = morsr_mpi.Problem.load(large)
    first = morsr_mpi.solve(problem, work=100_000)
    for options in (
        {},
        {"ranks": 5},
        {"ranks": 3, "coordinator": "dedicated"},
        {"security": "off"},
    ):
        other = morsr_mpi.solve(problem, work=100_000, **options)
        assert other.solution.digest() == first.solution.digest()
    assert other.ranks == 1


def test_free_runs_leave_a_journal_that_is_sound(small: Path, tmp_path: Path) -> None:
    problem = morsr_mpi.Problem.load(small)
    ordered = morsr_mpi.solve(problem, work=None)
    free = morsr_mpi.solve(
        problem, work=None, run_dir=tmp_path / "run", ranks=3, lag=2, asynchrony="free"
    )
    assert free.certified.all()
    assert free.objective.tolist() == ordered.objective.tolist()
    found = inspect_run(tmp_path / "run", check=True)
    assert not found.wrong
    chain = verify_chain(read_records(RunDirectory(tmp_path / "run").journal))
    kinds = {body.KIND for body in chain.bodies}
    assert kinds == {"genesis", "step", "certificate", "seal"}


def test_a_run_directory_holds_everything(small: Path, tmp_path: Path) -> None:
    problem = morsr_mpi.Problem.load(small)
    result = morsr_mpi.solve(problem, run_dir=tmp_path / "run", ranks=2)
    assert result.run_dir == str(tmp_path / "run")
    stored = load_result(tmp_path / "run" / "result.h5")
    assert stored.solution.digest() == result.solution.digest()
    found = inspect_run(tmp_path / "run", check=True)
    assert not found.wrong
    assert dict(found.lines)["state"].startswith("certified")
    assert "sealed" in dict(found.lines)["journal"]
    with pytest.raises(morsr_mpi.UsageError, match="exists"):
        morsr_mpi.solve(problem, run_dir=tmp_path / "run")


@pytest.mark.parametrize("lag", [0, 2])
def test_stopped_runs_return_what_they_have_and_go_on(
    large: Path, tmp_path: Path, lag: int
) -> None:
    problem = morsr_mpi.Problem.load(large)
    run = tmp_path / "run"
    hours = 1e-12  # over before the first look at the clock
    stopped = morsr_mpi.solve(problem, work=300_000, lag=lag, run_dir=run, max_hours=hours, ranks=2)
    assert not stopped.certified.any()
    assert stopped.work.max() < 300_000
    result = morsr_mpi.solve(problem, work=300_000, lag=lag, run_dir=run, resume=True)
    assert result.restarts == 1
    assert result.fingerprint == stopped.fingerprint
    undisturbed = morsr_mpi.solve(problem, work=300_000, lag=lag)
    assert result.solution.digest() == undisturbed.solution.digest()
    assert solution_digest(run / "result.h5") == undisturbed.solution.digest()


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((np.eye(8),), {}, "needs a target"),
        ((morsr_mpi.Problem(np.eye(8), np.zeros(8)), np.zeros(8)), {}, "takes no target"),
        ((np.eye(8), np.zeros(8)), {"work": 0.5}, "whole number"),
        ((np.eye(8), np.zeros(8)), {"work": -1}, "positive"),
        ((np.eye(8), np.zeros(8)), {"coordinator": "lazy"}, "working or dedicated"),
        ((np.eye(8), np.zeros(8)), {"asynchrony": "wild"}, "async is ordered or free"),
        ((np.eye(8), np.zeros(8)), {"lag": 65}, "--lag must be"),
        ((np.eye(8), np.zeros(8)), {"max_hours": 0}, "max_hours"),
        ((np.eye(8), np.zeros(8)), {"ranks": 0}, "ranks in one process"),
        ((np.eye(8), np.zeros(8)), {"resume": True}, "run_dir"),
    ],
)
def test_options_that_make_no_sense(arguments: tuple, options: dict, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(morsr_mpi.UsageError, match=says) as caught:
        morsr_mpi.solve(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_data_that_cannot_be_used() -> None:
    with pytest.raises(morsr_mpi.InputError, match="square"):
        morsr_mpi.solve(np.ones((8, 9)), np.zeros(8))
    diagonal = np.ones(16)
    diagonal[5] = -1.0
    with pytest.raises(morsr_mpi.InputError, match="not positive definite"):
        morsr_mpi.solve(QuadraticProblem.create(np.diag(diagonal), np.zeros(16)))


def test_a_plain_process_does_not_touch_mpi() -> None:
    code = (
        "import sys, numpy, morsr_mpi\n"
        "morsr_mpi.solve(numpy.eye(8), numpy.zeros(8))\n"
        "print('mpi4py' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert done.stderr == ""
