"""The node: events in, effects out (DESIGN sections 3 and 6).

It composes the replicated search, its pulses, the exchange rounds and the journal's chain, and
knows neither clock nor network nor file. S takes the same path on every rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from morsr_mpi.base.config import MAX_PENDING_FRAMES, MAX_PULSE_SKEW
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.base.ports import SearchMachine, Signer, Store
from morsr_mpi.node.certifier import Certifier
from morsr_mpi.node.channel import Channel
from morsr_mpi.node.claims import ClaimBook, Sound
from morsr_mpi.node.effects import (
    AppendRecord,
    Committed,
    Effect,
    Finished,
    Log,
    ReplicaHeard,
    StartRound,
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
    TaskDone,
    TasksDone,
    Tick,
)
from morsr_mpi.node.facts import NodeFacts
from morsr_mpi.node.fetch import FetchBook
from morsr_mpi.node.free import FreeBook
from morsr_mpi.node.inbox import Heard
from morsr_mpi.node.life import LifeSigns
from morsr_mpi.node.orders import ChamberScheduler
from morsr_mpi.node.pacing import hold_seconds
from morsr_mpi.node.pulses import PlansDifferError, PulseBook
from morsr_mpi.node.records import RecordBook
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.node.startup import Roster, hello_slot, open_roster
from morsr_mpi.node.stop import StopBook, end_of_run
from morsr_mpi.node.watch import StateWatch
from morsr_mpi.node.work import PulseWork
from morsr_mpi.provenance.chain import ChainPoint
from morsr_mpi.wire.messages import (
    Announcement,
    CacheRequest,
    CacheResponse,
    Done,
    Message,
    Order,
    Replica,
    Results,
    SlotRequest,
    StopRequest,
)
from morsr_mpi.wire.steering import Heartbeat, Proposal, Reassignment
from morsr_mpi.wire.votes import Vote

Handle = Callable[[int, Message], None]


class Node(NodeFacts):
    """One rank's node. `step` is the only way in."""

    def __init__(
        self,
        settings: NodeSettings,
        search: SearchMachine,
        signer: Signer,
        store: Store,
        journal_at: ChainPoint | None = None,
        sound: Sound | None = None,
    ) -> None:
        """search: S, the same on all ranks; journal_at: where rank 0's journal stands; sound:
        whether a result may be one of a task, looked at before it is used."""
        self._sound = sound
        self.settings = settings
        self.search = search
        self._signer = signer
        self._journal_at = journal_at or ChainPoint()
        self._roster: Roster | None = None
        self._tick = Tick(0.0)
        self._paused, self._plan_due = False, True
        self._stopped = ""
        self._own_done: Done | None = None
        self.finished = False
        self._effects: list[Effect] = []
        self._early: list[FrameReceived] = []
        self._pulses = PulseBook(search, settings.lag)
        self._free = FreeBook(self._pulses) if settings.free else None
        self._stop = StopBook(settings.size)
        self._fetch = FetchBook(store)
        self._life = LifeSigns(settings.rank, settings.size, 0.0)
        self._records = RecordBook(2 * (settings.lag + MAX_PULSE_SKEW + 1))

    # --- events --------------------------------------------------------------------------
    def step(self, event: Event) -> list[Effect]:
        """Return what an event makes to be done, in order. Raises InternalError, UsageError."""
        match event:
            case TasksDone():
                self._tasks_done(event.tasks)
            case RoundDue():
                self._round_due()
            case RoundDone():
                self._round_done(event.slots)
            case FrameReceived():
                self._frame(event)
            case Proceed():
                self._paused = False
            case Tick():
                self._tick = event
                self._life.tick(event)
                self._rebalance()
                if self._roster is not None:
                    self._channel.pacer.now = event.now
                    waits = self._own_done is None and self._waits()
                    self._votes.tick(event.now, waits, self._watch.difference)
            case RoundLate():
                self._round_late()
            case StopRequested():
                self._request_stop(event.reason)
            case SendReplicas() if self._roster is not None:
                for item in event.messages:
                    self._send(item.dest, Replica(item.message))
        if self._roster is not None and not self.finished:
            self._advance()
        if self._roster is not None:
            self._effects.extend(self._channel.due(self._tick.now))
        effects, self._effects = self._effects, []
        return effects

    def _round_due(self) -> None:
        if self.finished:
            raise InternalError("no round follows the last")
        if self._roster is None:
            slot = hello_slot(self.settings, self._signer, self.search, self._journal_at)
        else:
            self._beat()
            self._channel.pacer.work(*self._work.left)
            slot, announced = self._channel.slot(self._watch.committed, self._watch.state)
            self._fetch.hold_all(announced)
        self._effects.append(StartRound(slot))

    def _round_late(self) -> None:
        """Say over point-to-point what waits: a rank that is silent must not stop the others."""
        if self._roster is None or self.finished:
            return
        self._beat()
        effects, announced = self._channel.relays(self._watch.committed, self._watch.state)
        self._fetch.hold_all(announced)
        self._effects.extend(effects)
        self._note_done()  # those who have heard it may enter no further round

    def _note_done(self) -> None:
        """The others have what this rank said: if that includes that it is done, it is."""
        if self._own_done is not None and self._channel.said_all:
            self._stop.finish(self.settings.rank, self._own_done)

    def _beat(self) -> None:
        """Say how far this rank is, if it is time."""
        beat = self._life.heartbeat(self._channel.late)
        if beat is not None:
            self._work.hear(self.settings.rank, beat)
            self._channel.say(beat)

    def _rebalance(self) -> None:
        """As coordinator: move what is late to other ranks."""
        if self._roster is None or self._own_done is not None or not self._life.look_due():
            return
        for moved in self._work.rebalance(self._tick.now, self._life.silent()):
            self._channel.say(moved)

    def _round_done(self, slots: tuple[bytes, ...]) -> None:
        if self._roster is None:
            self._meet(slots)
            return
        self._life.hear_all()
        heard, lines = self._channel.round_done(slots, self._tick.now)
        self._effects.extend(lines)
        self._note_done()
        for slot in heard:
            self._take(slot)

    def _frame(self, event: FrameReceived) -> None:
        if self._roster is None:
            # The others have met already and this rank has not looked at the round since.
            if len(self._early) < MAX_PENDING_FRAMES * self.settings.size:
                self._early.append(event)
            return
        try:
            opened = self._channel.open(event.frame, event.source)
            self._life.hear(opened.sender)
            if opened.heard is not None:
                self._take(opened.heard)
        except ProtocolError as error:
            self._refuse(event.source, error)
            return
        for message in opened.messages:
            self._hear(opened.sender, message, self._direct)

    def _request_stop(self, reason: str) -> None:
        request = self._stop.request(reason)
        if request is not None and self._roster is not None and not self._work.coordinating:
            self._channel.say(request)

    def _tasks_done(self, tasks: Sequence[TaskDone]) -> None:
        for task in tasks:
            if task.anew:
                self._votes.done(task)
            elif self._work.done(task):
                self._channel.add_result(task.pulse, task.index, task.result)

    def _meet(self, slots: tuple[bytes, ...]) -> None:
        settings, search = self.settings, self.search
        roster = open_roster(settings, self._signer, slots)
        self._effects.append(AppendRecord(roster.record))
        signed = bool(self._signer.signature_bytes)
        self._claims = ClaimBook(settings, signed, self._sound, self._tick.now)
        hold = hold_seconds(settings.size, settings.lag, settings.free, self._claims.able)
        self._channel = Channel(settings, self._signer, roster.run, roster.keys, hold)
        scheduler = ChamberScheduler(roster.capacities, settings.lag, hold)
        self._records.patient = self._claims.able
        books = (self._fetch, self._claims, self._free)
        self._work = PulseWork(settings, self._pulses, scheduler, self._refuse, *books)
        at = (search.committed, search.state_digest())
        self._claims.reached(*at)
        self._watch = StateWatch(settings, *at, patient=self._claims.able)
        votes = (settings, roster, self._signer, search.committed, self._claims)
        self._votes = Certifier(*votes, self._send, self._emit)
        self._roster = roster
        if self._stop.reason and not self._work.coordinating:
            self._channel.say(StopRequest(self._stop.reason))
        early, self._early = self._early, []
        for event in early:
            self._frame(event)

    def _take(self, heard: Heard) -> None:
        self._claims.heard(heard)
        self._watch.hear(heard.sender, heard.committed, heard.state)
        self._work.heard(heard.sender, self._tick.now)
        for message in heard.messages:
            self._hear(heard.sender, message, self._message)

    def _hear(self, sender: int, message: Message, handle: Handle) -> None:
        try:
            handle(sender, message)
        except (ProtocolError, PlansDifferError) as error:
            self._refuse(sender, error)

    def _refuse(self, sender: int, error: ProtocolError | PlansDifferError) -> None:
        """Count a message that was refused, or note how plans differ; go on without it."""
        if isinstance(error, PlansDifferError):
            self._watch.differ(str(error))
        else:
            self._effects.append(self._channel.refuse(sender, error))

    def _message(self, sender: int, message: Message) -> None:
        if self._votes.keeps(sender, message, self._work.view):
            return
        match message:
            case Order() | Reassignment() | Results() | Announcement():
                self._work.take(sender, message)
            case Heartbeat():
                self._work.hear(sender, message)
            case Proposal():
                self._work.check_coordinator(sender, message.view)
                if message.view == self._work.view:
                    self._records.hear(message, sender, self._watch.committed)
                    self._record()
            case StopRequest():
                self._stop.hear(message)
            case Done():
                self._stop.finish(sender, message)
            case _:
                raise ProtocolError(f"rank {sender} sent a {message.TYPE.name} in a round")

    def _direct(self, sender: int, message: Message) -> None:
        match message:
            case Vote():
                self._votes.hear(sender, message)
            case CacheRequest():
                for response in self._fetch.answer(message):
                    self._send(sender, response)
            case CacheResponse():
                complete, wrong = self._fetch.receive(message, sender)
                self._work.fetched(complete)
                for line in wrong:
                    self._refuse(sender, ProtocolError(line))
            case SlotRequest():
                self._effects.extend(self._channel.repeat(message, sender))
            case Replica():
                self._effects.append(ReplicaHeard(sender, message.said))
            case _:
                raise ProtocolError(f"rank {sender} sent a {message.TYPE.name} directly")

    def _send(self, dest: int, message: Message) -> None:
        self._channel.send(dest, message, self._tick.now)

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    # --- pulses --------------------------------------------------------------------------
    def _advance(self) -> None:
        """Do what has become possible: plan, order, one commit or the end; then requests."""
        if self._paused:
            return
        if self._plan_due:
            self._plan_due = False
            self._work.plan()
        if self._free is None and self._votes.view != self._work.view:
            for sender, message in self._votes.follow(self._work, self._records, self._channel.say):
                self._hear(sender, message, self._message)
        if self._records.waiting:
            self._record()
        reason = "" if self._free is not None else self._stop.reason
        for order in self._work.order(self._votes.bound(self._watch.slowest), reason):
            self._channel.say(order)
        self._effects.extend(self._work.effects())
        if self._free is not None:
            if self._step(self._free):
                return
        elif self._pulses.ready:
            self._commit()
            return
        done = self._pulses.drained and self._own_done is None and not self._records.waiting
        if done and self._votes.close():
            self._end()
        if self._own_done is not None and self._stop.agreed(self._own_done):
            self.finished = True
            self._effects.append(Finished(self._stopped))
        for holder, wanted in self._fetch.requests(self._tick.now):
            self._send(holder, wanted)
        self._channel.retry(self._tick.now)

    def _commit(self) -> None:
        pulse = self._pulses.open[0]
        body = self._pulses.commit()
        self._votes.hold(body.pulse, [(pulse.number, task) for task in pulse.tasks])
        self._channel.committed(pulse.number)
        self._watch.advance(body.pulse + 1, body.state)
        self._claims.reached(body.pulse + 1, body.state)
        self._fetch.release(self._watch.slowest)
        self._records.add(body, pulse.ranks)
        if self._work.coordinating:
            for part in self._records.propose(self._work.view):
                self._channel.say(part)
        self._record()
        self._effects.append(Committed(body.pulse, pulse.taken()))
        self._plan_due = True
        self._paused = True

    def _step(self, free: FreeBook) -> bool:
        """In free mode: commit a step if one is due; True when it was."""
        number, view = self._watch.committed, self._work.view
        if self._pulses.stop:
            return False
        if self._work.coordinating:
            idle = self._work.idle(self._life.silent())
            taken, parts = free.lead(view, self._watch.state, self._stop.reason, idle)
            for part in parts:
                self._channel.say(part)
        else:
            taken = free.follow(self._records.step(number))
        if taken is None:
            return False
        body, dropped, tasks = taken
        self._votes.hold(number, tasks)
        self._records.forget(number)
        self._watch.advance(number + 1, body.state)
        self._fetch.release(self._watch.slowest - self.settings.lag)
        self._work.give_up(dropped)
        if dropped:
            self._effects.append(Log(f"step {number}: gave up {len(dropped)} late tasks"))
        self._votes.commit(body)
        self._effects.append(Committed(number))
        self._plan_due = self._paused = True
        return True

    def _record(self) -> None:
        """Put commits whose contributors are known to the vote."""
        for body in self._records.take(self._votes.decided):
            self._votes.commit(body)

    def _end(self) -> None:
        """Nothing is left to commit: say so, with the state this rank ended in."""
        self._stopped, record, self._own_done = end_of_run(self._pulses, self.chain)
        self._effects.extend(map(AppendRecord, record))
        self._channel.say(self._own_done)
        if self.settings.size == 1:
            self._stop.finish(0, self._own_done)
