"""Batches: the tasks a target planned together, from plan to their last result.

A target plans one batch after another, each on the state after a fixed earlier commit of its own
(`schedule` and lag decide which), so what it does never depends on when its tasks are computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.errors import InternalError
from morsr_mpi.search.chambers import Chamber, unpack
from morsr_mpi.search.tasks import PROVE, Task

INFINITY = float("inf")


@dataclass
class Batch:
    """used: work units of the results committed so far; settled: which tasks are committed."""

    tasks: tuple[Task, ...]
    used: int = 0
    settled: list[bool] = field(default_factory=list)
    least: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settled = self.settled or [False] * len(self.tasks)
        self.least = [_least_bound(task) for task in self.tasks]

    @property
    def kind(self) -> str:
        """Kind of all its tasks."""
        return self.tasks[0].kind

    @property
    def closed(self) -> bool:
        """Whether nothing of it is open."""
        return all(self.settled)

    @property
    def open(self) -> list[int]:
        """Indices of the tasks without a committed result, ascending."""
        return [index for index, settled in enumerate(self.settled) if not settled]

    @property
    def bound(self) -> float:
        """Least bound of a chamber whose enumeration is open, inf when there is none."""
        return min((self.least[index] for index in self.open), default=INFINITY)

    def settle(self, index: int, work: int) -> Task:
        """Note a result. Raises InternalError for a task that does not exist or has its result."""
        if not 0 <= index < len(self.tasks) or self.settled[index]:
            raise InternalError(f"task {index} of a batch of {len(self.tasks)} is not open")
        self.settled[index] = True
        self.used += work
        return self.tasks[index]

    def chambers(self, indices: Iterable[int]) -> list[Chamber]:
        """Return the chambers of some tasks of enumeration; the others have none."""
        found: list[Chamber] = []
        for index in indices:
            if self.tasks[index].kind == PROVE:
                found.extend(unpack(_packed(self.tasks[index])))
        return found

    def to_bytes(self) -> bytes:
        """Canonical bytes; from_bytes is the inverse."""
        tasks = tuple(task.to_bytes() for task in self.tasks)
        return encode((tasks, self.used, bytes(self.settled)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Batch:
        """Raise InternalError for anything to_bytes did not write."""
        match decode(data):
            case (tuple(tasks), int(used), bytes(settled)) if 0 < len(tasks) == len(settled):
                found = tuple(Task.from_bytes(bytes(task)) for task in tasks)
                return cls(found, used, [flag != 0 for flag in settled])
            case _:
                raise InternalError("malformed batch")


def budget_of(task: Task) -> float:
    """Return the budget of an enumeration, the predicted work of beams and walks; in work units."""
    if task.kind != PROVE:
        return task.weight
    match task.body:
        case (_, _, int(budget)):
            return float(budget)
        case _:
            raise InternalError("malformed enumeration in a batch")


def total_budget(tasks: Sequence[Task]) -> float:
    """Sum of the budgets, in order."""
    return sum(budget_of(task) for task in tasks)


def _packed(task: Task) -> tuple[object, ...]:
    match task.body:
        case (tuple(packed), _, _):
            return packed
        case _:
            raise InternalError("malformed enumeration in a batch")


def _least_bound(task: Task) -> float:
    if task.kind != PROVE:
        return INFINITY
    least = INFINITY
    for item in _packed(task):
        match item:
            case (_, _, _, _, float(bound)):
                least = min(least, bound)
            case _:
                raise InternalError("malformed chamber in a batch")
    return least
