"""The tasks a rank has to compute: oldest pulse first, in slices of a few milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

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


class Jobs:
    """Tasks by pulse. finished, cancelled: how many; known: finished without computing;
    work: units of the finished ones; wasted: units that went into tasks given up."""

    def __init__(self, explorer: ExplorerLike, clock: Clock) -> None:
        self._explorer = explorer
        self._clock = clock
        self._pulses: dict[int, dict[int, _Job]] = {}
        self._begun: dict[tuple[int, int], RunLike] = {}
        self._units_per_second = _UNITS_PER_SECOND
        self.finished = 0
        self.known = 0
        self.cancelled = 0
        self.work = 0
        self.wasted = 0

    def __bool__(self) -> bool:
        return bool(self._pulses)

    @property
    def spent(self) -> int:
        """Work units that went into tasks begun and not finished."""
        return sum(run.work for run in self._begun.values())

    def add(self, pulse: int, index: int, task: TaskLike) -> None:
        """Add a task, unless it is here already."""
        self._pulses.setdefault(pulse, {}).setdefault(index, _Job(task))

    def drop(self, pulse: int, index: int, begun: bool) -> None:
        """Give up a task if it is here; begun: also when it has been begun."""
        jobs = self._pulses.get(pulse, {})
        job = jobs.get(index)
        if job is None or (job.run is not None and not begun):
            return
        if job.run is not None:
            self.wasted += job.run.work
        self.cancelled += 1
        self._remove(pulse, index)

    def slice(self, now: float) -> list[TaskDone]:
        """Compute for about `config.SLICE_SECONDS`: part of a task, or many short ones."""
        clock = self._clock
        end = now + config.SLICE_SECONDS
        done: list[TaskDone] = []
        while self._pulses and now < end:
            pulse = min(self._pulses)
            jobs = self._pulses[pulse]
            while jobs and now < end:
                index, job = next(iter(jobs.items()))
                run = job.run
                if run is None:
                    run = job.run = self._explorer.begin(job.task)
                    self._begun[pulse, index] = run
                before = run.work
                finished = run.step(max(1, int((end - now) * self._units_per_second)))
                then, now = now, clock.now()
                self._learn_speed(run.work - before, now - then)
                if finished:
                    done.append(TaskDone(pulse, index, run.result(), run.work))
                    self.finished += 1
                    self.known += getattr(run, "cached", False)
                    self.work += run.work
                    self._remove(pulse, index)
        return done

    def _remove(self, pulse: int, index: int) -> None:
        jobs = self._pulses[pulse]
        del jobs[index]
        self._begun.pop((pulse, index), None)
        if not jobs:
            del self._pulses[pulse]

    def _learn_speed(self, units: int, seconds: float) -> None:
        """Follow the machine's speed, so that slices keep their length."""
        if seconds > config.SLICE_SECONDS / 8 and units > 0:
            measured = units / seconds
            self._units_per_second += (measured - self._units_per_second) / 4
