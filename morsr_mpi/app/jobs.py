"""The tasks a rank has to compute: oldest pulse first, in slices of a few milliseconds.

What is computed anew, to check others, has its place behind a pulse of its own, so that it
neither delays those before nor waits for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from morsr_mpi.app.hooks import LoopStats
from morsr_mpi.base import config
from morsr_mpi.base.ports import Clock, RunLike, TaskLike
from morsr_mpi.node.events import TaskDone

#: Work units are about microseconds; the first slice trusts that, later ones measure.
_UNITS_PER_SECOND = 1_000_000.0


class ExplorerLike(Protocol):
    """What computes tasks."""

    def begin(self, task: Any) -> RunLike:
        """Start a task."""


@dataclass(slots=True)
class _Job:
    """A task given out by the node."""

    task: TaskLike
    run: RunLike | None = field(default=None)
    begun: float = 0.0


class Jobs:
    """Tasks by pulse. finished, cancelled: how many; known: finished without computing;
    work: units of the finished ones; wasted: units that went into tasks given up."""

    def __init__(
        self,
        explorer: ExplorerLike,
        clock: Clock,
        checker: ExplorerLike | None = None,
        stats: LoopStats | None = None,
    ) -> None:
        """checker: computes what is computed anew; the explorer, if it remembers nothing.
        stats: of the loop; gets the time of each task, and who to ask for the rest."""
        stats = stats or LoopStats()
        stats.jobs, self._latency = self, stats.task_seconds
        self._explorer = explorer
        self._checker = checker or explorer
        self._clock = clock
        # By place: 2 p for tasks of pulse p, 2 p + 1 for what is computed anew after it.
        self._places: dict[int, dict[tuple[int, int], _Job]] = {}
        self._begun: dict[tuple[int, int, int], RunLike] = {}
        self._units_per_second = _UNITS_PER_SECOND
        self.finished = 0
        self.known = 0
        self.cancelled = 0
        self.work = 0
        self.wasted = 0

    def __bool__(self) -> bool:
        return bool(self._places)

    @property
    def spent(self) -> int:
        """Work units that went into tasks begun and not finished."""
        return sum(run.work for run in self._begun.values())

    def add(self, pulse: int, index: int, task: TaskLike) -> None:
        """Add a task, unless it is here already."""
        self._places.setdefault(2 * pulse, {}).setdefault((pulse, index), _Job(task))

    def add_anew(self, pulse: int, index: int, task: TaskLike, after: int) -> None:
        """Add a task to be computed anew after those of a pulse; -1: before all others."""
        self._places.setdefault(2 * after + 1, {}).setdefault((pulse, index), _Job(task))

    @property
    def checking(self) -> bool:
        """Whether what comes next is computed anew."""
        return bool(self._places) and min(self._places) % 2 == 1

    def drop(self, pulse: int, index: int, begun: bool) -> None:
        """Give up a task if it is here; begun: also when it has been begun."""
        place, key = 2 * pulse, (pulse, index)
        job = self._places.get(place, {}).get(key)
        if job is None or (job.run is not None and not begun):
            return
        if job.run is not None:
            self.wasted += job.run.work
        self.cancelled += 1
        self._remove(place, key)

    def slice(self, now: float) -> list[TaskDone]:
        """Compute for about `config.SLICE_SECONDS`: part of a task, or many short ones.

        Either only what is computed anew, or nothing of that kind.
        """
        clock = self._clock
        end = now + config.SLICE_SECONDS
        done: list[TaskDone] = []
        anew = self.checking
        while self._places and now < end and self.checking == anew:
            place = min(self._places)
            jobs = self._places[place]
            while jobs and now < end:
                key, job = next(iter(jobs.items()))
                run = job.run
                if run is None:
                    run = job.run = (self._checker if anew else self._explorer).begin(job.task)
                    job.begun = now
                    self._begun[place, *key] = run
                before = run.work
                finished = run.step(max(1, int((end - now) * self._units_per_second)))
                then, now = now, clock.now()
                self._learn_speed(run.work - before, now - then)
                if finished:
                    done.append(TaskDone(*key, run.result(), run.work, anew))
                    self.finished += not anew
                    self.known += getattr(run, "cached", False)
                    self.work += run.work
                    self._latency.add(now - job.begun)
                    self._remove(place, key)
        return done

    def _remove(self, place: int, key: tuple[int, int]) -> None:
        jobs = self._places[place]
        del jobs[key]
        self._begun.pop((place, *key), None)
        if not jobs:
            del self._places[place]

    def _learn_speed(self, units: int, seconds: float) -> None:
        """Follow the machine's speed, so that slices keep their length."""
        if seconds > config.SLICE_SECONDS / 8 and units > 0:
            measured = units / seconds
            self._units_per_second += (measured - self._units_per_second) / 4
