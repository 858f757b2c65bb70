"""explore: one task to its result, a pure function of problem, task and cutoff.

It runs in steps of a bounded amount of work, so that a rank can look after its messages between
them; where the steps are cut has no influence on the result.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.errors import InternalError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search import _engine
from morsr_mpi.search.chambers import Chamber, Prefix, prefix_from
from morsr_mpi.search.factor import coordinates_of
from morsr_mpi.search.orders import OrderName
from morsr_mpi.search.prepare import Part, Prepared
from morsr_mpi.search.tasks import COMPLETE, PROVE, Task, TaskResult

TICKS = int(_engine.TICKS_PER_UNIT)
#: Sweeps of root moves after a beam; convergence takes a handful.
DESCENT_SWEEPS = 64


class Run(Protocol):
    """A task being explored."""

    def step(self, units: int) -> bool:
        """Work for about `units` units; True when the result is there."""

    def result(self) -> bytes:
        """Canonical bytes of the result."""

    @property
    def work(self) -> int:
        """Units spent so far."""


def units_of(ticks: int) -> int:
    """Ticks to work units, rounded up."""
    return -(-ticks // TICKS)


class Explorer:
    """Begins tasks of one problem; holds what they share (factors), nothing of the search."""

    def __init__(self, problem: QuadraticProblem, prepared: Prepared) -> None:
        self.targets = problem.k
        self.parts = [PartExplorer(part) for part in prepared.parts]

    def begin(self, task: Task) -> Run:
        """Start a task.  Raises InternalError for a task no honest rank plans."""
        if not 0 <= task.target < self.targets or not 0 <= task.part < len(self.parts):
            raise InternalError(f"task for target {task.target}, part {task.part}: no such thing")
        if task.kind == COMPLETE:
            return CompleteRun(self.parts[task.part], task)
        if task.kind == PROVE:
            return ProveRun(self.parts[task.part], task)
        raise InternalError(f"unknown kind of task {task.kind!r}")


class PartExplorer:
    """The explorer's view of one component."""

    def __init__(self, part: Part) -> None:
        self.problem = part.problem
        self.part = part
        self._work = np.empty(2 * part.problem.n)

    def objective(self, target: int) -> _engine.Objective:
        """Bind the kernels to one target."""
        p = self.problem
        return _engine.Objective(p.Q, p.targets[target], p.scale, self._work)


class CompleteRun:
    """Beams over whole orders, each followed by a descent over root moves."""

    def __init__(self, explorer: PartExplorer, task: Task) -> None:
        self.explorer = explorer
        self.task = task
        self.beams = [_beam_fields(item) for item in task.body]
        self.at = 0
        self.ticks = 0
        self.best = task.cutoff
        self.point = b""
        self.beam: _engine.Beam | None = None
        self.order = np.empty(0, dtype=np.int32)
        self.objective = explorer.objective(task.target)

    @property
    def work(self) -> int:
        """Units spent so far."""
        return units_of(self.ticks + (self.beam.ticks if self.beam is not None else 0))

    def step(self, units: int) -> bool:
        """Advance the current beam; True when all are done."""
        if self.at == len(self.beams):
            return True
        if self.beam is None:
            self._begin()
            return False  # a factorisation may have taken long: let the caller poll
        if self.beam.step(max(1, units) * TICKS):
            self._finish()
        return self.at == len(self.beams)

    def _begin(self) -> None:
        name, width, branch, gamma = self.beams[self.at]
        part = self.explorer.part
        factor = part.factor(name)
        self.order = factor.order
        centre = part.centres[self.task.target][coordinates_of(factor.order)]
        limit = self.best * part.slack
        self.beam = _engine.Beam(
            factor.view, np.ascontiguousarray(centre), width, branch, gamma, limit
        )

    def _finish(self) -> None:
        assert self.beam is not None
        part = self.explorer.part
        found = np.empty(self.explorer.problem.n, dtype=np.int32)
        if self.beam.best(found) is not None:
            doubled = part.origins[self.task.target].copy()
            doubled[coordinates_of(self.order)] += found
            self.ticks += self.objective.descend(part.quad, doubled, DESCENT_SWEEPS)
            value = self.objective.evaluate(doubled)
            if value < self.best:
                self.best = value
                self.point = _little_endian(doubled)
        self.ticks += self.beam.ticks
        self.beam = None
        self.at += 1

    def result(self) -> bytes:
        """Canonical bytes of the result."""
        objective = self.best if self.point else float("inf")
        return TaskResult(units_of(self.ticks), objective, self.point).to_bytes()


class ProveRun:
    """Enumeration below one chamber up to a budget."""

    def __init__(self, explorer: PartExplorer, task: Task) -> None:
        self.explorer = explorer
        self.task = task
        prefix, skip, after, split, budget = _prove_fields(task.body)
        part = explorer.part
        factor = part.prover
        depth = len(prefix) // 32
        if depth >= factor.tiles:
            raise InternalError("a chamber with every tile pinned is no chamber")
        places = coordinates_of(factor.order)
        self.prefix = prefix
        self.budget = budget * TICKS
        self.origin = part.origins[task.target]
        # Chambers hold absolute points; the kernels work relative to the target's origin.
        self.origin_in_order = self.origin[places].reshape(-1, 8)[::-1].reshape(-1)
        pinned = np.frombuffer(prefix, dtype="<i4").astype(np.int32)
        pinned = pinned - self.origin_in_order[: 8 * depth]
        last = np.zeros(8, dtype=np.int32)
        if skip:
            base = self.origin_in_order[8 * depth : 8 * depth + 8]
            last = np.frombuffer(after, dtype="<i4").astype(np.int32) - base
        self.prove = _engine.Prove(
            factor.view,
            np.ascontiguousarray(part.centres[task.target][places]),
            np.ascontiguousarray(pinned) if depth else np.zeros(8, dtype=np.int32),
            depth,
            last,
            skip,
            split,
            explorer.objective(task.target),
            self.origin,
            factor.order,
            task.cutoff,
            part.slack,
        )

    @property
    def work(self) -> int:
        """Units spent so far."""
        return units_of(self.prove.ticks)

    def step(self, units: int) -> bool:
        """Enumerate; True when the chamber is exhausted or the budget used."""
        # The budget is held against what is spent after the chamber's children were listed, so
        # that every enumeration gets further than the one before it.
        left = self.budget - self.prove.spent
        if left > 0 and not self.prove.step(min(left, max(1, units) * TICKS)):
            return self.prove.spent >= self.budget
        return True

    def result(self) -> bytes:
        """Canonical bytes of the result; closes the enumeration."""
        self.prove.close()
        n = self.explorer.problem.n
        found = np.empty(n, dtype=np.int32)
        value = self.prove.best(found)
        result = TaskResult(
            units_of(self.prove.ticks),
            float("inf") if value is None else value,
            b"" if value is None else _little_endian(found),
            tuple(self._chambers()),
            tuple(int(count) for count in self.prove.stats()),
        )
        return result.to_bytes(self.prefix)

    def _chambers(self) -> list[Chamber]:
        n = self.explorer.problem.n
        tiles = np.zeros(n, dtype=np.int32)
        after = np.zeros(8, dtype=np.int32)
        base = prefix_from(self.prefix[i : i + 32] for i in range(0, len(self.prefix), 32))
        path: list[Prefix] = []
        first = 0 if base is None else base.depth
        out = []
        for i in range(self.prove.count):
            depth, skip, bound, _ = self.prove.chamber(i, tiles, after)
            absolute = _little_endian(tiles[: 8 * depth] + self.origin_in_order[: 8 * depth])
            for d in range(first, depth):
                tile = absolute[32 * d : 32 * d + 32]
                if d - first < len(path) and path[d - first].tile == tile:
                    continue
                del path[d - first :]
                path.append(Prefix(path[-1] if path else base, tile))
            prefix = path[depth - first - 1] if depth > first else base
            last = b""
            if skip:
                place = self.origin_in_order[8 * depth : 8 * depth + 8]
                last = _little_endian(after + place)
            out.append(Chamber(prefix, skip, last, bound))
        return out


def _little_endian(doubled: NDArray[np.int32]) -> bytes:
    return doubled.astype("<i4").tobytes()


def _beam_fields(item: object) -> tuple[OrderName, int, int, float]:
    match item:
        case (str(kind), int(seed), int(width), int(branch), float(gamma)):
            return OrderName(kind, seed), width, branch, gamma
        case _:
            raise InternalError("malformed beam in a task")


def _prove_fields(body: tuple[object, ...]) -> tuple[bytes, int, bytes, int, int]:
    match body:
        case (bytes(prefix), int(skip), bytes(after), int(split), int(budget)):
            return prefix, skip, after, split, budget
        case _:
            raise InternalError("malformed enumeration in a task")
