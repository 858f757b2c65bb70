"""Searches without a lattice for benchmarks of the node: empty tasks, and tasks of known weight.

The state is a hash chain over all results, as strict as the real one, and nothing else.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from morsr_mpi.base.digest import sha256

#: Bytes hashed per unit of a weighted task: about 0.1 ms of one core, outside Python's lock.
BLOCK = bytes(1 << 17)


@dataclass(frozen=True, slots=True)
class WeightedTask:
    """task_id: 32 bytes; weight: work units predicted; blocks: what it really takes."""

    task_id: bytes
    weight: float
    blocks: int


class WeightedSearch:
    """pulses: the blocks of each task, pulse by pulse; lag: pulses planned ahead."""

    def __init__(self, pulses: Sequence[Sequence[int]], lag: int = 0) -> None:
        self._pulses = pulses
        self._flight: deque[tuple[int, tuple[WeightedTask, ...]]] = deque()
        self._state = bytes(32)
        self.lag = lag
        self.committed = 0

    @property
    def planned(self) -> int:
        """Number of the next pulse to plan."""
        return self.committed + len(self._flight)

    @property
    def finished(self) -> bool:
        """Whether every pulse is committed."""
        return self.committed == len(self._pulses)

    def plan(self) -> tuple[int, Sequence[WeightedTask]]:
        """Plan the next pulse on the state as it is."""
        number = self.committed + len(self._flight)
        if number >= len(self._pulses):
            return number, ()
        head = self._state + number.to_bytes(8, "big")
        tasks = tuple(
            WeightedTask(
                hashlib.sha256(head + index.to_bytes(4, "big")).digest(), 100.0 * blocks, blocks
            )
            for index, blocks in enumerate(self._pulses[number])
        )
        self._flight.append((number, tasks))
        return number, tasks

    def commit(self, pulse: int, results: Sequence[bytes]) -> None:
        """Check every result and chain them."""
        number, tasks = self._flight.popleft()
        if number != pulse or len(results) != len(tasks):
            raise ValueError("results of another pulse")
        for task, result in zip(tasks, results, strict=True):
            if result != task.task_id[:8]:
                raise ValueError("a wrong result")
        self._state = sha256(self._state + b"".join(results))
        self.committed += 1

    def in_flight(self) -> Sequence[tuple[int, Sequence[WeightedTask]]]:
        """Pulses planned and not committed."""
        return tuple(self._flight)

    def state_digest(self) -> bytes:
        """Digest of the chain."""
        return sha256(self._state + self.committed.to_bytes(8, "big"))


class WeightedRun:
    """Hashes its blocks; none at all for an empty task."""

    def __init__(self, task: WeightedTask) -> None:
        self._task = task
        self._done = 0

    @property
    def work(self) -> int:
        """A unit is about a microsecond."""
        return 100 * self._done

    def step(self, units: int) -> bool:
        """Hash for about so many microseconds."""
        for _ in range(min(self._task.blocks - self._done, max(1, units // 100))):
            hashlib.sha256(BLOCK).digest()
            self._done += 1
        return self._done >= self._task.blocks

    def result(self) -> bytes:
        """Eight bytes that only this task has."""
        return self._task.task_id[:8]


class WeightedExplorer:
    """Begins weighted tasks."""

    def begin(self, task: WeightedTask) -> WeightedRun:
        """Start a task."""
        return WeightedRun(task)


class BurningRun(WeightedRun):
    """Uses a fixed CPU time."""

    def __init__(self, task: WeightedTask, seconds: float) -> None:
        super().__init__(task)
        self._left = seconds
        self._seconds = seconds

    @property
    def work(self) -> int:
        """Microseconds so far."""
        return round(1e6 * (self._seconds - max(self._left, 0.0)))

    def step(self, units: int) -> bool:
        """Burn about so many microseconds."""
        begin = now = time.thread_time()
        end = begin + min(self._left, 1e-6 * units)
        while now < end:
            now = time.thread_time()
        self._left -= now - begin
        return self._left <= 0.0


class BurningExplorer:
    """Begins tasks of equal CPU time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def begin(self, task: WeightedTask) -> BurningRun:
        """Start a task."""
        return BurningRun(task, self._seconds)


class SlowedRun:
    """Another run at half the speed: it sleeps as long as it computed."""

    def __init__(self, run: object, factor: float) -> None:
        self._run = run
        self._factor = factor

    @property
    def work(self) -> int:
        """As the run."""
        return self._run.work  # type: ignore[attr-defined, no-any-return]

    def step(self, units: int) -> bool:
        """Compute, then sleep."""
        begin = time.perf_counter()
        done = self._run.step(units)  # type: ignore[attr-defined]
        time.sleep((self._factor - 1.0) * (time.perf_counter() - begin))
        return bool(done)

    def result(self) -> bytes:
        """As the run."""
        return self._run.result()  # type: ignore[attr-defined, no-any-return]


class SlowedExplorer:
    """An explorer at a fraction of its speed: factor 2 is half."""

    def __init__(self, explorer: object, factor: float) -> None:
        self._explorer = explorer
        self._factor = factor

    def begin(self, task: object) -> SlowedRun:
        """Start a task."""
        return SlowedRun(self._explorer.begin(task), self._factor)  # type: ignore[attr-defined]


def heavy_tailed(tasks: int, pulses: int, mean_blocks: float, seed: int) -> list[list[int]]:
    """Blocks of tasks: Pareto, the largest of all 20 times the mean, exactly reproducible."""
    state = seed
    raw: list[float] = []
    for _ in range(tasks * pulses):
        state = (6364136223846793005 * state + 1442695040888963407) % (1 << 64)
        uniform = ((state >> 11) + 0.5) / (1 << 53)
        raw.append(uniform ** (-1.0 / 1.5))
    low, high = 1.0, max(raw)
    for _ in range(60):  # cut where the largest is 20 times the mean
        cut = (low + high) / 2
        mean = sum(min(x, cut) for x in raw) / len(raw)
        low, high = (cut, high) if cut < 20.0 * mean else (low, cut)
    cut = (low + high) / 2
    mean = sum(min(x, cut) for x in raw) / len(raw)
    blocks = [max(1, round(mean_blocks * min(x, cut) / mean)) for x in raw]
    return [blocks[i * tasks : (i + 1) * tasks] for i in range(pulses)]
