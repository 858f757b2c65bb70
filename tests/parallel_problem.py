"""A problem that keeps a few ranks busy for some seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from morsr_mpi import Problem


def make_problem(path: Path, n: int, condition: float, seed: int = 7) -> Path:
    """Save a random rotation of a geometric spectrum with a target; return the path."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    Q = q @ np.diag(np.geomspace(1.0, condition, n)) @ q.T
    Problem((Q + Q.T) / 2, 3.0 * rng.normal(size=n)).save(path)
    return path
