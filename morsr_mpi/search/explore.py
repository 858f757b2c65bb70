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
from morsr_mpi.search import _engine, task_fields
from morsr_mpi.search.chambers import Chamber, Prefix, unpack
from morsr_mpi.search.factor import coordinates_of
from morsr_mpi.search.prepare import Part, Prepared
from morsr_mpi.search.ranking import Rankings
from morsr_mpi.search.stepping import (
    TICKS,
    beams_result,
    kernel_step,
    little_endian,
    start_of_walk,
    units_of,
    walk_result,
)
from morsr_mpi.search.tasks import ADVANCE, COMPLETE, PROVE, Task, TaskResult
from morsr_mpi.search.term_context import TermContext, TermObjective
from morsr_mpi.search.term_explore import TermAdvanceRun, TermCompleteRun
from morsr_mpi.search.term_prove import TermProveRun
from morsr_mpi.search.walks import PAYS

#: What a long walk may make good: a beam before one drops only what is that much worse than the
#: best point known.
WALK_HOPE = 1.1
LONG_WALK = 512
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


def advance(kernel: _engine.Beam | _engine.Walk | _engine.Prove, ticks: int) -> bool:
    """One step of a kernel; InputError where a coordinate leaves the range of int32."""
    return kernel_step(lambda: kernel.step(ticks))


class Explorer:
    """Begins tasks of one problem; holds what they share (factors), nothing of the search."""

    def __init__(self, problem: QuadraticProblem, prepared: Prepared) -> None:
        self.targets = problem.k
        self.parts = [PartExplorer(part) for part in prepared.parts]

    def begin(self, task: Task) -> Run:
        """Start a task.  Raises InternalError for a task no honest rank plans.

        Its steps raise InputError where Q is so ill-conditioned that coordinates overflow.
        """
        if not 0 <= task.target < self.targets or not 0 <= task.part < len(self.parts):
            raise InternalError(f"task for target {task.target}, part {task.part}: no such thing")
        part = self.parts[task.part]
        context = part.context
        if task.kind == COMPLETE:
            return TermCompleteRun(part, context, task) if context else CompleteRun(part, task)
        if task.kind == ADVANCE:
            return TermAdvanceRun(part, context, task) if context else AdvanceRun(part, task)
        if task.kind == PROVE:
            return TermProveRun(part, context, task) if context else ProveRun(part, task)
        raise InternalError(f"unknown kind of task {task.kind!r}")


class PartExplorer:
    """The explorer's view of one component."""

    def __init__(self, part: Part) -> None:
        self.problem = part.problem
        self.part = part
        self.rankings = Rankings(part)
        self.context = None if part.problem.term is None else TermContext(part)
        self._work = np.empty(2 * part.problem.n)

    def quadratic(self, target: int) -> _engine.Objective:
        """Bind the kernels to one target, without the tile term."""
        p = self.problem
        return _engine.Objective(p.Q, p.targets[target], p.scale, self._work)

    def objective(self, target: int) -> _engine.Objective | TermObjective:
        """The objective of one target."""
        quadratic, term = self.quadratic(target), self.problem.term
        return quadratic if term is None else TermObjective(quadratic, term)


class CompleteRun:
    """Beams over whole orders, each followed by a descent and a walk over root moves."""

    def __init__(self, explorer: PartExplorer, task: Task) -> None:
        self.explorer = explorer
        self.task = task
        self.beams = [task_fields.beam(item) for item in task.body]
        self.at = 0
        self.ticks = 0
        self.best = task.cutoff
        self.point = b""
        self.values: list[float] = []
        self.walks = [0, 0]  # done, paid
        self.start = 0.0  # objective a walk began at
        self.kernel: _engine.Beam | _engine.Walk | None = None
        self.objective = explorer.quadratic(task.target)

    @property
    def work(self) -> int:
        """Units spent so far."""
        return units_of(self.ticks + (self.kernel.ticks if self.kernel is not None else 0))

    def step(self, units: int) -> bool:
        """Advance the current beam or walk; True when all are done."""
        if self.at == len(self.beams):
            return True
        if self.kernel is None:
            self._begin()  # a factorisation may have taken long: let the caller poll
        elif advance(self.kernel, max(1, units) * TICKS):
            self.ticks += self.kernel.ticks
            if isinstance(self.kernel, _engine.Beam):
                self._walk(self.kernel)
            else:
                self._finish(self.kernel)
        return self.at == len(self.beams)

    def _begin(self) -> None:
        name, width, branch, gamma, patience = self.beams[self.at]
        part = self.explorer.part
        ranking = self.explorer.rankings.get(name)
        if ranking is None:
            return  # another rank of this node makes the factor
        self.ranking = ranking
        self.patience = patience
        centre = np.ascontiguousarray(part.centres[self.task.target][self.ranking.places])
        if width == 1:
            found = np.empty(self.explorer.problem.n, dtype=np.int32)
            self.ticks += kernel_step(
                lambda: _engine.babai(self.ranking.factor.view, centre, found)
            )
            self._descend(found)
            return
        hope = WALK_HOPE if patience >= LONG_WALK else 1.0
        limit = hope * self.best * part.slack
        self.kernel = _engine.Beam(self.ranking.view, centre, width, branch, gamma, limit)

    def _walk(self, beam: _engine.Beam) -> None:
        found = np.empty(self.explorer.problem.n, dtype=np.int32)
        if kernel_step(lambda: beam.best(found)) is not None:
            self._descend(found)
        else:
            self.kernel = None
            self.values.append(float("inf"))
            self.at += 1

    def _descend(self, found: NDArray[np.int32]) -> None:
        part = self.explorer.part
        doubled = part.origins[self.task.target].copy()
        doubled[self.ranking.places] += found
        self.ticks += self.objective.descend(part.quad, doubled, DESCENT_SWEEPS)
        self.start = self.objective.evaluate(doubled)
        self.kernel = _engine.Walk(self.objective, doubled, self.patience, self.at)

    def _finish(self, walk: _engine.Walk) -> None:
        doubled = np.empty(self.explorer.problem.n, dtype=np.int32)
        walk.best(doubled)
        value = self.objective.evaluate(doubled)
        self.values.append(value)
        if self.patience:
            self.walks[0] += 1
            self.walks[1] += self.start - value > PAYS * self.start
        if value < self.best:
            self.best = value
            self.point = little_endian(doubled)
        self.kernel = None
        self.at += 1

    def result(self) -> bytes:
        """Canonical bytes of the result."""
        return beams_result(self.ticks, self.best, self.point, self.values, self.walks)


class AdvanceRun:
    """A walk from the point that all ranks have committed; its seed makes it one of many."""

    def __init__(self, explorer: PartExplorer, task: Task) -> None:
        start, patience, seed = start_of_walk(task, explorer.problem.n)
        self.task = task
        self.objective = explorer.quadratic(task.target)
        self.found = start
        self.walk = _engine.Walk(self.objective, start, patience, seed)

    @property
    def work(self) -> int:
        """Units spent so far."""
        return units_of(self.walk.ticks)

    def step(self, units: int) -> bool:
        """Walk on; True when it has lost patience."""
        return advance(self.walk, max(1, units) * TICKS)

    def result(self) -> bytes:
        """Canonical bytes of the result."""
        self.walk.best(self.found)
        value = self.objective.evaluate(self.found)
        return walk_result(self.task, self.walk.ticks, value, self.found)


class ProveRun:
    """Enumeration below some chambers, one after the other, up to a common budget.

    The first always gets further than its start: its budget begins when its children are listed.
    """

    def __init__(self, explorer: PartExplorer, task: Task) -> None:
        packed, self.split, budget = task_fields.prove(task.body)
        part = explorer.part
        self.part = part
        self.task = task
        self.chambers = list(unpack(packed))
        self.budget = budget * TICKS
        self.objective = explorer.quadratic(task.target)
        places = coordinates_of(part.prover.order)
        self.centre = np.ascontiguousarray(part.centres[task.target][places])
        self.origin = part.origins[task.target]
        # Chambers hold absolute points; the kernels work relative to the target's origin.
        self.shift = self.origin[places].reshape(-1, 8)[::-1].reshape(-1)
        self.at = 0
        self.spent = 0  # against the budget
        self.ticks = 0
        self.best = task.cutoff
        self.point = b""
        self.open: list[Chamber] = []
        self.counts = [0, 0, 0, 0, 0]
        self.prove: _engine.Prove | None = None

    @property
    def work(self) -> int:
        """Units spent so far."""
        return units_of(self.ticks + (self.prove.ticks if self.prove is not None else 0))

    def step(self, units: int) -> bool:
        """Enumerate; True when every chamber is exhausted or the budget used."""
        end = self.work + units
        while self.at < len(self.chambers):
            if self.work >= end:
                return False
            if self.spent >= self.budget:
                self.open.extend(self.chambers[self.at :])
                self.at = len(self.chambers)
                break
            if self.prove is None:
                self.prove = self._begin(self.chambers[self.at])
            left = self.budget - self.spent - self._cost()
            done = left > 0 and advance(self.prove, min(left, max(1, units) * TICKS))
            if done or self.spent + self._cost() >= self.budget:
                self._finish()
        return True

    def _cost(self) -> int:
        """What the current chamber takes from the budget."""
        assert self.prove is not None
        return self.prove.spent if self.at == 0 else self.prove.ticks

    def _begin(self, chamber: Chamber) -> _engine.Prove:
        factor = self.part.prover
        prefix = chamber.prefix_bytes()
        size = len(prefix) // 4
        if size >= self.shift.size:
            raise InternalError("a chamber with every tile pinned is no chamber")
        pinned = np.zeros(max(8, size), dtype=np.int32)
        pinned[:size] = np.frombuffer(prefix, dtype="<i4") - self.shift[:size]
        last = np.zeros(8, dtype=np.int32)
        if chamber.skip:
            last[:] = np.frombuffer(chamber.after, dtype="<i4") - self.shift[size : size + 8]
        return _engine.Prove(
            factor.view,
            self.centre,
            pinned,
            chamber.depth,
            last,
            chamber.inclusive,
            chamber.skip,
            self.split if chamber.depth < factor.tiles - 2 else 0,
            self.objective,
            self.origin,
            factor.order,
            self.best,
            self.part.slack,
        )

    def _finish(self) -> None:
        assert self.prove is not None
        self.spent += self._cost()
        self.ticks += self.prove.ticks
        self.prove.close()
        found = np.empty(self.shift.size, dtype=np.int32)
        value = self.prove.best(found)
        if value is not None:
            self.best = value
            self.point = little_endian(found)
        self.open.extend(self._remainders(self.prove, self.chambers[self.at].prefix))
        self.counts = [a + b for a, b in zip(self.counts, self.prove.stats(), strict=True)]
        self.prove = None
        self.at += 1

    def _remainders(self, prove: _engine.Prove, base: Prefix | None) -> list[Chamber]:
        tiles = np.zeros(self.shift.size, dtype=np.int32)
        ranks = np.zeros(self.shift.size // 8, dtype=np.int64)
        after = np.zeros(8, dtype=np.int32)
        path: list[Prefix] = []
        first = 0 if base is None else base.depth
        out = []
        for i in range(prove.count):
            depth, skip, bound, inclusive = prove.chamber(i, tiles, ranks, after)
            absolute = little_endian(tiles[: 8 * depth] + self.shift[: 8 * depth])
            for d in range(first, depth):
                tile = absolute[32 * d : 32 * d + 32]
                if d - first < len(path) and path[d - first].tile == tile:
                    continue
                del path[d - first :]
                path.append(Prefix(path[-1] if path else base, tile, int(ranks[d])))
            prefix = path[depth - first - 1] if depth > first else base
            last = little_endian(after + self.shift[8 * depth : 8 * depth + 8]) if skip else b""
            out.append(Chamber(prefix, skip, last, bound, inclusive=inclusive))
        return out

    def result(self) -> bytes:
        """Canonical bytes of the result."""
        objective = self.best if self.point else float("inf")
        open_chambers = tuple(self.open)
        counts = tuple(int(count) for count in self.counts)
        work = units_of(self.ticks)
        return TaskResult(work, objective, self.point, open_chambers, counts).to_bytes()
