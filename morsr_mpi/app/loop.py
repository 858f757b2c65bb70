"""The loop: carries out what a node wants, over a real or an in-memory transport.

A rank computes in slices of a few milliseconds and looks after its messages between them.
The next exchange round starts when the last is complete and either the interval has passed
or there is nothing to compute. A rank without work yields the processor, then sleeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.app.accounting import Meter, MeteredSearch
from morsr_mpi.app.hooks import Hooks as Hooks
from morsr_mpi.app.hooks import LoopStats as LoopStats
from morsr_mpi.app.jobs import ExplorerLike, Jobs
from morsr_mpi.base import config
from morsr_mpi.base.errors import ConvictedError, ExcludedError, InternalError
from morsr_mpi.base.ports import Clock, Journal, Transport
from morsr_mpi.node.core import Node
from morsr_mpi.node.effects import (
    AppendRecord,
    Cancel,
    Committed,
    Contributed,
    Convicted,
    Evidence,
    Execute,
    Finished,
    Log,
    Recheck,
    ReplicaHeard,
    SendFrame,
    StartRound,
    Yield,
)
from morsr_mpi.node.events import (
    Event,
    FrameReceived,
    Proceed,
    RoundDone,
    RoundDue,
    RoundLate,
    SendReplicas,
    StopRequested,
    TasksDone,
    Tick,
)
from morsr_mpi.node.patience import Patience
from morsr_mpi.storage.store_messages import Send
from morsr_mpi.wire.kinds import Priority
from morsr_mpi.wire.slots import EMPTY_SLOT


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
        patience: Patience | None = None,
    ) -> None:
        """journal: where records go; None on ranks that do not write. patience: of a crew that
        notes every look at the transport; None to note them here."""
        self.node = node
        self._hooks = hooks or Hooks()
        self.stats = self._hooks.stats
        self.meter = self.stats.meter = Meter(clock, self._hooks.watcher)
        node.use_search(MeteredSearch(node.search, self.meter))
        self.stopped: str | None = None
        self.news = False
        self._transport = transport
        self._clock = clock
        self._journal = journal
        self._jobs = Jobs(explorer, clock, getattr(explorer, "anew", None), self.stats)
        self._left = False
        self._in_round = False
        self._round_at = float("-inf")
        self._interval = config.ROUND_INTERVAL_SECONDS
        self._tick_at = float("-inf")
        self._stop_at = float("-inf")
        self._progress_at = float("-inf")
        self._relay_at = float("-inf")
        self._turn_at = clock.now()
        self._had_jobs = False
        self._verdicts: list[tuple[float, Convicted]] = []
        self._watched = patience is not None  # then others note the looks
        self._patience = patience or Patience()
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
        self._count_busy(now)
        self.meter.turn_to("exchange")
        mark = self.meter.seconds["exchange"]
        busy = self._turn(now)
        self.meter.turn_to("wait")
        if not self.news:
            self.meter.reclassify("exchange", mark, "wait")
        return busy

    def _turn(self, now: float) -> bool:
        busy = self._look_after(now)
        if self._verdicts and now >= self._verdicts[0][0] + config.FAREWELL_TO_LIARS_SECONDS:
            verdict = self._verdicts[0][1]  # by now the others have the votes behind it
            if self.node.settings.rank in verdict.ranks:
                raise ExcludedError(f"the others went on without this one: {verdict.why}")
            raise ConvictedError(verdict.ranks, verdict.why)
        if self.stopped is not None:  # others may still ask for something
            self._left = self._transport.leave()
            return busy
        if not self._in_round:
            idle = not self._jobs
            if idle or now - self._round_at >= self._interval:
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
        self.meter.turn_to("wait")
        jobs = self._jobs
        self.stats.tasks, self.stats.cancelled = jobs.finished, jobs.cancelled
        self.stats.known = jobs.known
        self.stats.work, self.stats.wasted = jobs.work, jobs.wasted
        self.stats.cpu = dict(self.meter.seconds)
        self.stats.total_cpu = self._clock.cpu() - self._cpu_at
        self.stats.wall = self._clock.now() - self._wall_at
        return self.stats

    def _look_after(self, now: float) -> bool:
        """Timers, frames, rounds."""
        busy = False
        if now - self._tick_at >= config.TICK_SECONDS:
            self._tick_at = now
            spent = self._jobs.spent
            work = self._jobs.work + self._jobs.wasted + spent
            gap = self._patience.longest
            self._apply(Tick(now, work, spent, int(1000.0 * self.stats.busy), gap))
            replicas = self._hooks.replicas
            if replicas is not None and self.node.has_met and self.stopped is None:
                self._say(self.meter.measure("ledger", lambda: replicas.tick(now)))
        if self.stopped is None and now - self._stop_at >= config.STOP_POLL_SECONDS:
            self._stop_at = now
            reason = self.meter.measure("ledger", self._hooks.stop_requested)
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
                self.stats.round_seconds.add(now - self._round_at)
                self._pace(slots)
                busy = True
                self._apply(RoundDone(tuple(slots)))
            elif (
                now - self._round_at >= self._patience.allowed(config.ROUND_LATE_SECONDS)
                and now - self._relay_at >= config.RELAY_SECONDS
            ):
                self._relay_at = now
                self._apply(RoundLate())
        return busy

    def _count_busy(self, now: float) -> None:
        """Add up the time with something to compute; a stop of the process is no such time."""
        if not self._watched:
            self._patience.look(now, self._clock.cpu())
        if self._had_jobs:
            self.stats.busy += min(now - self._turn_at, config.ROUND_LATE_SECONDS)
        self._turn_at, self._had_jobs = now, bool(self._jobs)

    def _pace(self, slots: Sequence[bytes]) -> None:
        """All ranks see whether anybody has said something: rounds follow soon then, or later."""
        if all(slot == EMPTY_SLOT for slot in slots):
            self._interval = min(2.0 * self._interval, config.MAX_ROUND_INTERVAL_SECONDS)
        else:
            self._interval = config.ROUND_INTERVAL_SECONDS

    def _receive(self) -> bool:
        """Take in the frames that have arrived; False when there are none."""
        frames = self._transport.poll()
        for source, frame in frames:
            self.stats.received_bytes += len(frame)
            self._apply(FrameReceived(source, frame))
        return bool(frames)

    def _slice(self, now: float) -> None:
        """Compute for a while, and give the node what is finished."""
        what = "check" if self._jobs.checking else "explore"
        done = self.meter.measure(what, lambda: self._jobs.slice(now))
        if done:
            self._apply(TasksDone(tuple(done)))

    def _apply(self, event: Event) -> None:
        """Give the node an event and do what it wants."""
        for effect in self.node.step(event):
            if not isinstance(effect, StartRound) or effect.slot != EMPTY_SLOT:
                self.news = True
            match effect:
                case Execute():
                    self._jobs.add(effect.pulse, effect.index, effect.task)
                case Recheck():
                    self._jobs.add_anew(effect.pulse, effect.index, effect.task, effect.after)
                case StartRound():
                    self._transport.start_round(effect.slot)
                    self.stats.slot_bytes += len(effect.slot)
                    self._in_round = True
                case SendFrame():
                    self._send(effect)
                case AppendRecord():
                    self._append(effect.record)
                case Contributed():
                    self._contributed(effect)
                case Evidence():
                    if self._hooks.on_evidence is not None:
                        self._hooks.on_evidence(effect.name, effect.data)
                case Convicted():
                    self._verdicts.append((self._clock.now(), effect))
                case Committed():
                    self._committed(effect)
                case ReplicaHeard():
                    self._heard(effect)
                case Cancel():
                    self._jobs.drop(effect.pulse, effect.index, begun=True)
                case Yield():
                    self._jobs.drop(effect.pulse, effect.index, begun=False)
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

    def _append(self, record: bytes) -> None:
        journal = self._journal
        if journal is not None:
            self.meter.measure("ledger", lambda: journal.append(record))

    def _contributed(self, mine: Contributed) -> None:
        on_tasks = self._hooks.on_tasks
        if on_tasks is not None:
            self.meter.measure("ledger", lambda: on_tasks(mine))

    def _heard(self, effect: ReplicaHeard) -> None:
        """Let the replicated store answer."""
        replicas = self._hooks.replicas
        if replicas is not None:
            said = self.meter.measure("ledger", lambda: replicas.heard(effect.sender, effect.said))
            self._say(said)

    def _say(self, said: tuple[Send, ...]) -> None:
        if said:
            self._apply(SendReplicas(said))

    def _committed(self, effect: Committed) -> None:
        """Let the application look at the state, then let the node go on."""
        replicas = self._hooks.replicas
        if replicas is not None:
            self.meter.measure("ledger", lambda: replicas.committed(effect.taken))
        on_commit = self._hooks.on_commit
        if on_commit is not None:
            self.meter.measure("ledger", lambda: on_commit(self.node.search))
        self._progress()
        self._apply(Proceed())

    def _progress(self, force: bool = False) -> None:
        if self._hooks.on_progress is None:
            return
        now = self._clock.now()
        if force or now - self._progress_at >= config.PROGRESS_SECONDS:
            self._progress_at = now
            self._hooks.on_progress(self.node.search, self.node.search.committed - 1)


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
    patience: Patience | None = None,
) -> Outcome:
    """Run one rank to its end; arguments as of `NodeLoop`.

    Errors of the node come through; the caller ends the process.
    """
    loop = NodeLoop(node, transport, clock, explorer, journal, hooks, patience)
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
