"""Workloads for simulated clusters: pulses of tasks whose work and result sizes are known.

A workload is drawn from a seed or recorded from a real search (`benchmarks/calibrate.py`). Its
state is a hash chain over all results, so any difference in any result shows in its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from morsr_mpi.base.digest import digest_of, sha256
from morsr_mpi.base.errors import InternalError
from morsr_mpi.base.ports import RunLike


@dataclass(frozen=True, slots=True)
class Item:
    """One task. units: work units; size: bytes of its result; weight: predicted units."""

    units: int
    size: int
    weight: float


#: The tasks of each pulse.
Workload = tuple[tuple[Item, ...], ...]


def random_workload(
    stream: Random, pulses: int, width: int, units: int, sizes: Sequence[int]
) -> Workload:
    """Draw a workload: 1 to `width` tasks a pulse of up to `units` work, predicted badly."""
    drawn = []
    for _ in range(pulses):
        tasks = []
        for _ in range(stream.randint(1, width)):
            spent = stream.randint(0, units)
            tasks.append(Item(spent, stream.choice(sizes), spent * stream.uniform(0.5, 2.0)))
        drawn.append(tuple(tasks))
    return tuple(drawn)


@dataclass(frozen=True)
class WorkloadTask:
    """seed: the state it was planned in, which its result follows from."""

    pulse: int
    index: int
    seed: bytes
    item: Item
    task_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        fields = ("workload-task", self.pulse, self.index, self.seed, self.item.size)
        object.__setattr__(self, "task_id", digest_of(*fields))

    @property
    def weight(self) -> float:
        """Predicted work units."""
        return self.item.weight

    def result(self) -> bytes:
        """Return the one right result."""
        return hashlib.shake_128(self.task_id).digest(self.item.size)


class WorkloadSearch:
    """The `SearchMachine` of a workload."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._state = bytes(32)
        self._flight: list[tuple[int, tuple[WorkloadTask, ...]]] = []
        self.committed = 0

    @property
    def planned(self) -> int:
        """Number of the next pulse to plan."""
        return self.committed + len(self._flight)

    @property
    def finished(self) -> bool:
        """Whether every pulse is committed."""
        return self.committed >= len(self._workload)

    def plan(self) -> tuple[int, Sequence[WorkloadTask]]:
        """Plan the next pulse; nothing after the last."""
        number = self.committed + len(self._flight)
        if number >= len(self._workload):
            return number, ()
        items = self._workload[number]
        tasks = tuple(WorkloadTask(number, i, self._state, item) for i, item in enumerate(items))
        self._flight.append((number, tasks))
        return number, tasks

    def commit(self, pulse: int, results: Sequence[bytes]) -> None:
        """Chain the results of the oldest pulse in flight."""
        number, tasks = self._flight.pop(0)
        if number != pulse or len(results) != len(tasks):
            raise InternalError(f"pulse {pulse} is not the next one of the workload")
        self._state = sha256(self._state + b"".join(map(sha256, results)))
        self.committed += 1

    def in_flight(self) -> Sequence[tuple[int, Sequence[WorkloadTask]]]:
        """Return the pulses planned and not committed."""
        return tuple(self._flight)

    def state_digest(self) -> bytes:
        """Digest of the chain so far."""
        return digest_of("workload", self._state, self.committed, len(self._flight))


class WorkloadRun:
    """A task of a workload being explored."""

    def __init__(self, task: WorkloadTask) -> None:
        self._task = task
        self.work = 0

    def step(self, units: int) -> bool:
        """Count up to the task's work."""
        self.work = min(self._task.item.units, self.work + units)
        return self.work >= self._task.item.units

    def result(self) -> bytes:
        """Return the one right result."""
        return self._task.result()


class WorkloadExplorer:
    """Begins tasks of a workload."""

    def begin(self, task: WorkloadTask) -> RunLike:
        """Start a task."""
        return WorkloadRun(task)
