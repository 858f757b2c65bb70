"""Write the golden files of this version: `python tests/data/make_golden.py`.

What a tagged version wrote must stay readable, so a file that exists is never written
again: a new format version gets new files beside the old ones. The contents follow from
integers alone and are the same on every machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from morsr_mpi.adapters.hdf5_checkpoint import save_checkpoint
from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.adapters.hdf5_result import save_result
from morsr_mpi.base.digest import sha256
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import Solution, SolveResult
from morsr_mpi.storage.checkpoint import Checkpoint
from morsr_mpi.storage.sections import NOBODY, FlightTask, Sections, Worker

HERE = Path(__file__).resolve().parent
N, K = 16, 2


def golden_problem() -> QuadraticProblem:
    """Return the problem of `problem-1.0.h5`: n = 16, k = 2, s = 0.75."""
    i = np.arange(N)
    Q = np.where(i[:, None] == i[None, :], 8.0 + i, 1.0 / (1.0 + abs(i[:, None] - i[None, :])))
    target = ((7 * np.arange(K * N).reshape(K, N)) % 23 - 11) / 8.0
    return QuadraticProblem.create(Q, target, 0.75)


def golden_solution() -> Solution:
    """Return the solution of `result-1.0.h5` and `checkpoint-1.0.h5` (any numbers will do)."""
    return Solution(
        doubled=((5 * np.arange(K * N).reshape(K, N)) % 9 * 2 - 8).astype(np.int32),
        objective=np.array([1.25, 2.5]),
        lower_bound=np.array([1.25, 2.0]),
        certified=np.array([1, 0], dtype=np.uint8),
        work=np.array([1000, 2000], dtype=np.int64),
    )


def golden_result() -> SolveResult:
    """Return the result of `result-1.0.h5`."""
    return SolveResult.of(
        golden_solution(),
        tolerance=2.0**-40,
        ranks=3,
        wall_seconds=1.5,
        failures=["rank 2 was lost in pulse 7"],
        restarts=1,
        fingerprint="00ff" * 8,
        run_dir="run",
        problem_digest=golden_problem().digest.hex(),
        options_digest=sha256(b"options").hex(),
    )


def golden_sections() -> Sections:
    """Return what stands in `checkpoint-1.1.h5` beside the state."""
    done = FlightTask(12, 0, sha256(b"task 0"), 1, 3, bytes(range(40)))
    open_ = FlightTask(12, 1, sha256(b"task 1"), NOBODY, 0, None)
    return Sections(
        flight=(done, open_),
        workers=(Worker(0, "works", 7, 8000, 9), Worker(1, "absent", 0, 0, 0)),
        epoch=5,
        view=2,
        certified=12,
        members=(0, 2),
        records=20,
        head=sha256(b"head"),
        genesis=sha256(b"genesis"),
        options='{"lag": 0}',
        failures=("rank 1 does not answer",),
    )


def golden_checkpoint(algorithm_version: int = 1, sections: Sections | None = None) -> Checkpoint:
    """Return the checkpoint of `checkpoint-1.0.h5` and 1.1, written by algorithm version 1."""
    return Checkpoint(
        problem_digest=golden_problem().digest,
        options_digest=sha256(b"options"),
        pulse=12,
        state=bytes(range(256)),
        solution=golden_solution(),
        algorithm_version=algorithm_version,
        sections=sections,
    )


def main() -> None:
    """Write the files that are not there yet."""
    for name, write in (
        ("problem-1.0.h5", lambda path: save_problem(path, golden_problem())),
        ("result-1.0.h5", lambda path: save_result(path, golden_result(), {"hosts": ["a", "b"]})),
        ("checkpoint-1.0.h5", lambda path: save_checkpoint(path, golden_checkpoint())),
        (
            "checkpoint-1.1.h5",
            lambda path: save_checkpoint(path, golden_checkpoint(sections=golden_sections())),
        ),
    ):
        path = HERE / name
        if path.exists():
            print(f"{name} is there already")
        else:
            write(path)
            print(f"{name} written, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
