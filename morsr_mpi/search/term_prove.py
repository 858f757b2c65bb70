"""Enumeration below chambers under a tile term: what PROVE tasks do there (docs/objectives.md).

The canonical order of the children of a node is by partial cost including the term, then by
doubled coordinates; only allowed points are children.  Chambers, remainders and their bounds mean
what they mean without a term (explore.ProveRun, csrc/src/engine_prove.inc).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.errors import InputError, InternalError
from morsr_mpi.lattice.e8 import k_nearest
from morsr_mpi.objectives.separable import SeparableTerm
from morsr_mpi.search import _engine, task_fields
from morsr_mpi.search.chambers import Chamber, Prefix, unpack
from morsr_mpi.search.factor import coordinates_of
from morsr_mpi.search.reference_terms import pin
from morsr_mpi.search.stepping import TICKS, little_endian, units_of
from morsr_mpi.search.tasks import Task, TaskResult
from morsr_mpi.search.term_context import TermContext
from morsr_mpi.search.term_list import known_of, separable_points, shift_of

if TYPE_CHECKING:
    from morsr_mpi.search.explore import PartExplorer

Array = NDArray[np.float64]
Doubled = NDArray[np.int32]

#: Points listed at first, and at most, around a centre; each further list has so many times more.
FIRST_POINTS = 512
MOST_POINTS = 1 << 21
MORE_POINTS = 8
#: What is listed by another formula of the cost may differ from ours by this share.
LIST_MARGIN = 1e-9
#: Ticks of a list, of a child entered, of a point judged; the rest is counted.
LIST_TICKS = 10_000
CHILD_TICKS = 10_000


@dataclass
class Node:
    """An open node: what of its children is done, and the current list of those that come next.

    last: total and point (relative) of the child before the list, or of its first when
    `inclusive`.  points, totals: the list, in canonical order; live: indices of those within the
    limit, with their bounds in keys.
    """

    depth: int
    centres: Array
    partial: float
    bound: float
    prefix: Prefix | None
    before: int = 0
    last: tuple[float, Doubled] | None = None
    inclusive: bool = False
    more: bool = True
    points: Doubled = field(default_factory=lambda: np.empty((0, 8), dtype=np.int32))
    totals: Array = field(default_factory=lambda: np.empty(0))
    live: Doubled = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    keys: Array = field(default_factory=lambda: np.empty(0))
    at: int = 0  # next of live


class TermProveRun:
    """Enumeration below some chambers, one after the other, up to a common budget."""

    def __init__(self, explorer: PartExplorer, context: TermContext, task: Task) -> None:
        packed, self.split, budget = task_fields.prove(task.body)
        self.context, self.task, self.part = context, task, explorer.part
        self.factor = explorer.part.prover
        self.m = self.factor.tiles
        self.objective = explorer.objective(task.target)
        self.places = coordinates_of(self.factor.order)
        self.centre = np.ascontiguousarray(self.part.centres[task.target][self.places])
        self.origin = context.origin(task.target, self.places)
        self.chambers = list(unpack(packed))
        self.budget = budget * TICKS
        self.at = 0
        self.ticks = self.spent = 0
        self.best, self.point = task.cutoff, b""
        self.open: list[Chamber] = []
        self.counts = [0, 0, 0, 0, 0]
        self.stack: list[Node] = []
        self.root = 0
        self.left = 0  # children still to be handed back
        self.handed: list[Chamber] = []
        self.taken = False  # whether a child of the current chamber was taken
        self.full = False  # whether all children that were wanted are handed back

    @property
    def limit(self) -> float:
        """Cost in lattice units that a better point cannot exceed."""
        return self.best * self.part.slack

    @property
    def work(self) -> int:
        """Units spent so far."""
        return units_of(self.ticks)

    def step(self, units: int) -> bool:
        """Enumerate; True when every chamber is exhausted or the budget used."""
        end = self.ticks + max(1, units) * TICKS
        while self.at < len(self.chambers):
            if self.ticks >= end:
                return False
            if not self.stack:
                if self.spent >= self.budget and self.at > 0:
                    self.open.extend(self.chambers[self.at :])
                    self.at = len(self.chambers)
                    break
                self._begin(self.chambers[self.at])
            before = self.ticks
            if self.stack:
                self._once()
            self.spent += self.ticks - before
            # The first always gets further than its start.
            used = self.spent >= self.budget and (self.taken or self.at > 0)
            if not self.stack or used or self.full:
                self._close()
        return True

    def _begin(self, chamber: Chamber) -> None:
        prefix = np.frombuffer(chamber.prefix_bytes(), dtype="<i4").reshape(-1, 8)
        if len(prefix) >= self.m:
            raise InternalError("a chamber with every tile pinned is no chamber")
        centres, partial = self.centre, 0.0
        for depth, absolute in enumerate(prefix):
            j = self.m - 1 - depth
            p = (absolute - self.origin[8 * j : 8 * j + 8]).astype(np.int32)
            partial = float(self._totals(j, centres, partial, p[None])[0])
            centres = pin(self.factor.w, j, centres, p)
        self.root, self.left, self.handed = len(prefix), self.split, []
        self.taken = self.full = False
        self.ticks += LIST_TICKS
        j = self.m - 1 - self.root
        bound = partial + self._ahead(j + 1, centres)
        node = Node(self.root, centres, partial, bound, chamber.prefix, chamber.skip)
        if chamber.skip:
            after = np.frombuffer(chamber.after, dtype="<i4") - self.origin[8 * j : 8 * j + 8]
            total = float(self._totals(j, centres, partial, after[None].astype(np.int32))[0])
            node.last, node.inclusive = (total, after.astype(np.int32)), chamber.inclusive
        if bound <= self.limit:
            self.stack = [node]

    def _totals(self, j: int, centres: Array, partial: float, points: Doubled) -> Array:
        """Partial costs of children of the node with these centres."""
        here = slice(8 * j, 8 * j + 8)
        u = self.factor.diag[64 * j : 64 * j + 64]
        quad, term = self.context.costs(u, centres[here], self.origin[here], points)
        self.ticks += 2 * len(points)
        return (partial + quad) + term

    def _ahead(self, free: int, centres: Array) -> float:
        """Bound of the tiles before `free`: the larger of weights with term, and of blocks."""
        if not free:
            return 0.0
        weights = self.factor.weights[4 * free * (free - 1) : 4 * free * (free + 1)]
        parts = np.empty(free)
        _engine.free_bound(weights, np.ascontiguousarray(centres), parts)
        bounds = self.context.term.bound(
            centres.reshape(free, 8),
            self.origin[: 8 * free].reshape(free, 8),
            weights.reshape(free, 8),
            parts,
            self.context.unit,
        )
        total = 0.0
        for item in bounds.tolist():
            total += item
        self.ticks += CHILD_TICKS // 2
        if self.factor.blocks.size:
            total = max(total, float(self.factor.view.block_bound(np.ascontiguousarray(centres))))
            self.counts[4] += 1
        return total

    def _once(self) -> None:
        """Take the next child of the deepest node, list more of them, or leave the node."""
        node = self.stack[-1]
        if node.at < node.live.size:
            self._take(node)
        elif node.more:
            self._list(node)
        else:
            self.stack.pop()

    def _list(self, node: Node) -> None:
        """The next children in canonical order, and which of them can still be better."""
        j = self.m - 1 - node.depth
        if node.totals.size:
            node.before += node.totals.size
            node.last, node.inclusive = (float(node.totals[-1]), node.points[-1]), False
        points, totals, node.more = self._children(j, node)
        node.points, node.totals, node.at = points, totals, 0
        self.counts[1] += len(points)
        keys = totals
        if j and len(points):
            step = np.ascontiguousarray((0.5 * points - node.centres[8 * j : 8 * j + 8]).T)
            keys = np.empty(len(points))
            ahead = np.ascontiguousarray(node.centres[: 8 * j])
            view = self.factor.view
            seen = view.look_ahead(ahead, step, totals, True, 0.0, self.limit, keys)
            self.counts[2] += seen
            self.ticks += 8 * seen
        node.live = np.flatnonzero(keys <= self.limit).astype(np.int32)
        node.keys = keys[node.live]
        self.ticks += LIST_TICKS

    def _children(self, j: int, node: Node) -> tuple[Doubled, Array, bool]:
        """Children after the cursor within the limit: points, totals, whether there may be more."""
        here = slice(8 * j, 8 * j + 8)
        reach = self.limit - node.partial
        if not reach >= 0.0:
            return np.empty((0, 8), dtype=np.int32), np.empty(0), False
        count = FIRST_POINTS
        while True:
            points, bar = self._near(j, node.centres[here], reach, count)
            totals = self._totals(j, node.centres, node.partial, points)
            complete = bar >= reach
            keep = (totals <= self.limit) & self._after(node, totals, points)
            if not complete:
                keep &= totals <= node.partial + bar
            if complete or keep.any():
                break
            count *= MORE_POINTS
            if count > MOST_POINTS:
                raise InputError(
                    f"tile term {self.context.term.kind}: it outweighs Q so far that the points "
                    "that compete in one tile cannot be listed; make the term weaker or Q larger"
                )
        points, totals = points[keep].astype(np.int32), totals[keep]
        order = np.lexsort((*points.T[::-1], totals))
        return points[order], totals[order], not complete

    def _near(self, j: int, c: Array, reach: float, count: int) -> tuple[Doubled, float]:
        """Points, relative, among which are all of cost below what is returned beside them."""
        origin = self.origin[8 * j : 8 * j + 8]
        u = self.factor.diag[64 * j : 64 * j + 64]
        term, known = self.context.term, 0.0
        shift = shift_of(term, u, c + 0.5 * origin)
        if shift is not None:
            self.ticks += LIST_TICKS
            if isinstance(term, SeparableTerm):
                points, bar = separable_points(term, self.context.unit, u, shift, reach)
                return points - origin, bar
            known = known_of(term, shift)
            c = shift.y - 0.5 * origin
        # Where the centre is outside of what is allowed, its neighbours are the wrong ones.
        limit = max(0.0, reach - known) * (1.0 + LIST_MARGIN) + LIST_MARGIN * abs(known)
        near = k_nearest(c, count, metric=np.triu(u.reshape(8, 8)), limit=limit)
        self.ticks += near.nodes // 2 + LIST_TICKS
        if len(near.doubled) < count:
            return near.doubled, reach
        listed = self.context.listed
        if listed is not None:
            return listed - origin, reach
        far = float(near.cost[-1])
        return near.doubled, known + far - LIST_MARGIN * (far + abs(known))

    def _after(self, node: Node, totals: Array, points: Doubled) -> NDArray[np.bool_]:
        """Which come after the node's cursor."""
        if node.last is None:
            return np.ones(len(totals), dtype=bool)
        total, last = node.last
        later = np.full(len(totals), node.inclusive)
        for i in range(7, -1, -1):
            later = (points[:, i] > last[i]) | ((points[:, i] == last[i]) & later)
        return np.asarray((totals > total) | ((totals == total) & later))

    def _take(self, node: Node) -> None:
        index, key = int(node.live[node.at]), float(node.keys[node.at])
        node.at += 1
        self.taken = True
        if not key <= self.limit:
            return
        j = self.m - 1 - node.depth
        p, total = node.points[index], float(node.totals[index])
        self.ticks += CHILD_TICKS // 4
        prefix = self._prefix(node, index)
        if j == 0:
            self._judge(prefix)
            return
        self.ticks += CHILD_TICKS
        centres = pin(self.factor.w, j, node.centres, p)
        key = max(key, total + self._ahead(j, centres))
        if not key <= self.limit:
            return
        if self.left > 0 and node.depth == self.root:
            self.handed.append(Chamber(prefix, 0, b"", key))
            self.left -= 1
            self.full = self.left == 0
            return
        self.counts[0] += 1
        self.stack.append(Node(node.depth + 1, centres, total, key, prefix))

    def _prefix(self, node: Node, index: int) -> Prefix:
        j = self.m - 1 - node.depth
        tile = little_endian(node.points[index] + self.origin[8 * j : 8 * j + 8])
        return Prefix(node.prefix, tile, node.before + index)

    def _judge(self, prefix: Prefix) -> None:
        tiles = np.frombuffer(b"".join(prefix.tiles()), dtype="<i4").reshape(-1, 8)
        doubled = np.empty(8 * self.m, dtype=np.int32)
        doubled[self.places] = tiles[::-1].reshape(-1)
        value = self.objective.evaluate(doubled)
        self.ticks += (8 * self.m) ** 2 // 64
        self.counts[3] += 1
        if value < self.best:
            self.best, self.point = value, little_endian(doubled)

    def _close(self) -> None:
        """Leave the current chamber: what is open of it becomes remainders."""
        self.open.extend(self.handed)
        for node in self.stack:
            self._remainder(node)
        self.stack, self.handed = [], []
        self.at += 1

    def _remainder(self, node: Node) -> None:
        """What is left of a node from its next child on."""
        skip, last, inclusive = node.before, node.last, node.inclusive
        bound = node.bound
        if node.at < node.live.size:
            done = int(node.live[node.at])
            bound = max(bound, float(node.totals[done]))
            if not node.more:  # every child left is live: the least of their bounds holds
                bound = max(bound, float(np.min(node.keys[node.at :])))
        elif node.more:
            done = node.totals.size
            if done:
                bound = max(bound, float(node.totals[-1]))
            elif last is not None:
                bound = max(bound, last[0])
        else:
            return
        if done:
            skip += done
            last, inclusive = (float(node.totals[done - 1]), node.points[done - 1]), False
        if not bound <= self.limit:
            return
        j = self.m - 1 - node.depth
        after = b""
        if skip and last is not None:
            after = little_endian(last[1] + self.origin[8 * j : 8 * j + 8])
        self.open.append(Chamber(node.prefix, skip, after, bound, inclusive=inclusive))

    def result(self) -> bytes:
        """Canonical bytes of the result."""
        objective = self.best if self.point else float("inf")
        chambers, counts = tuple(self.open), tuple(self.counts)
        return TaskResult(self.work, objective, self.point, chambers, counts).to_bytes()
