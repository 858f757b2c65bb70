"""Beams and walks under a tile term: what COMPLETE and ADVANCE tasks do there (explore.py).

The tasks, the schedule and the state are the same as without a term.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.objectives import _terms
from morsr_mpi.search import task_fields
from morsr_mpi.search.reference_terms import TwinBeam, TwinWalk
from morsr_mpi.search.stepping import (
    TICKS,
    beams_result,
    kernel_step,
    little_endian,
    start_of_walk,
    units_of,
    walk_result,
)
from morsr_mpi.search.tasks import Task
from morsr_mpi.search.term_context import TermContext
from morsr_mpi.search.walks import PAYS

if TYPE_CHECKING:
    from morsr_mpi.search.explore import PartExplorer
    from morsr_mpi.search.ranking import Ranking

#: A step of a walk under a term costs several times one without: patience is divided by this.
PATIENCE_SHARE = 4


class TermCompleteRun:
    """Beams over whole orders, each followed by a descent and a walk over root moves."""

    def __init__(self, explorer: PartExplorer, context: TermContext, task: Task) -> None:
        self.explorer, self.context, self.task = explorer, context, task
        self.beams = [task_fields.beam(item) for item in task.body]
        self.objective = explorer.objective(task.target)
        self.at = 0
        self.ticks = 0
        self.best = task.cutoff
        self.point = b""
        self.values: list[float] = []
        self.walks = [0, 0]  # done, paid
        self.beam: _terms.Beam | TwinBeam | None = None
        self.walk: _terms.Walk | TwinWalk | None = None
        self.ranking: Ranking | None = None

    @property
    def work(self) -> int:
        """Units spent so far."""
        now = self.walk or self.beam
        return units_of(self.ticks + (now.ticks if now is not None else 0))

    def step(self, units: int) -> bool:
        """Advance the current beam or walk; True when all are done."""
        if self.at == len(self.beams):
            return True
        ticks = max(1, units) * TICKS
        if self.walk is not None:
            if self.walk.step(ticks):
                self._finish(self.walk)
        elif self.beam is None:
            self._begin()
        else:
            beam = self.beam
            if kernel_step(lambda: beam.step(ticks)):
                self._walk(beam)
        return self.at == len(self.beams)

    def _begin(self) -> None:
        name, width, branch, gamma, _ = self.beams[self.at]
        self.ranking = self.explorer.rankings.get(name)
        if self.ranking is None:
            return  # another rank of this node makes the factor
        part, target = self.explorer.part, self.task.target
        centre = np.ascontiguousarray(part.centres[target][self.ranking.places])
        limit = self.best * part.slack
        self.beam = self.context.beam(self.ranking, centre, target, width, branch, gamma, limit)

    def _walk(self, beam: _terms.Beam | TwinBeam) -> None:
        assert self.ranking is not None
        self.ticks += beam.ticks
        self.beam = None
        found = np.empty(self.explorer.problem.n, dtype=np.int32)
        if beam.best(found) is None:
            self.values.append(float("inf"))
            self.at += 1
            return
        patience = self.beams[self.at][4] // PATIENCE_SHARE
        doubled = self.explorer.part.origins[self.task.target].copy()
        doubled[self.ranking.places] += found
        self.walk = self.context.walk(self.task.target, doubled, patience, self.at)

    def _finish(self, walk: _terms.Walk | TwinWalk) -> None:
        self.ticks += walk.ticks
        self.walk = None
        doubled = np.empty(self.explorer.problem.n, dtype=np.int32)
        descent = np.empty_like(doubled)
        walk.best(doubled, descent)
        value, start = self.objective.evaluate(doubled), self.objective.evaluate(descent)
        if start < value:  # rounding: the walk judges by differences
            value, doubled = start, descent
        self.values.append(value)
        if self.beams[self.at][4]:
            self.walks[0] += 1
            self.walks[1] += start - value > PAYS * start
        if value < self.best:
            self.best = value
            self.point = little_endian(doubled)
        self.at += 1

    def result(self) -> bytes:
        """Canonical bytes of the result."""
        return beams_result(self.ticks, self.best, self.point, self.values, self.walks)


class TermAdvanceRun:
    """A walk from the point that all ranks have committed; its seed makes it one of many."""

    def __init__(self, explorer: PartExplorer, context: TermContext, task: Task) -> None:
        start, patience, seed = start_of_walk(task, explorer.problem.n)
        self.task = task
        self.objective = explorer.objective(task.target)
        self.found: NDArray[np.int32] = start.copy()
        self.walk = context.walk(task.target, start, max(1, patience // PATIENCE_SHARE), seed)

    @property
    def work(self) -> int:
        """Units spent so far."""
        return units_of(self.walk.ticks)

    def step(self, units: int) -> bool:
        """Walk on; True when it has lost patience."""
        return self.walk.step(max(1, units) * TICKS)

    def result(self) -> bytes:
        """Canonical bytes of the result."""
        self.walk.best(self.found, np.empty_like(self.found))
        value = self.objective.evaluate(self.found)
        return walk_result(self.task, self.walk.ticks, value, self.found)
