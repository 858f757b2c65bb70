"""The node: events in, effects out (DESIGN sections 3 and 6).

It composes the replicated search, its pulses, the exchange rounds and the journal's chain,
and knows neither clock nor network nor file. Whatever the order in which results arrive,
S takes the same path on every rank.
"""

from __future__ import annotations

from collections.abc import Sequence

from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.base.ports import SearchMachine, Signer, Store
from morsr_mpi.node.effects import (
    AppendRecord,
    Committed,
    Effect,
    Finished,
    Log,
    SendFrame,
    StartRound,
)
from morsr_mpi.node.envelope import Envelope
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
from morsr_mpi.node.fetch import FetchBook
from morsr_mpi.node.inbox import Heard, Inbox
from morsr_mpi.node.orders import ChamberScheduler
from morsr_mpi.node.pulses import PulseBook
from morsr_mpi.node.rounds import Outbox
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.node.startup import Roster, hello_slot, open_roster
from morsr_mpi.node.stop import StopBook, append_seal, end_of_run
from morsr_mpi.node.watch import StateWatch
from morsr_mpi.node.work import PulseWork
from morsr_mpi.provenance.bodies import Seal, fingerprint
from morsr_mpi.provenance.chain import Chain, ChainPoint
from morsr_mpi.wire.batch import MessageBatcher
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import (
    Announcement,
    CacheRequest,
    CacheResponse,
    Done,
    Message,
    Order,
    Results,
    SlotRequest,
    StopRequest,
)


class Node:
    """One rank's node. `step` is the only way in."""

    def __init__(
        self,
        settings: NodeSettings,
        search: SearchMachine,
        signer: Signer,
        store: Store,
        journal_at: ChainPoint | None = None,
    ) -> None:
        """search: S, new or restored, the same on all ranks; journal_at: where rank 0's
        journal stands when a run is resumed."""
        self.settings = settings
        self.search = search
        self._signer = signer
        self._journal_at = journal_at or ChainPoint()
        self._roster: Roster | None = None
        self._now = 0.0
        self._paused = False
        self._plan_due = True
        self._stopped = ""
        self._own_done: Done | None = None
        self.finished = False
        self._effects: list[Effect] = []
        self._pulses = PulseBook(search, settings.lag)
        self._stop = StopBook(settings.size)
        self._fetch = FetchBook(store)
        self._batcher = MessageBatcher()
        self.tasks_by_rank = [0] * settings.size
        self.work_done = 0

    # --- what others may ask -------------------------------------------------------------
    @property
    def chain(self) -> Chain:
        """The journal's chain. Raises InternalError before the ranks have met."""
        return self._met().chain

    @property
    def has_met(self) -> bool:
        """Whether the ranks have met: there are keys and a chain."""
        return self._roster is not None

    @property
    def fingerprint(self) -> str:
        """Short form of the genesis record's digest."""
        return fingerprint(self.chain.point.genesis)

    @property
    def public_keys(self) -> tuple[bytes, ...]:
        """Public key of each rank; empty byte strings where nothing is signed."""
        return self._met().keys

    @property
    def refused(self) -> dict[int, int]:
        """Frames and slots refused, by the rank they came from."""
        return dict(self._inbox.refused) if self._roster else {}

    @property
    def expecting(self) -> bool:
        """Whether an answer over point-to-point is on its way: a bad time to sleep long."""
        return self._fetch.waiting > 0

    def finished_results(self) -> dict[bytes, bytes]:
        """Return results of pulses in flight, by task id: another node need not compute them."""
        found: dict[bytes, bytes] = {}
        for pulse in self._pulses.open:
            found.update(pulse.finished())
        return found

    def seal(self, files: Sequence[tuple[str, int, bytes]]) -> bytes:
        """Return the last record of a finished run: files are (path, bytes, SHA-256).

        Raises InternalError before the run is finished.
        """
        if not self.finished:
            raise InternalError("only a finished run is sealed")
        watch = self._watch
        seal = Seal(watch.committed, watch.state, tuple(sorted(files)))
        return append_seal(self.chain, seal, self.settings.rank, self._signer)

    # --- events --------------------------------------------------------------------------
    def step(self, event: Event) -> list[Effect]:
        """Take in one event and return what is to be done, in order.

        Raises InternalError or UsageError when the run cannot go on.
        """
        match event:
            case TaskDone():
                self._task_done(event)
            case RoundDue():
                self._round_due()
            case RoundDone():
                self._round_done(event.slots)
            case FrameReceived():
                self._frame(event)
            case Proceed():
                self._paused = False
            case Tick():
                self._now = event.now
            case StopRequested():
                self._request_stop(event.reason)
        if self._roster is not None and not self.finished:
            self._advance()
        for batch in self._batcher.due(self._now):
            frame = self._envelope.direct_frame(batch)
            self._effects.append(SendFrame(batch.dest, frame, batch.priority))
        effects, self._effects = self._effects, []
        return effects

    def _round_due(self) -> None:
        if self.finished:
            raise InternalError("no round follows the last")
        if self._roster is None:
            slot = hello_slot(self.settings, self._signer, self.search, self._journal_at)
        else:
            slot, announced = self._outbox.compose(self._watch.committed, self._watch.state)
            for item in announced:
                self._fetch.hold(item.pulse, item.name, item.packed)
        self._effects.append(StartRound(slot))

    def _round_done(self, slots: tuple[bytes, ...]) -> None:
        if self._roster is None:
            self._meet(slots)
            return
        number = self._outbox.number
        heard, requests, lines = self._inbox.open_slots(number, slots, self._now)
        self._effects.extend(map(Log, lines))
        if self._own_done is not None and self._outbox.said_all_before(number):
            self._stop.finish(self.settings.rank, self._own_done)  # the others have it now
        for sender, request in requests:
            self._send(sender, request)
        for slot in heard:
            self._take(slot)

    def _frame(self, event: FrameReceived) -> None:
        if self._roster is None:
            return  # nobody addresses a rank that has not met the others
        try:
            frame = self._envelope.open(event.frame, event.source)
            if frame.kind == MessageType.ROUND:
                again = self._inbox.open_again(frame)
                if again is not None:
                    self._take(again)
            elif not self._inbox.is_repeat(frame):
                for message in self._envelope.open_direct(frame):
                    self._hear_direct(frame.sender, message)
        except ProtocolError as error:
            self._refuse(event.source, error)

    def _request_stop(self, reason: str) -> None:
        request = self._stop.request(reason)
        if request is not None and self._roster is not None and not self._work.coordinating:
            self._outbox.say(request)

    def _task_done(self, event: TaskDone) -> None:
        self.work_done += event.work
        if self._work.done(event) and self.settings.size > 1:
            self._outbox.add_result(event.pulse, event.index, event.result)

    # --- the ranks meet ------------------------------------------------------------------
    def _met(self) -> Roster:
        if self._roster is None:
            raise InternalError("the ranks have not met yet")
        return self._roster

    def _meet(self, slots: tuple[bytes, ...]) -> None:
        settings, search = self.settings, self.search
        roster = open_roster(settings, self._signer, slots)
        self._effects.append(AppendRecord(roster.record))
        self._envelope = Envelope(settings.rank, self._signer, roster.run, roster.keys)
        self._inbox = Inbox(settings.rank, self._envelope)
        self._outbox = Outbox(self._envelope, self._signer.signature_bytes)
        self._work = PulseWork(
            settings,
            self._pulses,
            ChamberScheduler(roster.capacities, settings.lag),
            self._fetch,
            self._refuse,
        )
        self._watch = StateWatch(
            settings.rank, settings.size, settings.lag, search.committed, search.state_digest()
        )
        self._roster = roster
        if self._stop.reason and not self._work.coordinating:
            self._outbox.say(StopRequest(self._stop.reason))

    # --- messages ------------------------------------------------------------------------
    def _take(self, heard: Heard) -> None:
        self._watch.hear(heard.sender, heard.committed, heard.state)
        for message in heard.messages:
            self._hear(heard.sender, message)

    def _hear(self, sender: int, message: Message) -> None:
        try:
            self._message(sender, message)
        except ProtocolError as error:
            self._refuse(sender, error)

    def _hear_direct(self, sender: int, message: Message) -> None:
        try:
            self._direct(sender, message)
        except ProtocolError as error:
            self._refuse(sender, error)

    def _refuse(self, sender: int, error: ProtocolError) -> None:
        """Count a message that was refused, and go on without it."""
        self._inbox.refuse(sender)
        self._effects.append(Log(str(error)))

    def _message(self, sender: int, message: Message) -> None:
        match message:
            case Order() | Results() | Announcement():
                self._work.take(sender, message)
            case StopRequest():
                self._stop.hear(message)
            case Done():
                self._stop.finish(sender, message)
            case _:
                raise ProtocolError(f"rank {sender} sent a {message.TYPE.name} in a round")

    def _direct(self, sender: int, message: Message) -> None:
        match message:
            case CacheRequest():
                for response in self._fetch.answer(message):
                    self._send(sender, response)
            case CacheResponse():
                complete, wrong = self._fetch.receive(message, sender)
                self._work.fetched(complete)
                for line in wrong:
                    self._refuse(sender, ProtocolError(line))
            case SlotRequest():
                frame = self._outbox.kept_frame(message.round)
                if frame is not None:
                    self._effects.append(SendFrame(sender, frame))
            case _:
                raise ProtocolError(f"rank {sender} sent a {message.TYPE.name} directly")

    def _send(self, dest: int, message: Message) -> None:
        self._batcher.add(dest, message, self._now)

    # --- pulses --------------------------------------------------------------------------
    def _advance(self) -> None:
        """Do what has become possible: plan, order, one commit or the end; then requests."""
        if self._paused:
            return
        if self._plan_due:
            self._plan_due = False
            self._work.plan()
        for order in self._work.order(self._watch.slowest, self._stop.reason):
            if self.settings.size > 1:
                self._outbox.say(order)
        self._effects.extend(self._work.effects())
        if self._pulses.ready:
            self._commit()
            return
        if self._pulses.drained and self._own_done is None:
            self._end()
        if self._own_done is not None and self._stop.agreed(self._own_done):
            self.finished = True
            self._effects.append(Finished(self._stopped))
        for holder, wanted in self._fetch.requests(self._now):
            self._send(holder, wanted)
        for sender, damaged in self._inbox.retries(self._now):
            self._send(sender, damaged)

    def _commit(self) -> None:
        pulse = self._pulses.open[0]
        body = self._pulses.commit()
        for who in pulse.ranks:
            self.tasks_by_rank[who] += 1
        self._watch.advance(body.pulse + 1, body.state)
        self._fetch.release(self._watch.slowest)
        self._effects.append(AppendRecord(self.chain.append(body)))
        self._effects.append(Committed(body.pulse))
        self._plan_due = True
        self._paused = True

    def _end(self) -> None:
        """Nothing is left to commit: say so, with the state this rank ended in."""
        self._stopped, record, self._own_done = end_of_run(self._pulses, self.chain)
        self._effects.extend(map(AppendRecord, record))
        if self.settings.size == 1:
            self._stop.finish(0, self._own_done)
        else:
            self._outbox.say(self._own_done)
