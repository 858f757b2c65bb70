"""What all runs of tasks need: ticks and units, kernels that leave their range, points, results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.errors import InputError, InternalError
from morsr_mpi.search import _engine, task_fields
from morsr_mpi.search.tasks import Task, TaskResult

T = TypeVar("T")

TICKS = int(_engine.TICKS_PER_UNIT)


def units_of(ticks: int) -> int:
    """Ticks to work units, rounded up."""
    return -(-ticks // TICKS)


def kernel_step(call: Callable[[], T]) -> T:
    """Call a kernel; InputError where a coordinate leaves the range of int32."""
    try:
        return call()
    except OverflowError:
        raise InputError(
            "Q is too ill-conditioned to search: a conditional centre lies beyond 2**28 lattice "
            "steps; add damping to the diagonal of Q or rescale its coordinates"
        ) from None


def little_endian(doubled: NDArray[np.int32]) -> bytes:
    """A point as tasks and chambers carry it."""
    return doubled.astype("<i4").tobytes()


def start_of_walk(task: Task, n: int) -> tuple[NDArray[np.int32], int, int]:
    """Start (int32 [n]), patience and seed of an advance task in a component of n coordinates."""
    point, patience, seed = task_fields.advance(task.body)
    start = np.frombuffer(point, dtype="<i4").astype(np.int32)
    if start.size != n:
        raise InternalError(f"a walk from {start.size} coordinates in a component of {n}")
    return start, patience, seed


def walk_result(task: Task, ticks: int, value: float, doubled: NDArray[np.int32]) -> bytes:
    """Canonical bytes of what an advance task found: its best point, if better than the cutoff."""
    better = value < task.cutoff
    point = little_endian(doubled) if better else b""
    best = value if better else float("inf")
    return TaskResult(units_of(ticks), best, point, values=(value,)).to_bytes()


def beams_result(
    ticks: int, best: float, point: bytes, values: Sequence[float], walks: Sequence[int]
) -> bytes:
    """Canonical bytes of what a complete task found. best: counts where there is a point."""
    objective = best if point else float("inf")
    found = TaskResult(units_of(ticks), objective, point, (), tuple(walks), tuple(values))
    return found.to_bytes()
