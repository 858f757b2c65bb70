"""S, the state all ranks hold: plan(S) -> tasks, commit(S, results) -> S (DESIGN section 3).

Pure and deterministic: no clock, no rank number, no order of arrival.  Pulses are committed one
by one in their order; pulse p + lag + 1 is planned right after the commit of pulse p.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InputError, InternalError, UsageError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import Solution
from morsr_mpi.search import schedule
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import Prepared
from morsr_mpi.search.target import TargetState
from morsr_mpi.search.tasks import Task

SNAPSHOT_TAG = "morsr-state"
SNAPSHOT_VERSION = 4


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
        # One unit per target and component of Q, the components of a target side by side.
        limit = options.frontier_limit // (problem.k * len(prepared.parts))
        self.units = [
            TargetState.begin(t, p, problem.k, part.problem.m, part.slack, limit, part.band > 0)
            for t in range(problem.k)
            for p, part in enumerate(prepared.parts)
        ]
        self._waiting = deque(range(len(self.units)))
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
        while self._waiting and len(tasks) < width and (not tasks or room > 0.0):
            index = self._waiting.popleft()
            unit = self.units[index]
            if self.spent(unit):
                continue
            unit.refill(self.options.lag + 1)
            batch = unit.launch(number)
            if not batch:  # its next commit brings it back
                continue
            members.append(index)
            tasks.extend(batch)
            room -= sum(task.weight for task in batch)
        # One batch of a unit in a pulse; what else it has ready goes into those that follow.
        self._waiting.extend(index for index in members if self.units[index].ready)
        if tasks:
            self._flight.append((number, tuple(members)))
            self.pulse += 1
        return number, tuple(tasks)

    def commit(self, pulse: int, results: Sequence[bytes]) -> None:
        """Take in the results of the oldest pulse in flight, in the order of its tasks."""
        if not self._flight or self._flight[0][0] != pulse:
            raise InternalError(f"pulse {pulse} is not the next one to commit")
        _, members = self._flight[0]
        count = sum(len(self.units[index].flight[pulse].tasks) for index in members)
        if count != len(results):
            raise InternalError(f"{len(results)} results for {count} tasks of pulse {pulse}")
        self._flight.popleft()
        at = 0
        for index in members:
            unit = self.units[index]
            unit.refill(self.options.lag + 1)  # on the state before this commit, if still due
            end = at + len(unit.flight[pulse].tasks)
            unit.commit(pulse, results[at:end])
            unit.retire(pulse)
            at = end
        self._wake(members)
        self.committed += 1

    def commit_free(
        self, step: int, picks: Sequence[tuple[int, int]], results: Sequence[bytes]
    ) -> list[tuple[int, int]]:
        """Take in results of some open tasks, (pulse, index) each, in this order.

        What is left of pulses `lag` or more before the step is given up: its chambers return to
        the frontier. Returns the tasks given up. Raises InternalError for a task that is not open.
        """
        if step != self.committed or len(picks) != len(results):
            raise InternalError(f"step {step} is not the next one to commit, {self.committed} is")
        touched: dict[int, None] = {}
        for (unit, pulse), (indices, found) in self._by_unit(picks, results).items():
            self.units[unit].refill(self.options.lag + 1)
            self.units[unit].settle(pulse, indices, found)
            touched[unit] = None
        dropped: list[tuple[int, int]] = []
        while self._flight and self._flight[0][0] <= step - self.options.lag:
            number, members = self._flight.popleft()
            first = 0
            for index in members:
                target = self.units[index]
                batch = target.flight[number]
                dropped.extend((number, first + left) for left in batch.open)
                first += len(batch.tasks)
                target.refill(self.options.lag + 1)
                target.drop(number)
                target.retire(number)
                touched[index] = None
        self._retire_closed()
        self._wake(list(touched))
        self.committed += 1
        return dropped

    def _by_unit(
        self, picks: Sequence[tuple[int, int]], results: Sequence[bytes]
    ) -> dict[tuple[int, int], tuple[list[int], list[bytes]]]:
        """Picks as (unit, pulse) -> (indices in the batch, results), in the order given."""
        ends = {
            number: list(
                accumulate(len(self.units[index].flight[number].tasks) for index in members)
            )
            for number, members in self._flight
        }
        members_of = dict(self._flight)
        found: dict[tuple[int, int], tuple[list[int], list[bytes]]] = {}
        for (pulse, index), result in zip(picks, results, strict=True):
            if pulse not in ends or not 0 <= index < ends[pulse][-1]:
                raise InternalError(f"task {index} of pulse {pulse} is not in flight")
            place = bisect_right(ends[pulse], index)
            unit = members_of[pulse][place]
            first = ends[pulse][place - 1] if place else 0
            indices, data = found.setdefault((unit, pulse), ([], []))
            indices.append(index - first)
            data.append(result)
        return found

    def _retire_closed(self) -> None:
        """Forget pulses of which nothing is open."""
        still: deque[tuple[int, tuple[int, ...]]] = deque()
        for number, members in self._flight:
            if all(self.units[index].flight[number].closed for index in members):
                for index in members:
                    self.units[index].retire(number)
            else:
                still.append((number, members))
        self._flight = still

    def settled(self) -> list[tuple[int, int]]:
        """Tasks in flight whose results are committed, as (pulse, index): in free mode."""
        found: list[tuple[int, int]] = []
        for number, members in self._flight:
            first = 0
            for index in members:
                flags = self.units[index].flight[number].settled
                found.extend((number, first + i) for i, settled in enumerate(flags) if settled)
                first += len(flags)
        return found

    def _wake(self, members: Sequence[int]) -> None:
        """Let units of which something was committed take part in the next pulses."""
        queued = set(self._waiting)
        self._waiting.extend(
            index for index in members if index not in queued and not self._done(self.units[index])
        )

    @property
    def planned(self) -> int:
        """Number of the next pulse to plan."""
        return self.pulse

    def target(self, t: int) -> list[TargetState]:
        """Return the units of one target, by component."""
        parts = len(self.prepared.parts)
        return self.units[t * parts : (t + 1) * parts]

    def _done(self, unit: TargetState) -> bool:
        if unit.exhausted:
            return True
        # What is planned and in no pulse yet waits there for a larger budget.
        return unit.idle and self.spent(unit)

    def spent(self, unit: TargetState) -> bool:
        """Whether the target of a unit has used its budget."""
        work = self.options.work
        if work is None:
            return False
        return sum(other.work for other in self.target(unit.target)) >= work

    @property
    def finished(self) -> bool:
        """Whether every target is certified or has used its budget."""
        return not self._flight and all(self._done(unit) for unit in self.units)

    def _total_work(self) -> int:
        return sum(unit.work for unit in self.units)

    def in_flight(self) -> list[tuple[int, tuple[Task, ...]]]:
        """Pulses planned and not committed, with their tasks; a restored state goes on here."""
        return [
            (
                number,
                tuple(task for index in members for task in self.units[index].flight[number].tasks),
            )
            for number, members in self._flight
        ]

    def state_digest(self) -> bytes:
        """SHA-256 over the digests of all targets and the pulse counters."""
        head = encode((SNAPSHOT_TAG, self.pulse, self.committed, tuple(self._waiting)))
        return sha256(head + b"".join(unit.digest() for unit in self.units))

    def snapshot(self) -> bytes:
        """Canonical bytes from which restore() makes the same state."""
        return self.capture()()

    def capture(self) -> Callable[[], bytes]:
        """Hold the state as it is now; what is returned makes its snapshot, later, in any thread.

        Holding a large frontier takes some milliseconds, its bytes some tenths of a second.
        """
        head, units = self.snapshot_head(), [unit.capture() for unit in self.units]
        return lambda: encode((*head, tuple(make() for make in units)))

    def snapshot_head(self) -> tuple[object, ...]:
        """Everything of a snapshot but the units: tag, version, counters and queues."""
        flight = tuple((number, members) for number, members in self._flight)
        counters = (self.pulse, self.committed, tuple(self._waiting), flight)
        return (SNAPSHOT_TAG, SNAPSHOT_VERSION, counters)

    @classmethod
    def restore(
        cls,
        problem: QuadraticProblem,
        prepared: Prepared,
        options: SearchOptions,
        snapshot: bytes,
    ) -> Search:
        """Return the state a snapshot was taken of; a larger budget wakes targets that had theirs.

        Raises InputError when the snapshot is malformed or of another problem, UsageError when a
        target has work in flight beyond its budget: to stop there would drop what is in flight.
        """
        search = cls(problem, prepared, options)
        try:
            match decode(snapshot):
                case (
                    str(tag),
                    int(version),
                    (int(pulse), int(committed), tuple(waiting), tuple(flight)),
                    tuple(units),
                ) if (tag, version, len(units)) == (
                    SNAPSHOT_TAG,
                    SNAPSHOT_VERSION,
                    len(search.units),
                ):
                    search.units = [TargetState.from_bytes(bytes(unit)) for unit in units]
                    search.pulse, search.committed = int(pulse), int(committed)
                    search._flight = deque((int(p), tuple(members)) for p, members in flight)
                    for number, members in search._flight:
                        if any(number not in search.units[index].flight for index in members):
                            raise InternalError(f"pulse {number} lacks tasks")
                case _:
                    raise InputError("the checkpoint's state is malformed or of another problem")
        except (CanonicalError, InternalError, TypeError, ValueError) as error:
            raise InputError(f"the checkpoint's state cannot be read: {error}") from None
        done = [unit for unit in search.units if not unit.idle and search.spent(unit)]
        if done:
            used = max(unit.work for unit in done)
            raise UsageError(
                f"--work {options.work} is no more than the {used} units per target that the run "
                "has used already; give more"
            )
        asleep = {index for _, members in search._flight for index in members}
        queue = [index for index in waiting if isinstance(index, int)]
        known = asleep | set(queue)
        woken = [
            u for u, unit in enumerate(search.units) if u not in known and not search._done(unit)
        ]
        search._waiting = deque(queue + woken)
        return search

    def solution(self) -> Solution:
        """Incumbents, proven bounds, certificates and work of all targets."""
        k, n = self.problem.k, self.problem.n
        doubled = np.zeros((k, n), dtype="<i4")
        objective = np.full(k, np.inf)
        bound = np.zeros(k)
        certified = np.zeros(k, dtype=np.uint8)
        work = np.zeros(k, dtype=np.int64)
        for t in range(k):
            units = self.target(t)
            objective[t] = 0.0
            for unit, part in zip(units, self.prepared.parts, strict=True):
                if unit.point:
                    doubled[t, part.coordinates] = np.frombuffer(unit.point, dtype="<i4")
                else:
                    doubled[t, part.coordinates] = part.origins[t]
                objective[t] += unit.objective
            bound[t] = self.lower_bound(t)
            certified[t] = self.is_certified(t)
            work[t] = sum(unit.work for unit in units)
        return Solution(doubled.astype(np.int32, copy=False), objective, bound, certified, work)

    def is_certified(self, t: int) -> bool:
        """Whether the incumbent of a target is optimal to the stated tolerance."""
        return self.prepared.tolerance < 1.0 and all(unit.exhausted for unit in self.target(t))

    def lower_bound(self, t: int) -> float:
        """Proven lower bound of the optimum of one target, rounded down.

        Never above the incumbent less δ: its own objective is a rounded figure too.
        """
        total = 0.0
        for unit, part in zip(self.target(t), self.prepared.parts, strict=True):
            best = max(part.lower_bound(unit.bound), float(part.root_bounds[t]))
            best = min(best, part.lower_bound(unit.objective / part.unit))
            total = float(np.nextafter(total + best, 0.0)) if total > 0.0 else best
        return total

    def progress(self) -> Progress:
        """Summary for people; not part of the state."""
        total = bound = 0.0
        certified = done = frontier = 0
        for t in range(self.problem.k):
            units = self.target(t)
            for unit in units:
                total += unit.objective
                frontier += len(unit.frontier)
            bound += self.lower_bound(t)
            certified += self.is_certified(t)
            done += all(self._done(unit) for unit in units)
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
