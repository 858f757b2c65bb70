"""A problem file that is solved in no time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.objectives.problem import QuadraticProblem


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """n = 8."""
    path = tmp_path / "small.h5"
    save_problem(path, QuadraticProblem.create(np.eye(8), np.arange(8.0) / 3.0))
    return path
