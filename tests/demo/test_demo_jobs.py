"""How jobs are run, and what the command says when something goes wrong."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.adapters.hdf5_result import load_result
from morsr_mpi.app.demo import jobs
from morsr_mpi.app.demo.run import Job
from morsr_mpi.base.errors import InternalError, UsageError
from morsr_mpi.objectives.problem import QuadraticProblem


def small_job(folder: Path, ranks: int = 1) -> Job:
    generator = np.random.Generator(np.random.PCG64(1))
    problem = QuadraticProblem.create(np.eye(8) * 2.0, generator.standard_normal((2, 8)))
    save_problem(folder / "problem.h5", problem)
    return Job(folder / "problem.h5", folder / "run", 10_000, ranks)


def test_without_mpirun_one_rank_is_used_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "find_mpirun", lambda: None)
    lines: list[str] = []
    solve, ranks = jobs.choose_jobs(4, lines.append)
    assert ranks == 1
    assert "no mpirun was found" in lines[0]
    result = solve(small_job(tmp_path))
    assert result.ranks == 1
    assert result.certified.tolist() == [1, 1]
    assert result.solution.digest() == load_result(tmp_path / "run/result.h5").solution.digest()
    assert lines[-1].startswith("$ morsr solve ")


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (75, jobs.DemoStoppedError, "stopped; what was found"),
        (130, jobs.DemoStoppedError, "stopped; what was found"),
        (70, InternalError, "ended with exit code 70"),
    ],
)
def test_a_failed_job_is_one_line(
    tmp_path: Path, code: int, error: type[Exception], text: str
) -> None:
    job = Job(tmp_path / "problem.h5", tmp_path / "run", 10, 1)
    with pytest.raises(error, match=text):
        jobs._result(job, [sys.executable, "-c", f"raise SystemExit({code})"])


def test_what_jobs_print_stays_off_standard_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = Job(tmp_path / "problem.h5", tmp_path / "run", 10, 1)
    with pytest.raises(InternalError):
        jobs._result(job, [sys.executable, "-c", "print('hello'); raise SystemExit(3)"])
    os.write(1, b"table\n")
    seen = capfd.readouterr()
    assert seen.out == "table\n"
    assert seen.err == ""
    assert (tmp_path / "run.txt").read_text() == "hello\n"


def test_under_a_launcher_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    with pytest.raises(UsageError, match="start it alone"):
        jobs.require_plain_start()


@pytest.mark.subprocess_mpi
def test_the_command_ends_with_the_gain(tmp_path: Path, morsr: Callable[..., Any]) -> None:
    done = morsr(["demo", "--quick", "--json", "-n", "2", "--run-dir", "run"], cwd=tmp_path).check()
    report = json.loads(done.out)
    assert report["ranks"] == 2
    assert min(report["gain_over_ldlq"]) > 0.2
    assert report["same_bits"]["same"] is True
    assert report["same_bits"]["ranks"] == [2, 1]
    morsr(["inspect", "run/layer1"], cwd=tmp_path).check()
    again = morsr(["demo", "--run-dir", "run"], cwd=tmp_path)
    assert again.code == 64
    assert "exists" in again.err.strip().splitlines()[-1]
