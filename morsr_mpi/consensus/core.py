"""Agreement of one rank: `apply(event) -> effects` (paper algorithm 9.1; Castro and Liskov,
Practical Byzantine Fault Tolerance, OSDI 1999, "PBFT" below).

One decision at a time; each is a stable point. The primary of view v is member number v mod N.
In a small membership votes go from all to all, in a large one to the primary, which hands back
certificates. The core knows neither clock nor network: it says what to send, which value to
check and when to be woken. docs/consensus.md says why this is safe, and what it does not cover.
"""

from __future__ import annotations

from collections.abc import Mapping

from morsr_mpi.base.config import COLLECTOR_ABOVE
from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.effects import Broadcast, Effect, Send
from morsr_mpi.consensus.events import (
    Checked,
    Died,
    Event,
    Expect,
    Propose,
    Received,
    Resend,
    TimedOut,
)
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.messages import (
    Certified,
    Decision,
    Message,
    NewView,
    PrePrepare,
    Status,
    ViewChange,
    VoteCast,
)
from morsr_mpi.consensus.state import State
from morsr_mpi.consensus.trust import Trust
from morsr_mpi.consensus.views import Views
from morsr_mpi.consensus.votes import Ballot, VoteKind
from morsr_mpi.consensus.voting import Voting


class ByzantineConsensus:
    """One rank's part in agreement. `apply` is the only way in."""

    def __init__(
        self,
        rank: int,
        run: bytes,
        keys: Mapping[int, bytes],
        signer: Signer,
        members: Membership | None = None,
        height: int = 0,
        collector_above: int = COLLECTOR_ABOVE,
    ) -> None:
        """run: id of the run; keys: public key of each rank; members: who votes, all ranks by
        default; height: number of the first decision; collector_above: members above which
        votes go to the primary alone."""
        first = members or Membership.of(len(keys))
        trust = Trust(rank, run, dict(keys), signer, first, height)
        self._state = State(trust, collector_above, first, height)
        self._views = Views(self._state)
        self._voting = Voting(self._state, self._views)
        self._answered: set[tuple[int, Status]] = set()

    # --- what others may ask -------------------------------------------------------------
    @property
    def members(self) -> Membership:
        """Who votes, as far as this rank knows."""
        return self._state.members

    @property
    def height(self) -> int:
        """Number of the next decision."""
        return self._state.height

    @property
    def ballot(self) -> Ballot:
        """The view, with the membership's epoch."""
        return self._state.ballot

    @property
    def primary(self) -> int:
        """The coordinator of the current view."""
        return self._state.primary

    @property
    def voting(self) -> bool:
        """Whether the current view has begun; False while it is asked for, and once excluded."""
        return self._state.voting

    @property
    def excluded(self) -> bool:
        """Whether the others decided that this rank leaves; it takes no part any more."""
        return self._state.excluded

    @property
    def wants_proposal(self) -> bool:
        """Whether this rank may propose a value of its own now."""
        state = self._state
        return (
            state.voting and state.leading and state.round.digest is None and state.forced is None
        )

    @property
    def stable(self) -> Certificate | None:
        """Certificate of the last decision; None before the first."""
        return self._state.stable

    # --- events --------------------------------------------------------------------------
    def apply(self, event: Event) -> list[Effect]:
        """Take in one event and return what is to be done, in order.

        Raises InternalError for a proposal that no rank could carry out.
        """
        state = self._state
        if not state.excluded:
            self._event(event)
        while state.moved and not state.excluded:
            state.moved = False
            for source, message in state.early.take():
                self._message(source, message)
            if state.asking:
                self._views.go_on()
            self._voting.progress()
        effects = list(state.effects)
        state.effects.clear()
        return effects

    def _event(self, event: Event) -> None:
        match event:
            case Received():
                self._message(event.source, event.message)
            case Propose():
                if self.wants_proposal:
                    self._voting.propose(event.value)
            case Checked():
                self._voting.checked(event.digest, event.valid)
            case Expect():
                self._state.expect()
            case TimedOut():
                if self._state.timer.expired(event.token):
                    self._views.out_of_patience()
            case Resend():
                self._resend()
            case Died():
                self._views.died(event.rank)
        self._voting.progress()

    def _message(self, source: int, message: Message) -> None:
        if self._state.excluded:
            return
        match message:
            case PrePrepare():
                self._voting.pre_prepare(source, message)
            case VoteCast():
                self._voting.vote(source, message)
            case Certified():
                self._voting.certified(source, message)
            case Decision():
                self._voting.decision(source, message)
            case ViewChange():
                self._views.take(source, message)
            case NewView():
                self._views.enter_by(source, message)
            case Status():
                self._answer(source, message)
        self._voting.progress()

    # --- what may have been lost -----------------------------------------------------------
    def _resend(self) -> None:
        """Say where this rank stands, if anything is open; those who are further answer."""
        state = self._state
        self._answered.clear()
        state.asked.clear()
        if state.asking:
            self._views.say_again()
        if state.asking or state.expecting or state.early:
            state.effects.append(Broadcast(state.status))

    def _answer(self, source: int, status: Status) -> None:
        """Give one who asks what it lacks; the same question is answered once until `Resend`."""
        state = self._state
        if status.height > state.height or status.ballot > state.ballot:
            state.ask(source)
        if (source, status) in self._answered or source == state.rank:
            return
        self._answered.add((source, status))
        for message in self._lacking(source, status):
            state.effects.append(Send(source, message))

    def _lacking(self, source: int, status: Status) -> list[Message]:
        state = self._state
        decision = state.decisions.at(status.height)
        if decision is not None:
            return [decision]
        if status.members != state.members.digest or status.height != state.height:
            return []
        if state.asking:
            self._views.say_again((source,))
            return []
        found: list[Message] = []
        behind = status.ballot < state.ballot or status.asking
        if behind and state.new_view is not None:
            found.append(state.new_view)
        prepare, commit = map(state.own_vote, (VoteKind.PREPARE, VoteKind.COMMIT))
        if prepare is not None:
            value = state.round.value
            found.append(PrePrepare(prepare, value) if state.leading else VoteCast(prepare))
        if commit is not None:
            found.append(VoteCast(commit))
        if state.collecting and state.leading and state.prepared is not None:
            found.append(Certified(state.prepared.certificate))
        return found
