"""Whole runs over MPI with and without shared memory: the same bits, nothing left behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.objectives.problem import QuadraticProblem

pytestmark = pytest.mark.subprocess_mpi


def test_shared_and_private_memory_give_the_same_bits(
    mpi: Callable[..., Any], tmp_path: Path
) -> None:
    n = 384  # Q takes just over a megabyte: enough to be shared
    rng = np.random.default_rng(5)
    low_rank = rng.standard_normal((n, 8)) / np.sqrt(n)
    Q = np.diag(np.geomspace(1.0, 100.0, n)) + low_rank @ low_rank.T
    problem = QuadraticProblem.create(Q, rng.uniform(-4, 4, (2, n)))
    save_problem(tmp_path / "p.h5", problem)
    shared = tmp_path / "memory"
    shared.mkdir()
    solutions = []
    for name, folder in (("shared", shared), ("private", tmp_path / "missing")):
        run = tmp_path / name
        solve = [sys.executable, "-m", "morsr_mpi", "solve", str(tmp_path / "p.h5")]
        options = ["--run-dir", str(run), "--work", "60_000"]
        done = mpi(3, [*solve, *options], timeout=120, env={"MORSR_SHARED_DIR": str(folder)})
        done.check()
        log = (run / "log.txt").read_text()
        assert ("are shared by the 3 ranks here" in log) == (name == "shared")
        solutions.append(solution_digest(run / "result.h5"))
    assert solutions[0] == solutions[1]
    assert list(shared.iterdir()) == []
