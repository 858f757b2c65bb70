"""inspect on single files of each kind, sound and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.app.inspect import inspect_file, show
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.problem import QuadraticProblem

DATA = Path(__file__).parent.parent / "data"


def test_problem(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    problem = QuadraticProblem.create(2.0 * np.eye(16), np.arange(32.0).reshape(2, 16), 0.5)
    save_problem(path, problem)
    text = "\n".join(show(inspect_file(path, check=True)))
    for expected in (
        "n = 16, 2 E8 tiles",
        "k = 2",
        "0.5",
        problem.digest.hex(),
        "definite",
        "sphere",
    ):
        assert expected in text


def test_problem_that_is_not_definite_fails_the_check(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    diagonal = np.ones(16)
    diagonal[3] = -1.0
    save_problem(path, QuadraticProblem.create(np.diag(diagonal), np.zeros(16)))
    inspect_file(path, check=False)
    with pytest.raises(InputError, match="not positive definite"):
        inspect_file(path, check=True)


@pytest.mark.parametrize("kind", ["problem", "result", "checkpoint"])
def test_golden_files_are_explained(kind: str) -> None:
    found = inspect_file(DATA / f"{kind}-1.0.h5", check=False)
    labels = [label for label, _ in found.lines]
    assert found.lines[1] == ("type", f"morsr-{kind}")
    assert not found.wrong
    if kind != "problem":
        assert "target 0" in labels


@pytest.mark.parametrize("kind", ["problem", "result", "checkpoint"])
def test_truncated_files_are_refused(kind: str, tmp_path: Path) -> None:
    data = (DATA / f"{kind}-1.0.h5").read_bytes()
    path = tmp_path / "x.h5"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="truncated"):
        inspect_file(path, check=True)


def test_what_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match="not an HDF5 file"):
        inspect_file(tmp_path / "text", check=False)
    with pytest.raises(InputError, match="is no run directory"):
        inspect_run(tmp_path, check=False)
