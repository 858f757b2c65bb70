"""A toy search for tests of node and loop: deterministic, awkward, without any lattice.

Pulse p has a width, result sizes and durations that follow from its number alone. The state
is a hash chain over all results, so that any difference in any result shows in its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from morsr_mpi.base.digest import digest_of, sha256
from morsr_mpi.node.settings import NodeSettings


@dataclass(frozen=True)
class ToyTask:
    """seed: what the result follows from; size: bytes of the result; units: its duration."""

    pulse: int
    index: int
    seed: bytes
    size: int
    units: int
    task_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        fields = ("toy", self.pulse, self.index, self.seed, self.size, self.units)
        object.__setattr__(self, "task_id", digest_of(*fields))

    @property
    def weight(self) -> float:
        return float(self.units)


def _number(*fields: object) -> int:
    return int.from_bytes(digest_of(*fields)[:6], "big")


@dataclass
class ToySearch:
    """pulses: how many; width: tasks per pulse at most; sizes: result sizes to choose from;
    units: longest duration; awkward: pulses of one task and durations of 0 among them."""

    pulses: int = 10
    width: int = 12
    sizes: tuple[int, ...] = (0, 1, 40, 700, 3000, 9000, 100_000)
    units: int = 50
    lag: int = 0
    name: str = "toy"
    awkward: bool = True
    state: bytes = bytes(32)
    committed: int = 0
    flight: list[tuple[int, tuple[ToyTask, ...]]] = field(default_factory=list)

    @property
    def planned(self) -> int:
        return self.committed + len(self.flight)

    @property
    def finished(self) -> bool:
        return self.committed >= self.pulses

    def plan(self) -> tuple[int, Sequence[ToyTask]]:
        number = self.planned
        if number >= self.pulses:
            return number, ()
        width = 1 + _number("width", number) % self.width if self.awkward else self.width
        tasks = []
        for index in range(width):
            size = self.sizes[_number("size", number, index) % len(self.sizes)]
            units = _number("units", number, index) % (self.units + 1)
            # With a lag the state at planning time is that after the commit of p - lag - 1.
            tasks.append(ToyTask(number, index, self.state, size, units))
        self.flight.append((number, tuple(tasks)))
        return number, tuple(tasks)

    def commit(self, pulse: int, results: Sequence[bytes]) -> None:
        number, tasks = self.flight.pop(0)
        assert number == pulse
        assert len(results) == len(tasks)
        assert all(r == toy_result(t) for r, t in zip(results, tasks, strict=True))
        self.state = sha256(self.state + b"".join(map(sha256, results)))
        self.committed += 1

    def in_flight(self) -> Sequence[tuple[int, Sequence[ToyTask]]]:
        return tuple(self.flight)

    def state_digest(self) -> bytes:
        return digest_of(self.name, self.state, self.committed, len(self.flight))

    def copy(self) -> ToySearch:
        """What a snapshot and restore would give."""
        return ToySearch(
            self.pulses, self.width, self.sizes, self.units, self.lag, self.name, self.awkward,
            self.state, self.committed, list(self.flight),
        )  # fmt: skip


def toy_result(task: ToyTask) -> bytes:
    """The one right result of a task."""
    return hashlib.shake_128(task.task_id).digest(task.size)


class ToyRun:
    """Counts down its units."""

    def __init__(self, task: ToyTask) -> None:
        self.task = task
        self.work = 0

    def step(self, units: int) -> bool:
        self.work = min(self.task.units, self.work + units)
        return self.work >= self.task.units

    def result(self) -> bytes:
        return toy_result(self.task)


class ToyExplorer:
    """Begins toy tasks."""

    def begin(self, task: ToyTask) -> ToyRun:
        return ToyRun(task)


def toy_settings(rank: int, size: int, **changes: object) -> NodeSettings:
    """Settings that fit toys."""
    fields: dict[str, object] = {"problem": sha256(b"problem"), "options": sha256(b"options")}
    fields.update(changes)
    return NodeSettings(rank=rank, size=size, **fields)  # type: ignore[arg-type]
