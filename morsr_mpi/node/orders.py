"""The coordinator's part: who computes which task of a pulse (paper sections 3.1, 3.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from morsr_mpi.base.config import MAX_PULSE_SKEW
from morsr_mpi.base.ports import TaskLike
from morsr_mpi.cluster.assignment import assign
from morsr_mpi.node.pulses import OpenPulse
from morsr_mpi.wire.messages import Order

#: Tasks in one part of an order: two bytes each, so that several parts share no slot's limit.
TASKS_PER_PART = 2048


class ChamberScheduler:
    """Assigns tasks; keeps orders back while a rank is too far behind."""

    def __init__(self, capacities: Sequence[int], lag: int) -> None:
        """capacities: relative speed of each rank, 0 = computes nothing."""
        self._capacities = tuple(float(c) for c in capacities)
        self._lag = lag
        self._waiting: deque[OpenPulse] = deque()

    def predict(self, tasks: Sequence[TaskLike]) -> list[int]:
        """Return the rank of each task; also what a rank begins with before its order comes."""
        ids = [task.task_id for task in tasks]
        return assign(ids, [task.weight for task in tasks], self._capacities)

    def add(self, pulse: OpenPulse) -> None:
        """Queue a pulse to be ordered."""
        self._waiting.append(pulse)

    def issue(self, slowest: int, view: int, stop: str) -> list[tuple[OpenPulse, Order]]:
        """Return the orders that may go out now, part by part.

        slowest: fewest pulses any rank has committed; stop: why the next pulse is
        not executed; "" to go on.
        """
        issued: list[tuple[OpenPulse, Order]] = []
        while self._waiting:
            pulse = self._waiting[0]
            if pulse.number > slowest + self._lag + MAX_PULSE_SKEW:
                break
            self._waiting.popleft()
            for first in range(0, len(pulse.tasks), TASKS_PER_PART):
                ranks = tuple(pulse.predicted[first : first + TASKS_PER_PART])
                order = Order(
                    view, pulse.number, pulse.tasks_digest, len(pulse.tasks), first, ranks, stop
                )
                issued.append((pulse, order))
        return issued
