"""A simulated cluster: nodes and their loops, unchanged, under virtual time.

Each rank has a processor of its own. A turn of its loop happens at a moment of the queue; what
it computes is charged to its clock, and its next turn comes when that has passed. A rank that
has nothing to do sleeps until something arrives or its next tick is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from morsr_mpi.adapters.journal_file import MemoryJournal
from morsr_mpi.adapters.simulated import (
    Conduct,
    EventQueue,
    SimulatedClock,
    SimulatedNetwork,
    SimulatedTransport,
)
from morsr_mpi.app.jobs import ExplorerLike
from morsr_mpi.app.loop import Hooks, NodeLoop
from morsr_mpi.base.config import (
    IDLE_SLEEP_MAX_SECONDS,
    IDLE_SLEEP_MIN_SECONDS,
    IDLE_SPIN_SECONDS,
    TICK_SECONDS,
)
from morsr_mpi.base.errors import MorsrError
from morsr_mpi.base.ports import RunLike, Signer, Transport
from morsr_mpi.node.core import Node


@dataclass
class Rest:
    """When a rank without news looks at its messages: at once for `spin` seconds, then after
    sleeps that double from `least` to `most` seconds, as `app.loop.run_node` does it."""

    spin: float = IDLE_SPIN_SECONDS
    least: float = IDLE_SLEEP_MIN_SECONDS
    most: float = IDLE_SLEEP_MAX_SECONDS

    def __post_init__(self) -> None:
        self._news_at = 0.0
        self._look_at = 0.0
        self._sleep = self.least

    def news(self, now: float) -> None:
        """Something happened: stay awake."""
        self._news_at = self._look_at = now
        self._sleep = self.least

    def look(self, arrival: float) -> float:
        """Return when something that arrives at a time is seen."""
        if arrival - self._news_at < self.spin:
            return arrival
        self._look_at = max(self._look_at, self._news_at + self.spin)
        while self._look_at < arrival:
            self._look_at += self._sleep
            self._sleep = min(2.0 * self._sleep, self.most)
        return self._look_at


@dataclass(frozen=True)
class Costs:
    """Seconds of processor time of a simulated rank. unit: of one work unit; turn: of one pass of
    the loop; frame: of opening one frame besides its signature; sign, verify: of one signature."""

    unit: float = 1e-6
    turn: float = 1e-6
    frame: float = 0.0
    sign: float = 0.0
    verify: float = 0.0


class _CostlyRun:
    """Charges the clock for the work of a task."""

    def __init__(self, run: RunLike, seat: Seat) -> None:
        self._run = run
        self._seat = seat

    @property
    def work(self) -> int:
        return self._run.work

    def step(self, units: int) -> bool:
        before = self._run.work
        finished = self._run.step(units)
        self._seat.clock.charge((self._run.work - before) * self._seat.unit_seconds())
        return finished

    def result(self) -> bytes:
        return self._run.result()


class _CostlyExplorer:
    """Begins tasks whose work is charged."""

    def __init__(self, explorer: ExplorerLike, seat: Seat) -> None:
        self._explorer = explorer
        self._seat = seat

    def begin(self, task: Any) -> RunLike:
        self._seat.begun += 1
        return _CostlyRun(self._explorer.begin(task), self._seat)


class CostlySigner:
    """A signer whose signatures are charged to a clock. counts: signed, verified."""

    def __init__(self, signer: Signer, clock: SimulatedClock, costs: Costs) -> None:
        self._signer = signer
        self._clock = clock
        self._costs = costs
        self.signed = 0
        self.verified = 0
        self.mode = signer.mode
        self.public_key = signer.public_key
        self.signature_bytes = signer.signature_bytes

    def sign(self, data: bytes) -> bytes:
        """Sign, and take the time."""
        self.signed += 1
        self._clock.charge(self._costs.sign)
        return self._signer.sign(data)

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Verify, and take the time."""
        self.verified += 1
        self._clock.charge(self._costs.frame + self._costs.verify)
        return self._signer.verify(public_key, data, signature)


class Seat:
    """One rank: its node, loop, clock, and when it has its next turn."""

    def __init__(
        self, rank: int, queue: EventQueue, transport: SimulatedTransport, costs: Costs
    ) -> None:
        self.rank = rank
        self.clock = transport.clock
        self.transport = transport
        self.port: Transport = transport  # what the loop sees: it may be wrapped to count
        self.journal = MemoryJournal()
        self.error: MorsrError | None = None
        self.begun = 0
        self.turns = 0
        self.slowness: Callable[[float], float] = lambda now: 1.0
        self.ready_at: Callable[[float], float] = lambda when: when
        self.rest = Rest()
        self.finished_at: float | None = None
        self.loop: NodeLoop | None = None
        self._costs = costs
        self._queue = queue
        self._due: float | None = None

    def unit_seconds(self) -> float:
        """Seconds of one work unit here and now."""
        return self._costs.unit * self.slowness(self._queue.now)

    def open(self, node: Node, explorer: ExplorerLike, hooks: Hooks) -> None:
        """Put a node into the seat and give it its first turn."""
        self.node = node
        costly = _CostlyExplorer(explorer, self)
        self.loop = NodeLoop(node, self.port, self.clock, costly, self.journal, hooks)
        self.transport.wake = self._woken
        self._turn_at(0.0)

    @property
    def over(self) -> bool:
        """Whether this rank has no further turn."""
        return self.finished_at is not None or self.error is not None

    def _woken(self) -> None:
        self._turn_at(self.rest.look(self._queue.now))

    def _turn_at(self, when: float) -> None:
        """Have the next turn at a time, unless one comes earlier."""
        when = self.ready_at(max(when, self.clock.busy_until))
        if self.over or (self._due is not None and self._due <= when):
            return
        self._due = when
        self._queue.at(when, lambda: self._turn(when))

    def _turn(self, when: float) -> None:
        loop = self.loop
        if self._due != when or self.over or loop is None:
            return  # an earlier turn took its place
        ready = self.ready_at(self._queue.now)
        if ready > self._queue.now:
            self._due = None
            self._turn_at(ready)
            return
        self.clock.charge(self._costs.turn)
        self.turns += 1
        try:
            loop.turn()
        except MorsrError as error:
            self.error = error
            self.transport.wake = lambda: None
            return
        self._due = None
        now = self.clock.now()
        if loop.finished:
            self.finished_at = now
            return
        if loop.news or self.transport.under_way:
            self.rest.news(now)
            self._turn_at(now)
        else:
            self._turn_at(now + TICK_SECONDS)


@dataclass
class Cluster:
    """The ranks of one simulated run. on_commit: told of (rank, node) after each commit."""

    size: int
    conduct: Conduct
    costs: Costs = field(default_factory=Costs)
    on_commit: Callable[[int, Node], None] | None = None

    def __post_init__(self) -> None:
        self.queue = EventQueue()
        self.network = SimulatedNetwork(self.size, self.queue, self.conduct)
        self.seats = [
            Seat(r, self.queue, self.network.transport(r), self.costs) for r in range(self.size)
        ]

    def open(
        self,
        make_node: Callable[[int, SimulatedClock], Node],
        explorers: Sequence[ExplorerLike],
        stop: Callable[[int], Callable[[], str]] | None = None,
    ) -> None:
        """Put a node into every seat. make_node: called with the rank and its clock."""
        for seat in self.seats:
            hooks = Hooks(on_commit=self._committed(seat))
            if stop is not None:
                hooks.stop_requested = stop(seat.rank)
            seat.open(make_node(seat.rank, seat.clock), explorers[seat.rank], hooks)

    def _committed(self, seat: Seat) -> Callable[[Any], None]:
        def committed(search: Any) -> None:
            if self.on_commit is not None:
                self.on_commit(seat.rank, seat.node)

        return committed

    def run(self, until: float, watch: Callable[[], bool] | None = None) -> None:
        """Let things happen until every rank is over, time is up, or `watch` says so."""
        queue = self.queue
        while queue.now <= until and not all(seat.over for seat in self.seats):
            if (watch is not None and watch()) or not queue.step():
                return
