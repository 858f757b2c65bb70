"""Problem files for runs, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.objectives.problem import QuadraticProblem


def make_problem(n: int, k: int, condition: float) -> QuadraticProblem:
    """A dense Q of about this condition with k uniform targets, the same every time."""
    random = np.random.default_rng(1000 * n + k)
    basis, _ = np.linalg.qr(random.standard_normal((n, n)))
    Q = (basis * np.geomspace(1.0, condition, n)) @ basis.T
    return QuadraticProblem.create((Q + Q.T) / 2, random.uniform(-8, 8, (k, n)))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """n = 40, certified within a fraction of a second."""
    path = tmp_path_factory.mktemp("problems") / "small.h5"
    save_problem(path, make_problem(40, 2, 30.0))
    return path


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """n = 192, three targets, not certified in any time a test has."""
    path = tmp_path_factory.mktemp("problems") / "large.h5"
    save_problem(path, make_problem(192, 3, 100.0))
    return path


@pytest.fixture(scope="session")
def undisturbed(
    large: Path, tmp_path_factory: pytest.TempPathFactory, morsr: Callable[..., Any]
) -> bytes:
    """Digest of /solution of a plain run on the large problem."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    done = morsr(["solve", large, "--run-dir", run, "--work", "300_000"]).check()
    assert str(run / "result.h5") in done.out
    return solution_digest(run / "result.h5")
