"""A problem that keeps a few ranks busy for some seconds, and the answer that runs found."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from morsr_mpi import Problem


def make_problem(path: Path, n: int, condition: float, seed: int = 7) -> Path:
    """Save a random rotation of a geometric spectrum with a target; return the path."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    Q = q @ np.diag(np.geomspace(1.0, condition, n)) @ q.T
    Problem((Q + Q.T) / 2, 3.0 * rng.normal(size=n)).save(path)
    return path


def solution(run: Path) -> list[bytes]:
    """Bytes of everything in a run's result that must not depend on what happened."""
    with h5py.File(run / "result.h5") as file:
        names = sorted(file["solution"])
        return [np.asarray(file["solution"][name]).tobytes() for name in names]
