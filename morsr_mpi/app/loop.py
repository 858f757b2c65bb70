"""The loop: carries out what a node wants, over a real or an in-memory transport.

A rank computes in slices of a few milliseconds and looks after its messages between them.
The next exchange round starts when the last is complete and either the interval has passed
or there is nothing to compute. A rank without work yields the processor, then sleeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.base import config
from morsr_mpi.base.errors import InternalError
from morsr_mpi.base.ports import Clock, Journal, RunLike, TaskLike, Transport
from morsr_mpi.node.core import Node
from morsr_mpi.node.effects import (
    AppendRecord,
    Cancel,
    Committed,
    Execute,
    Finished,
    Log,
    SendFrame,
    StartRound,
)
from morsr_mpi.node.events import (
    Event,
    FrameReceived,
    Proceed,
    RoundDone,
    RoundDue,
    StopRequested,
    TaskDone,
    Tick,
)
from morsr_mpi.wire.kinds import Priority
from morsr_mpi.wire.slots import EMPTY_SLOT

#: Work units are about microseconds; the first slice trusts that, later ones measure.
_UNITS_PER_SECOND = 1_000_000.0


class ExplorerLike(Protocol):
    """What computes tasks."""

    def begin(self, task: Any) -> RunLike:
        """Start a task."""


def _never() -> str:
    return ""


@dataclass
class Hooks:
    """What the application wants to know, all called between events.

    on_commit: the search after each commit (checkpoints); on_progress: the search and the
    last pulse committed, at most every `config.PROGRESS_SECONDS`, and at the end;
    stop_requested: a reason to stop, "" for none; log: lines for an operator.
    """

    on_commit: Callable[[Any], None] | None = None
    on_progress: Callable[[Any, int], None] | None = None
    stop_requested: Callable[[], str] = _never
    log: Callable[[str], None] | None = None


@dataclass
class LoopStats:
    """What one rank did. Seconds; bytes of slots (padding included) and frames handed over."""

    tasks: int = 0
    cancelled: int = 0
    work: int = 0
    rounds: int = 0
    explore_cpu: float = 0.0
    total_cpu: float = 0.0
    wall: float = 0.0
    slot_bytes: int = 0
    frame_bytes: int = 0
    received_bytes: int = 0


@dataclass
class _Job:
    """A task given out by the node."""

    pulse: int
    index: int
    task: TaskLike
    run: RunLike | None = field(default=None)


class NodeLoop:
    """One rank's loop; `turn` does one pass over everything that waits."""

    def __init__(
        self,
        node: Node,
        transport: Transport,
        clock: Clock,
        explorer: ExplorerLike,
        journal: Journal | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        """journal: where records go; None on ranks that do not write."""
        self.node = node
        self.stats = LoopStats()
        self.stopped: str | None = None
        self.news = False
        self._transport = transport
        self._clock = clock
        self._explorer = explorer
        self._journal = journal
        self._hooks = hooks or Hooks()
        self._jobs: deque[_Job] = deque()
        self._left = False
        self._in_round = False
        self._round_at = float("-inf")
        self._tick_at = float("-inf")
        self._stop_at = float("-inf")
        self._progress_at = float("-inf")
        self._units_per_second = _UNITS_PER_SECOND
        self._cpu_at = clock.cpu()
        self._wall_at = clock.now()

    @property
    def finished(self) -> bool:
        """Whether the run is over, for the other ranks too."""
        return self._left

    def turn(self) -> bool:
        """Look after messages, then compute one slice; False when there was nothing to do.

        `news` says afterwards whether it computed or heard something that mattered: entering
        and completing rounds in which nobody says anything is no reason to stay awake.
        """
        self.news = False
        now = self._clock.now()
        busy = self._look_after(now)
        if self.stopped is not None:  # others may still ask for something
            self._left = self._transport.leave()
            return busy
        if not self._in_round:
            idle = not self._jobs
            if idle or now - self._round_at >= config.ROUND_INTERVAL_SECONDS:
                self._round_at = now
                self._apply(RoundDue())
                busy = True
        if self._jobs:
            self._slice(now)
            self.news = busy = True
        return busy

    def close(self) -> LoopStats:
        """Close transport and journal; return what this rank did."""
        if self._journal is not None:
            self._journal.flush()
        self._transport.close()
        self.stats.total_cpu = self._clock.cpu() - self._cpu_at
        self.stats.wall = self._clock.now() - self._wall_at
        return self.stats

    def _look_after(self, now: float) -> bool:
        """Timers, frames, rounds."""
        busy = False
        if now - self._tick_at >= config.TICK_SECONDS:
            self._tick_at = now
            self._apply(Tick(now))
        if self.stopped is None and now - self._stop_at >= config.STOP_POLL_SECONDS:
            self._stop_at = now
            reason = self._hooks.stop_requested()
            if reason:
                self._apply(StopRequested(reason))
        busy = self._receive() or busy
        if self._jobs:
            end = now + config.TRANSFER_SLICE_SECONDS
            while self._transport.under_way and self._clock.now() < end:
                busy = self._receive() or busy
        if self._in_round:
            slots = self._transport.poll_round()
            if slots is not None:
                self._in_round = False
                self.stats.rounds += 1
                busy = True
                self._apply(RoundDone(tuple(slots)))
        return busy

    def _receive(self) -> bool:
        """Take in the frames that have arrived; False when there are none."""
        frames = self._transport.poll()
        for source, frame in frames:
            self.stats.received_bytes += len(frame)
            self._apply(FrameReceived(source, frame))
        return bool(frames)

    def _slice(self, now: float) -> None:
        """Compute for about `config.SLICE_SECONDS`: part of a task, or many short ones."""
        clock = self._clock
        cpu = clock.cpu()
        end = now + config.SLICE_SECONDS
        done: list[TaskDone] = []
        while self._jobs and now < end:
            job = self._jobs[0]
            if job.run is None:
                job.run = self._explorer.begin(job.task)
            run, before = job.run, job.run.work
            finished = run.step(max(1, int((end - now) * self._units_per_second)))
            then, now = now, clock.now()
            self._learn_speed(run.work - before, now - then)
            if finished:
                self._jobs.popleft()
                done.append(TaskDone(job.pulse, job.index, run.result(), run.work))
        self.stats.explore_cpu += clock.cpu() - cpu
        for event in done:
            self.stats.tasks += 1
            self.stats.work += event.work
            self._apply(event)

    def _learn_speed(self, units: int, seconds: float) -> None:
        """Follow the machine's speed, so that slices keep their length."""
        if seconds > config.SLICE_SECONDS / 8 and units > 0:
            measured = units / seconds
            self._units_per_second += (measured - self._units_per_second) / 4

    def _apply(self, event: Event) -> None:
        """Give the node an event and do what it wants."""
        for effect in self.node.step(event):
            if not isinstance(effect, StartRound) or effect.slot != EMPTY_SLOT:
                self.news = True
            match effect:
                case Execute():
                    self._jobs.append(_Job(effect.pulse, effect.index, effect.task))
                case StartRound():
                    self._transport.start_round(effect.slot)
                    self.stats.slot_bytes += len(effect.slot)
                    self._in_round = True
                case SendFrame():
                    self._send(effect)
                case AppendRecord():
                    if self._journal is not None:
                        self._journal.append(effect.record)
                case Committed():
                    self._committed(effect.pulse)
                case Cancel():
                    self._cancel(effect)
                case Log():
                    if self._hooks.log is not None:
                        self._hooks.log(effect.text)
                case Finished():
                    self._progress(force=True)
                    self.stopped = effect.stopped

    def _send(self, effect: SendFrame) -> None:
        """Hand a frame over; bulk that finds the way blocked is dropped and asked for again."""
        bulk = effect.priority == Priority.BULK
        if bulk and self._transport.unsent_bytes > config.MAX_UNSENT_BYTES // 2:
            return
        self._transport.send(effect.dest, effect.frame, urgent=effect.priority < Priority.RESULT)
        self.stats.frame_bytes += len(effect.frame)

    def _committed(self, pulse: int) -> None:
        """Let the application look at the state, then let the node go on."""
        if self._hooks.on_commit is not None:
            self._hooks.on_commit(self.node.search)
        self._progress()
        self._apply(Proceed())

    def _progress(self, force: bool = False) -> None:
        if self._hooks.on_progress is None:
            return
        now = self._clock.now()
        if force or now - self._progress_at >= config.PROGRESS_SECONDS:
            self._progress_at = now
            self._hooks.on_progress(self.node.search, self.node.search.committed - 1)

    def _cancel(self, cancel: Cancel) -> None:
        for job in self._jobs:
            if (job.pulse, job.index) == (cancel.pulse, cancel.index):
                self._jobs.remove(job)
                self.stats.cancelled += 1
                return


@dataclass(frozen=True)
class Outcome:
    """How a run ended on one rank. stopped: why early, "" when it is done."""

    search: Any
    stopped: str
    stats: LoopStats
    node: Node


def run_node(
    node: Node,
    transport: Transport,
    clock: Clock,
    explorer: ExplorerLike,
    journal: Journal | None = None,
    hooks: Hooks | None = None,
) -> Outcome:
    """Run one rank to its end. Errors of the node come through; the caller ends the process."""
    loop = NodeLoop(node, transport, clock, explorer, journal, hooks)
    sleep = config.IDLE_SLEEP_MIN_SECONDS
    news_at = clock.now()
    while not loop.finished:
        busy = loop.turn()
        if loop.news:
            news_at = clock.now()
            sleep = config.IDLE_SLEEP_MIN_SECONDS
            continue
        moving = transport.under_way
        spin = config.TRANSFER_SPIN_SECONDS if moving else config.IDLE_SPIN_SECONDS
        if clock.now() - news_at >= spin:
            clock.sleep(sleep)
            if not (node.expecting or moving):
                sleep = min(2.0 * sleep, config.IDLE_SLEEP_MAX_SECONDS)
        elif not busy:
            clock.sleep(0.0)
    return _outcome(loop)


def _outcome(loop: NodeLoop) -> Outcome:
    """Close a loop that has finished."""
    return Outcome(loop.node.search, loop.stopped or "", loop.close(), loop.node)


def run_in_process(
    nodes: Sequence[Node],
    explorers: Sequence[ExplorerLike],
    journals: Sequence[Journal | None] | None = None,
    hooks: Sequence[Hooks | None] | None = None,
    network: MemoryNetwork | None = None,
    clock: Clock | None = None,
) -> list[Outcome]:
    """Run all ranks in this process and thread, turn by turn; return how each ended.

    Raises InternalError when no rank makes progress any more, and whatever a node raises.
    """
    network = network or MemoryNetwork(len(nodes))
    clock = clock or SystemClock()
    loops = [
        NodeLoop(
            node,
            network.transport(rank),
            clock,
            explorers[rank],
            journals[rank] if journals else None,
            hooks[rank] if hooks else None,
        )
        for rank, node in enumerate(nodes)
    ]
    quiet_since: float | None = None
    while not all(loop.finished for loop in loops):
        busy = [loop.turn() for loop in loops if not loop.finished]
        if any(busy):
            quiet_since = None
            continue
        now = clock.now()
        quiet_since = now if quiet_since is None else quiet_since
        if now - quiet_since > 2 * config.MAX_RETRIES * config.RETRY_SECONDS:
            raise InternalError("no rank has anything to do and the run is not finished")
        clock.sleep(config.IDLE_SLEEP_MIN_SECONDS)
    return [_outcome(loop) for loop in loops]
