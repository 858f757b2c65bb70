"""What every rank checks of a result before it uses it: its form, and Φ of its point (DESIGN 4)."""

from __future__ import annotations

import numpy as np

from morsr_mpi.base.errors import InternalError
from morsr_mpi.lattice.points import contains
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.tasks import PROVE, Task, TaskResult


def is_sound(explorer: Explorer, task: Task, data: bytes) -> bool:
    """Whether these bytes may be the result of a task.

    A point must lie in the lattice, beat the task's cutoff, and have exactly the objective that
    is named; chambers come from enumerations only. Whether a chamber really is exhausted, only
    computing it again can tell.
    """
    try:
        result = TaskResult.from_bytes(data)
    except InternalError:
        return False
    part = explorer.parts[task.part]
    if result.chambers and (
        task.kind != PROVE or max(c.depth for c in result.chambers) >= part.problem.n // 8
    ):
        return False
    if not result.point:
        return result.objective == float("inf")
    if len(result.point) != 4 * part.problem.n or not result.objective < task.cutoff:
        return False
    doubled = np.frombuffer(result.point, dtype="<i4").astype(np.int32)
    if not contains(doubled.reshape(-1, 8)).all():
        return False
    return float(part.objective(task.target).evaluate(doubled)) == result.objective
