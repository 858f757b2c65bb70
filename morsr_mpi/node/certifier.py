"""Agreement joined to the node: votes out as messages, decisions in as records of the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from morsr_mpi.base.config import MAX_PENDING_FRAMES, MAX_PULSE_SKEW
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.base.ports import Signer
from morsr_mpi.node.agreement import Agreement
from morsr_mpi.node.ballot import Commit
from morsr_mpi.node.claims import ClaimBook
from morsr_mpi.node.contributions import ContributionBook, Places
from morsr_mpi.node.effects import (
    AppendRecord,
    Convicted,
    Effect,
    Evidence,
    Log,
)
from morsr_mpi.node.events import TaskDone
from morsr_mpi.node.records import RecordBook, contributors_of
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.node.startup import Roster
from morsr_mpi.node.work import PulseWork
from morsr_mpi.provenance.bodies import Certified, Pulse
from morsr_mpi.provenance.chain import Chain
from morsr_mpi.wire.messages import Message, Order
from morsr_mpi.wire.steering import Proposal, Reassignment
from morsr_mpi.wire.votes import Vote

#: Sends a message to a rank.
Send = Callable[[int, Message], None]
#: Adds an effect of the node.
Emit = Callable[[Effect], None]


class Certifier:
    """Puts commits to the vote and appends to the journal what was decided."""

    def __init__(
        self,
        settings: NodeSettings,
        roster: Roster,
        signer: Signer,
        committed: int,
        claims: ClaimBook,
        send: Send,
        emit: Emit,
    ) -> None:
        """committed: pulses in the state the ranks started from; claims: what this rank checks
        before it votes."""
        self._claims = claims
        self._unchecked: deque[Commit] = deque()
        self.tasks_by_rank = [0] * settings.size
        self._chain: Chain = roster.chain
        self._send = send
        self._emit = emit
        self._settings = settings
        self._ahead: list[tuple[int, Message]] = []
        self._contributions = ContributionBook(settings.rank)
        keys = dict(enumerate(roster.keys))
        self._agreement = Agreement(settings.rank, roster.run, keys, signer, committed, claims)

    @property
    def view(self) -> int:
        """The view; its primary is the coordinator."""
        return self._agreement.view

    @property
    def certified(self) -> int:
        """Pulses certified so far, with those in the state at the start."""
        return self._agreement.certified

    def bound(self, slowest: int) -> int:
        """The slowest rank's commits, as far as orders may count on them: a coordinator keeps
        orders back, too, that would lead too far beyond the last decision."""
        return min(slowest, self._agreement.room - self._settings.lag - MAX_PULSE_SKEW)

    @property
    def decided(self) -> int:
        """Pulses that were agreed on, as far as this rank has heard; it may be behind itself."""
        return self._agreement.decided

    @property
    def guilty(self) -> frozenset[int]:
        """Ranks that this rank finds guilty of a wrong result."""
        return self._agreement.guilty

    @property
    def uncertified(self) -> list[Commit]:
        """Commits that are not decided."""
        return [*self._agreement.uncertified, *self._unchecked]

    def keeps(self, sender: int, message: Message, view: int) -> bool:
        """Keep what a later coordinator says before its view has begun here; False for the rest.

        Raises ProtocolError for one that would not be its coordinator.
        """
        if not isinstance(message, Order | Reassignment | Proposal) or message.view <= view:
            return False
        if sender != self._settings.coordinator(message.view):
            raise ProtocolError(f"rank {sender} speaks as coordinator and is none")
        if len(self._ahead) < MAX_PENDING_FRAMES:
            self._ahead.append((sender, message))
        return True

    def follow(
        self, work: PulseWork, records: RecordBook, say: Callable[[Message], None]
    ) -> list[tuple[int, Message]]:
        """Follow the coordinator of the new view; as such, say again what its predecessor may
        have said to some. Returns what was kept of it."""
        for order in work.change_view(self.view):
            say(order)
        if work.coordinating:
            pulses = [body for body in self.uncertified if isinstance(body, Pulse)]
            for part in records.propose_again(self.view, pulses):
                say(part)
        ahead, self._ahead = self._ahead, []
        return ahead

    def hold(self, commit: int, tasks: Places) -> None:
        """Remember the tasks of a commit until it is decided who contributed."""
        self._contributions.hold(commit, tasks)

    def commit(self, body: Commit) -> None:
        """A pulse was committed here: it comes to the vote once it is checked."""
        self._unchecked.append(body)
        self._release()
        self._carry_out()

    def done(self, task: TaskDone) -> None:
        """A task of another rank was computed anew here."""
        self._claims.done(task)
        self._look()

    def _look(self) -> None:
        """Carry out what follows from checks."""
        out = self._claims.take()
        for effect in out.effects:
            self._emit(effect)
        for line in out.lines:
            self._emit(Log(line))
        for rank, proof in out.accused:
            self._agreement.accuse(rank, proof)
        self._agreement.look()
        self._release()
        self._carry_out()

    def _release(self) -> None:
        """Put to the vote what is checked. What the others have decided needs no vote of ours."""
        waiting = self._unchecked
        while waiting and (
            self._claims.settled(waiting[0].pulse) or waiting[0].pulse < self.decided
        ):
            self._agreement.commit(waiting.popleft())

    def hear(self, sender: int, message: Vote) -> None:
        """A vote came. Raises ProtocolError for what is none."""
        self._agreement.hear(sender, message.body)
        self._carry_out()

    def tick(self, now: float, waiting: bool, difference: str) -> None:
        """Time passed; waiting: the coordinator has something to bring about; difference: how
        another rank's state differs from ours, if it does."""
        self._claims.tick(now)
        self._claims.differ(difference)
        self._claims.certified(self.certified)
        self._agreement.tick(now, waiting)
        self._look()

    def give_up(self) -> list[Commit]:
        """Return the commits that nobody will certify any more: the others are lost."""
        found = [*self._agreement.give_up(), *self._unchecked]
        self._unchecked.clear()
        return found

    def close(self) -> bool:
        """Nothing more is committed: whether all of it is checked, certified and recorded."""
        if self._unchecked or not self._claims.idle:
            return False
        if not self._agreement.settled:
            self._agreement.propose(closing=True)
            self._carry_out()
        return self._agreement.settled

    def _carry_out(self) -> None:
        out = self._agreement.take()
        for dest, data in out.votes:
            self._send(dest, Vote(data))
        for body in out.records:
            if not isinstance(body, Certified):
                for rank in contributors_of(body):
                    self.tasks_by_rank[rank] += 1
            self._emit(AppendRecord(self._chain.append(body)))
        mine = self._contributions.take([b for b in out.records if not isinstance(b, Certified)])
        if mine is not None:
            self._emit(mine)
        for name, data in out.evidence:
            self._emit(Evidence(name, data))
        for line in out.lines:
            self._emit(Log(line))
        for leave, why in out.excluded:
            self._emit(Convicted(leave.ranks, why))
