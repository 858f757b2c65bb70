"""Result files: identical /solution, a /run that may differ, stock tools can read it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.adapters.hdf5_result import load_result, load_run, save_result, solution_digest
from morsr_mpi.base.errors import InputError, InternalError
from morsr_mpi.base.version import __version__
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import Solution, SolveResult


def result(**run: Any) -> SolveResult:
    rng = np.random.default_rng(1)
    k, n = 3, 24
    solution = Solution(
        rng.integers(-9, 9, (k, n), dtype=np.int32),
        rng.random(k),
        rng.random(k),
        np.array([1, 0, 1], dtype=np.uint8),
        np.array([2**40, 1, 0], dtype=np.int64),
    )
    return SolveResult.of(solution, **run)


RUN: dict[str, Any] = {
    "tolerance": 1e-9,
    "ranks": 4,
    "wall_seconds": 2.5,
    "failures": ["rank 3 was lost", "Rang 2 fiel aus: ü"],
    "restarts": 2,
    "fingerprint": "ab" * 16,
    "run_dir": "runs/one",
    "problem_digest": "12" * 32,
    "options_digest": "34" * 32,
}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "result.h5"
    for run in ({}, RUN):
        saved = result(**run)
        save_result(path, saved)
        loaded = load_result(path)
        assert loaded.to_json() == saved.to_json()
        assert loaded.solution.digest() == saved.solution.digest() == solution_digest(path)
        assert loaded.problem_digest == saved.problem_digest
        assert loaded.options_digest == saved.options_digest
    assert [p.name for p in tmp_path.iterdir()] == ["result.h5"]


def test_layout_is_that_of_the_interface(tmp_path: Path) -> None:
    """DESIGN section 7, word for word, as a user's script sees it."""
    path = tmp_path / "result.h5"
    saved = result(**RUN)
    save_result(path, saved)
    with h5py.File(path) as f:
        assert f.attrs["filetype"] == "morsr-result"
        assert f.attrs["version"].tolist() == [1, 0]
        assert f.attrs["software_version"] == __version__
        assert f.attrs["problem_digest"] == "12" * 32
        assert f.attrs["options_digest"] == "34" * 32
        assert {k: (v.dtype.str, v.shape) for k, v in f["solution"].items()} == {
            "doubled": ("<i4", (3, 24)),
            "objective": ("<f8", (3,)),
            "lower_bound": ("<f8", (3,)),
            "certified": ("|u1", (3,)),
            "work": ("<i8", (3,)),
        }
        np.testing.assert_array_equal(f["solution/doubled"][()], saved.doubled)


def test_run_entries(tmp_path: Path) -> None:
    path = tmp_path / "result.h5"
    extra = {"hosts": ["a", "b"], "executed": [1, 2], "seconds": [0.5, 1.0], "threads": 2, "e": []}
    save_result(path, result(**RUN), extra)
    run = load_run(path)
    assert run == extra | {
        k: v for k, v in RUN.items() if k not in ("problem_digest", "options_digest")
    }
    with pytest.raises(InternalError, match="twice"):
        save_result(path, result(), {"ranks": 3})
    with pytest.raises(InternalError, match="cannot be stored"):
        save_result(path, result(), {"what": {"a": 1}})


def test_solution_bytes_do_not_depend_on_the_run(tmp_path: Path) -> None:
    """Not only the values: the stored chunks and headers of /solution are the same."""
    stored = []
    for name, run in (("a.h5", {}), ("b.h5", RUN)):
        save_result(tmp_path / name, result(**run))
        with h5py.File(tmp_path / name) as f:
            raw = {}
            for field, data in f["solution"].items():
                _, raw[field] = data.id.read_direct_chunk((0,) * data.ndim)
                info = h5py.h5o.get_info(data.id)
                assert getattr(info, "mtime", 0) == 0
            stored.append(raw)
    assert stored[0] == stored[1]


def test_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    save_problem(path, QuadraticProblem.create(np.eye(8), np.zeros(8)))
    with pytest.raises(InputError, match="is a morsr-problem file; a morsr-result file is needed"):
        load_result(path)
    save_result(path, result())
    with h5py.File(path, "a") as f:
        del f["solution/work"]
        f["solution/work"] = np.zeros(5, dtype=np.int64)
    with pytest.raises(InputError, match="work has 5 of 3 rows"):
        solution_digest(path)
    with h5py.File(path, "a") as f:
        del f["run"]
    with pytest.raises(InputError):
        load_run(path)


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not installed")
def test_stock_h5dump_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "result.h5"
    save_result(path, result(**RUN))
    done = subprocess.run(["h5dump", str(path)], capture_output=True, text=True, check=True)
    for text in ("morsr-result", "(0): 1099511627776, 1, 0", "rank 3 was lost", "12" * 32):
        assert text in done.stdout
    path = tmp_path / "problem.h5"
    save_problem(path, QuadraticProblem.create(3.25 * np.eye(1024), np.zeros((600, 1024))))
    done = subprocess.run(
        ["h5dump", "-d", "/quadratic/Q", "-s", "1000,1000", "-c", "1,1", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "(1000,1000): 3.25" in done.stdout
