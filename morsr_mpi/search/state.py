"""S, the state all ranks hold: plan(S) -> tasks, commit(S, results) -> S (DESIGN section 3).

Pure and deterministic: no clock, no rank number, no order of arrival.  Pulses are committed one
by one in their order; pulse p + lag + 1 is planned right after the commit of pulse p.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InputError, InternalError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import Solution
from morsr_mpi.search import schedule
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import Prepared
from morsr_mpi.search.target import TargetState
from morsr_mpi.search.tasks import Task

SNAPSHOT_TAG = "morsr-state"
SNAPSHOT_VERSION = 1


@dataclass(frozen=True)
class Progress:
    """Where a run stands; sums are over targets.  gap: relative, inf without a bound."""

    pulse: int
    targets_done: int
    targets: int
    best_objective_sum: float
    bound_sum: float
    gap: float
    work_done: int
    work_limit: int | None
    frontier: int
    certified: int


class Search:
    """The replicated state of all targets of a problem."""

    def __init__(
        self, problem: QuadraticProblem, prepared: Prepared, options: SearchOptions
    ) -> None:
        self.problem = problem
        self.prepared = prepared
        self.options = options
        self.targets = [
            TargetState.begin(t, problem.k, problem.m, prepared.slack) for t in range(problem.k)
        ]
        self._waiting = deque(range(problem.k))
        self._flight: deque[tuple[int, tuple[int, ...]]] = deque()
        self.pulse = 0
        self.committed = 0

    def plan(self) -> tuple[int, tuple[Task, ...]]:
        """Plan the next pulse: its number, and its tasks in canonical order.

        Empty when every target is done, or all that are not are in flight.
        """
        number = self.pulse
        width = schedule.pulse_width(self.committed, self.options.pulse_tasks)
        room = schedule.pulse_units(self._total_work())
        tasks: list[Task] = []
        members: list[int] = []
        later: list[int] = []
        while self._waiting and len(tasks) < width and (not tasks or room > 0.0):
            index = self._waiting.popleft()
            target = self.targets[index]
            if self._done(target):
                continue
            batch = target.plan()
            if not batch:
                later.append(index)
                continue
            members.append(index)
            tasks.extend(batch)
            room -= sum(task.weight for task in batch)
        self._waiting.extendleft(reversed(later))
        if tasks:
            self._flight.append((number, tuple(members)))
            self.pulse += 1
        return number, tuple(tasks)

    def commit(self, pulse: int, results: Sequence[bytes]) -> None:
        """Take in the results of the oldest pulse in flight, in the order of its tasks."""
        if not self._flight or self._flight[0][0] != pulse:
            raise InternalError(f"pulse {pulse} is not the next one to commit")
        _, members = self._flight.popleft()
        at = 0
        for index in members:
            target = self.targets[index]
            count = len(target.flight)
            target.commit(results[at : at + count])
            at += count
            if not self._done(target):
                self._waiting.append(index)
        if at != len(results):
            raise InternalError(f"{len(results)} results for {at} tasks of pulse {pulse}")
        self.committed += 1

    def _done(self, target: TargetState) -> bool:
        if target.exhausted:
            return True
        work = self.options.work
        return work is not None and not target.flight and target.work >= work

    @property
    def finished(self) -> bool:
        """Whether every target is certified or has used its budget."""
        return not self._flight and all(self._done(target) for target in self.targets)

    def _total_work(self) -> int:
        return sum(target.work for target in self.targets)

    def in_flight(self) -> list[tuple[int, tuple[Task, ...]]]:
        """Pulses planned and not committed, with their tasks; a restored state goes on here."""
        return [
            (number, tuple(task for index in members for task in self.targets[index].flight))
            for number, members in self._flight
        ]

    def state_digest(self) -> bytes:
        """SHA-256 over the digests of all targets and the pulse counters."""
        head = encode((SNAPSHOT_TAG, self.pulse, self.committed, tuple(self._waiting)))
        return sha256(head + b"".join(target.digest() for target in self.targets))

    def snapshot(self) -> bytes:
        """Canonical bytes from which restore() makes the same state."""
        flight = tuple((number, members) for number, members in self._flight)
        counters = (self.pulse, self.committed, tuple(self._waiting), flight)
        targets = tuple(target.to_bytes() for target in self.targets)
        return encode((SNAPSHOT_TAG, SNAPSHOT_VERSION, counters, targets))

    @classmethod
    def restore(
        cls,
        problem: QuadraticProblem,
        prepared: Prepared,
        options: SearchOptions,
        snapshot: bytes,
    ) -> Search:
        """Return the state a snapshot was taken of; a larger budget wakes targets that had theirs.

        Raises InputError when the snapshot is malformed or of another problem.
        """
        search = cls(problem, prepared, options)
        try:
            match decode(snapshot):
                case (
                    str(tag),
                    int(version),
                    (int(pulse), int(committed), tuple(waiting), tuple(flight)),
                    tuple(targets),
                ) if (tag, version, len(targets)) == (SNAPSHOT_TAG, SNAPSHOT_VERSION, problem.k):
                    search.targets = [TargetState.from_bytes(bytes(t)) for t in targets]
                    search.pulse, search.committed = int(pulse), int(committed)
                    search._flight = deque((int(p), tuple(members)) for p, members in flight)
                case _:
                    raise InputError("the checkpoint's state is malformed or of another problem")
        except (CanonicalError, InternalError, TypeError, ValueError) as error:
            raise InputError(f"the checkpoint's state cannot be read: {error}") from None
        asleep = {index for _, members in search._flight for index in members}
        queue = [index for index in waiting if isinstance(index, int)]
        rest = [t for t in range(problem.k) if t not in asleep and t not in set(queue)]
        search._waiting = deque(t for t in queue + rest if not search._done(search.targets[t]))
        return search

    def solution(self) -> Solution:
        """Incumbents, proven bounds, certificates and work of all targets."""
        k, n = self.problem.k, self.problem.n
        doubled = np.zeros((k, n), dtype="<i4")
        objective = np.full(k, np.inf)
        bound = np.zeros(k)
        certified = np.zeros(k, dtype=np.uint8)
        for t, target in enumerate(self.targets):
            if target.point:
                doubled[t] = np.frombuffer(target.point, dtype="<i4")
                objective[t] = target.objective
            else:
                doubled[t] = self.prepared.origins[t]
            bound[t] = self.lower_bound(target)
            certified[t] = self.is_certified(target)
        work = np.array([target.work for target in self.targets], dtype=np.int64)
        return Solution(doubled.astype(np.int32, copy=False), objective, bound, certified, work)

    def is_certified(self, target: TargetState) -> bool:
        """Whether the incumbent of a target is optimal to the stated tolerance."""
        return target.exhausted and self.prepared.tolerance < 1.0

    def lower_bound(self, target: TargetState) -> float:
        """Proven lower bound of the optimum of one target, rounded down.

        Never above the incumbent less δ: its own objective is a rounded figure too.
        """
        proven = self.prepared.lower_bound(target.bound)
        best = max(proven, float(self.prepared.root_bounds[target.index]))
        return min(best, self.prepared.lower_bound(target.objective / self.problem.scale**2))

    def progress(self) -> Progress:
        """Summary for people; not part of the state."""
        total = bound = 0.0
        certified = done = frontier = 0
        for target in self.targets:
            total += target.objective
            bound += self.lower_bound(target)
            certified += self.is_certified(target)
            done += self._done(target)
            frontier += len(target.frontier)
        gap = (total - bound) / total if 0.0 < total < float("inf") else float("inf")
        if certified == self.problem.k:
            gap = 0.0
        limit = None if self.options.work is None else self.options.work * self.problem.k
        return Progress(
            self.committed,
            done,
            self.problem.k,
            total,
            bound,
            gap,
            self._total_work(),
            limit,
            frontier,
            certified,
        )
