"""The search for one target in one component of Q: incumbent, schedule position, frontier.

What it does next depends on its own committed results alone, never on other targets or components
of the job; pulses only gather such steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.digest import digest_of
from morsr_mpi.base.errors import InternalError
from morsr_mpi.lattice.tilecode import pack_tiles
from morsr_mpi.search import frontier_codec, schedule
from morsr_mpi.search.batches import Batch, total_budget
from morsr_mpi.search.chambers import Chamber, pack
from morsr_mpi.search.diversity import Diversity
from morsr_mpi.search.frontier import Frontier
from morsr_mpi.search.tasks import ADVANCE, COMPLETE, PROVE, Task, TaskResult
from morsr_mpi.search.walks import MAX_WALKS, Walks, walks_of

INFINITY = float("inf")


@dataclass
class TargetState:
    """Replicated state of one target in one part of the problem; changes only in plan and commit.

    targets: number of targets of the problem, which share factorisations.
    limit_scale: factor from an objective to the pruning limit in lattice units (Prepared.slack).
    frontier: the open chambers, within their limit.
    banded: whether Q has a band whose order is tried.
    """

    target: int
    part: int
    targets: int
    tiles: int
    limit_scale: float
    frontier: Frontier
    banded: bool = False
    objective: float = INFINITY
    point: bytes = b""
    rung: int = 0
    position: int = 0  # next beam of the rung
    thrift: float = 1.0  # work of the last beams over what was predicted without pruning
    diversity: Diversity = field(default_factory=Diversity)
    walks: Walks = field(default_factory=Walks)
    fill: float = 1.0  # work of the last enumeration over its budget
    beam_work: int = 0
    walk_work: int = 0
    proof_work: int = 0
    batches: int = 0
    hungry: bool = False  # the last enumeration used most of its budget
    bundle: int = schedule.MIN_BUNDLE  # chambers of one enumeration task
    ready: list[Batch] = field(default_factory=list)  # planned, in no pulse yet
    flight: dict[int, Batch] = field(default_factory=dict)  # by pulse, ascending
    best_bound: float = 0.0  # greatest proven bound so far, lattice units
    _digest: bytes = b""

    @classmethod
    def begin(
        cls,
        target: int,
        part: int,
        targets: int,
        tiles: int,
        limit_scale: float,
        limit: int,
        banded: bool = False,
    ) -> TargetState:
        """Return the state before anything was explored: one chamber, the whole space.

        limit: open chambers at most.
        """
        frontier = Frontier(limit, tiles)
        frontier.add([Chamber(None, 0, b"", 0.0)])
        return cls(target, part, targets, tiles, limit_scale, frontier, banded)

    @property
    def work(self) -> int:
        """Committed work units."""
        return self.beam_work + self.walk_work + self.proof_work

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left that could be better: the certificate."""
        return not self.frontier and not self.ready and self.idle

    @property
    def idle(self) -> bool:
        """Whether nothing of it in a pulse is open."""
        return all(batch.closed for batch in self.flight.values())

    @property
    def bound(self) -> float:
        """Greatest proven lower bound of the optimum in lattice units, before δ."""
        return self.best_bound

    def refill(self, depth: int) -> None:
        """Plan until `depth` batches are planned and not committed, or nothing is left to plan.

        Whether it is called at once after a commit or just before the next makes no difference:
        only a commit changes what would be planned.  So the sequence of a target is fixed: plan
        `depth` batches, then for each batch: commit it, plan another.
        """
        while len(self.ready) + sum(not b.closed for b in self.flight.values()) < depth:
            tasks = self._plan_batch()
            if not tasks:
                break
            self.ready.append(Batch(tasks))
            self._digest = b""

    def launch(self, pulse: int) -> tuple[Task, ...]:
        """Move the next batch into a pulse and return its tasks; empty when none is ready."""
        if not self.ready:
            return ()
        batch = self.ready.pop(0)
        self.flight[pulse] = batch
        self._digest = b""
        return batch.tasks

    def _plan_batch(self) -> tuple[Task, ...]:
        if not self.frontier:
            return ()
        share = schedule.proof_share(8 * self.tiles)
        heuristics = self.beam_work + self.walk_work
        due = self.rung > 0 and self.proof_work < share * heuristics
        if due:
            return self._plan_proof()
        if self.rung > 0 and self.point and self.walks.due(self.walk_work, self.beam_work):
            return self._plan_walks()
        return self._plan_beams() or self._plan_proof()

    def _plan_walks(self) -> tuple[Task, ...]:
        """Plan walks from the incumbent, as many as fit into a batch."""
        steps = self.walks.patience
        weight = schedule.walk_units(steps, self.tiles)
        room = int(schedule.BATCH_SHARE * self.work / weight)
        start = pack_tiles(self.point)
        out = []
        for _ in range(min(MAX_WALKS, max(1, room))):
            body = (start, steps, self.walks.seed())
            out.append(Task(ADVANCE, self.target, self.part, self.objective, body, weight))
        return tuple(out)

    def _plan_beams(self) -> tuple[Task, ...]:
        m = self.tiles
        if self.position == 0:
            self.diversity.choose()
        further, steps = self.diversity.count, self.walks.after_beam
        beams = schedule.rung(self.rung, m, self.targets, further, steps, self.banded)
        room = schedule.BATCH_SHARE * self.work
        tasks: list[Task] = []
        while self.position < len(beams):
            group, weight = schedule.bundle(beams[self.position :], m, self.thrift)
            room -= weight
            if tasks and room < 0.0:
                break
            body = tuple(beam.fields() for beam in group)
            tasks.append(Task(COMPLETE, self.target, self.part, self.objective, body, weight))
            self.position += len(group)
        if self.position == len(beams):
            self.rung += 1
            self.position = 0
        return tuple(tasks)

    def _plan_proof(self) -> tuple[Task, ...]:
        # An interrupted task leaves one remainder per tile at most, for which there must be room.
        most = max(1, min(schedule.proof_tasks(self.work), self.frontier.room // self.tiles))
        # Too few chambers to feed a batch, and such as use up their budget: hand back children
        # instead of entering them.
        few = len(self.frontier) < schedule.proof_tasks(self.work)
        splitting = self.hungry and few and not self.frontier.deep
        chosen = self.frontier.take(most * self.bundle)
        tasks = min(most, len(chosen))
        budget = schedule.proof_budget(self.work)
        out = []
        for i in range(tasks):
            # Dealt out one by one, so that every task gets chambers of all bounds.
            body = (pack(chosen[i::tasks]), schedule.SPLIT if splitting else 0, budget)
            weight = self.fill * float(budget)
            out.append(Task(PROVE, self.target, self.part, self.objective, body, weight))
        return tuple(out)

    def commit(self, pulse: int, results: Sequence[bytes]) -> None:
        """Take in all results of the batch in a pulse, in the order of its tasks."""
        batch = self._in_flight(pulse)
        if len(results) != len(batch.tasks):
            raise InternalError(f"{len(results)} results for {len(batch.tasks)} tasks in flight")
        self.settle(pulse, range(len(results)), results)

    def settle(self, pulse: int, indices: Sequence[int], results: Sequence[bytes]) -> None:
        """Take in results of some tasks of the batch in a pulse, in the order given."""
        batch = self._in_flight(pulse)
        opened: list[Chamber] = []
        before = self.objective
        for index, data in zip(indices, results, strict=True):
            result = TaskResult.from_bytes(data)
            task = batch.settle(index, result.work)
            if task.kind == PROVE:
                self.proof_work += result.work
                opened.extend(result.chambers)
            elif task.kind == ADVANCE:
                self.walk_work += result.work
            else:
                self.beam_work += result.work
                self.diversity.note(task.body, result.values)
                self.walks.note_beams(*walks_of(result.counts))
            if result.point and (result.objective, result.point) < (self.objective, self.point):
                self.objective, self.point = result.objective, result.point
        self._close(pulse, opened, before)

    def drop(self, pulse: int) -> None:
        """Give up what is open of the batch in a pulse; its chambers return to the frontier."""
        batch = self._in_flight(pulse)
        if batch.closed:
            return
        left = batch.open
        returned = batch.chambers(left)
        batch.settled = [True] * len(batch.tasks)
        self._close(pulse, returned, self.objective)

    def retire(self, pulse: int) -> None:
        """Forget the batch in a pulse of which nothing is open."""
        if not self._in_flight(pulse).closed:
            raise InternalError(f"pulse {pulse} has open tasks of target {self.target}")
        del self.flight[pulse]
        self._digest = b""

    def _in_flight(self, pulse: int) -> Batch:
        if pulse not in self.flight:
            raise InternalError(f"target {self.target} has no task in pulse {pulse}")
        return self.flight[pulse]

    def _close(self, pulse: int, opened: list[Chamber], pruned_at: float) -> None:
        """Take in chambers; learn from the batch when nothing of it is open.

        pruned_at: the incumbent's objective that the frontier was last pruned with.
        """
        batch = self.flight[pulse]
        if batch.closed:
            self.batches += 1
            self._learn(batch, self.objective < pruned_at)
        cutoff = self.objective * self.limit_scale
        if self.objective < pruned_at:
            self.frontier.prune(cutoff)
        self.frontier.add(opened, cutoff)
        self.frontier.shrink(self._chambers_in_flight)
        least = self.frontier.least
        for other in (*self.ready, *self.flight.values()):
            least = min(least, other.bound)
        self.best_bound = max(self.best_bound, min(least, cutoff))
        self._digest = b""

    def _learn(self, batch: Batch, improved: bool) -> None:
        """Adapt predictions and the size of bundles to what a batch cost and found."""
        if batch.kind == ADVANCE:
            self.walks.note_walks(improved)
            return
        budget = total_budget(batch.tasks)
        if batch.kind == COMPLETE:
            measured = self.thrift * batch.used / budget
            self.thrift = min(2.0, max(1.0 / 256.0, measured))
            return
        self.hungry = batch.used > 0.5 * budget
        self.fill = min(1.0, max(1.0 / 64.0, batch.used / budget))
        # Many chambers turn out small: bundles grow until tasks fill their budget.
        if batch.used < 0.5 * budget:
            self.bundle = min(schedule.MAX_BUNDLE, 2 * self.bundle)
        elif batch.used > 0.9 * budget:
            self.bundle = max(schedule.MIN_BUNDLE, self.bundle // 2)

    def _chambers_in_flight(self) -> list[Chamber]:
        """Chambers of the tasks that are planned and not committed."""
        batches = (*self.ready, *self.flight.values())
        return [chamber for batch in batches for chamber in batch.chambers(batch.open)]

    def to_bytes(self) -> bytes:
        """Canonical bytes of the whole state, what is in flight included."""
        return self.capture()()

    def capture(self) -> Callable[[], bytes]:
        """Hold the state as it is now; what is returned makes its bytes later, in any thread."""
        head, view, batches = self._head(), self.frontier.view(), self._open()
        return lambda: encode((head, frontier_codec.encode_frontier(view), *batches))

    def _head(self) -> tuple[object, ...]:
        return (
            (self.target, self.part, self.targets, self.tiles, self.limit_scale, self.banded),
            (self.objective, self.point),
            (self.rung, self.position),
            (self.beam_work, self.walk_work, self.proof_work),
            (self.batches, self.hungry, self.bundle),
            (self.best_bound, self.thrift, self.fill),
            self.diversity.fields(),
            self.walks.fields(),
        )

    def _open(self) -> tuple[object, object]:
        return (
            tuple(batch.to_bytes() for batch in self.ready),
            tuple((pulse, batch.to_bytes()) for pulse, batch in self.flight.items()),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> TargetState:
        """Inverse of to_bytes; raises InternalError when malformed."""
        match decode(data):
            case (
                (
                    (int(target), int(part), int(k), int(tiles), float(scale), bool(banded)),
                    (float(objective), bytes(point)),
                    (int(rung), int(position)),
                    (int(beam), int(walk), int(proof)),
                    (int(batches), bool(hungry), int(bundle)),
                    (float(bound), float(thrift), float(fill)),
                    tuple(diversity),
                    tuple(walks),
                ),
                tuple(columns),
                tuple(ready),
                tuple(flight),
            ):
                frontier = frontier_codec.decode_frontier(columns, tiles)
                state = cls(target, part, k, tiles, scale, frontier, banded, objective, point)
                state.rung, state.position = rung, position
                state.beam_work, state.walk_work, state.proof_work = beam, walk, proof
                state.batches = batches
                state.hungry, state.bundle = hungry, bundle
                state.best_bound, state.thrift, state.fill = bound, thrift, fill
                state.diversity = Diversity.from_fields(diversity)
                state.walks = Walks.from_fields(walks)
                state.ready = [Batch.from_bytes(bytes(data)) for data in ready]
                for pulse, data in flight:
                    state.flight[int(pulse)] = Batch.from_bytes(bytes(data))
                return state
            case _:
                raise InternalError("malformed state of a target")

    def digest(self) -> bytes:
        """SHA-256 that stands for the whole state; costs what has changed since the last call."""
        if not self._digest:
            self._digest = digest_of(
                "morsr-target", self._head(), self.frontier.digest(), *self._open()
            )
        return self._digest
