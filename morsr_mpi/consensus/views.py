"""Views and memberships: giving up a primary, beginning a view, ranks that leave.

PBFT sections 4.4 and 4.5. A membership that lost ranks by death begins like a view: by the
claims of its members, enough of them to meet every decision of the membership before.
"""

from __future__ import annotations

from morsr_mpi.base.config import RESENDS_UNTIL_STALLED
from morsr_mpi.consensus.effects import (
    Broadcast,
    MembershipChanged,
    Send,
    Stalled,
    ViewEntered,
)
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.messages import NewView, ViewChange, VoteCast
from morsr_mpi.consensus.quorum import survivors_needed
from morsr_mpi.consensus.rounds import Round
from morsr_mpi.consensus.state import State
from morsr_mpi.consensus.values import Leave
from morsr_mpi.consensus.viewchange import (
    Base,
    ChangeBook,
    assemble,
    before_of,
    judge,
    proven,
    subject_of,
)
from morsr_mpi.consensus.votes import Claim, VoteKind


class Views:
    """Which view and which membership this rank is in."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._dead: set[int] = set()
        self._own: ViewChange | None = None
        self._waited = 0

    # --- giving up a view (PBFT section 4.4) ------------------------------------------------
    def blame(self, why: str) -> None:
        """The primary did what no honest primary does: ask for the next view."""
        state = self._state
        state.refuse(state.primary, why)
        if state.voting:
            self._next()

    def out_of_patience(self) -> None:
        """The primary of this view, or of the one asked for, was given enough time."""
        state = self._state
        if state.asking:
            self._report_silent()
        self._next()

    def _report_silent(self) -> None:
        """Report members that do not ask for this view, where it cannot begin without them.

        The timer alone would never say so: it does not run before a quorum asks.
        """
        state = self._state
        asking = set(state.changes.voters(state.view))
        if len(asking) < self._needed():
            silent = set(state.members.ranks) - asking
            state.effects.append(Stalled(tuple(sorted(silent))))

    def _next(self) -> None:
        self._state.timer.fail()
        self._ask_for(self._state.view + 1)

    def _ask_for(self, view: int) -> None:
        """Vote in no lower view any more, and say what is prepared here."""
        state = self._state
        self._show_proposal()
        state.view, state.asking, state.moved = view, True, True
        self._waited = 0
        state.round = Round()
        state.new_view = None
        state.timer.stop()
        prepared = state.prepared
        claim = Claim(state.height)
        if prepared:
            subject = prepared.certificate.subject
            claim = Claim(state.height, subject.ballot, subject.digest)
        vote = state.trust.sign(subject_of(state.members, view, claim))
        self._own = ViewChange(
            vote,
            claim,
            state.stable,
            prepared.certificate if prepared else None,
            prepared.value if prepared else None,
        )
        state.changes.add(self._own)
        self._say(state.members.ranks)
        self.go_on()

    def _show_proposal(self) -> None:
        """Show the others what the primary of the view given up told this rank: where it told
        them something else, they can prove it."""
        state, digest = self._state, self._state.round.digest
        if digest is None or state.leading:
            return
        for vote in state.tally.votes(state.subject(VoteKind.PREPARE, digest)):
            if vote.voter == state.primary:
                state.effects.append(Broadcast(VoteCast(vote)))

    def _say(self, to: tuple[int, ...]) -> None:
        """Send this rank's view change: with its proofs to the primary it asks for only."""
        state, own = self._state, self._own
        if own is None or not state.asking:
            return
        for rank in to:
            if rank != state.rank:
                full = rank == state.primary
                state.effects.append(Send(rank, own if full else ViewChange(own.vote, own.claim)))

    def take(self, source: int, message: ViewChange) -> None:
        """Take another rank's view change."""
        state, vote, claim = self._state, message.vote, message.claim
        subject = vote.subject
        if subject.members != state.members.digest:
            if subject.ballot.epoch >= state.members.epoch:
                state.early.keep(source, message)  # until the runtime reports the death here
            return None
        if subject.ballot < state.ballot:
            return None
        if subject != subject_of(state.members, subject.ballot.view, claim):
            return state.refuse(source, "a view change whose claim is not what was signed")
        if vote.voter not in state.members or not state.trust.signed(vote):
            return state.refuse(source, "a view change that no member signed")
        if subject.height > state.height:
            state.ask(source)
        state.changes.add(message)
        return self.go_on()

    def go_on(self) -> None:
        """Join those who are further; begin the view as its primary; else wait for it."""
        state = self._state
        later = state.changes.later(state.view, state.members.faulty + 1)
        if later is not None:
            state.timer.fail()
            return self._ask_for(later)
        if not state.asking:
            return None
        if state.leading and self._begin():
            return None
        asking = len(state.changes.voters(state.view))
        if asking >= state.members.quorum and not state.timer.running:
            state.timer.start()  # PBFT section 4.5.2: time runs once a quorum asks
        return None

    def _needed(self) -> int:
        state = self._state
        return survivors_needed(before_of(state.stable, state.trust), state.members.size)

    # --- beginning a view (PBFT section 4.4, NEW-VIEW) ----------------------------------------
    def _begin(self) -> bool:
        """As primary: begin the view if enough members ask for it and prove their claims."""
        state = self._state
        changes = state.changes.at(state.view)
        if len(changes) < self._needed():
            return False
        found = [c for c in changes if proven(c, state.trust, state.tally)]
        if len(found) < self._needed():
            return False
        new = assemble(state.members, state.view, found)
        base = judge(new, state.members, state.trust, state.tally)
        if base is None:
            return False
        if base.height > state.height:  # others are further: first learn what they decided
            for change in found:
                if change.claim.height == base.height:
                    state.ask(change.vote.voter)
            return False
        state.effects.append(Broadcast(new))
        self._enter(base, new)
        value = next(
            (c.value for c in found if base.digest and c.claim.digest == base.digest), None
        )
        if state.forced is not None and value is not None:
            state.round = Round(state.forced, value)
        return True

    def enter_by(self, source: int, message: NewView) -> None:
        """Take a NEW-VIEW: the view begins if enough members have asked for it."""
        state = self._state
        ballot, here = message.ballot, state.ballot
        if message.members != state.members.digest:
            if ballot.epoch >= here.epoch:
                state.early.keep(source, message)
            return
        if ballot < here or (ballot == here and state.voting):
            return
        base = judge(message, state.members, state.trust, state.tally)
        if base is not None:
            state.view = ballot.view
            self._enter(base, message)
            if base.height > state.height:
                state.ask(source)
        elif message.stable and message.stable.members.epoch > here.epoch:
            state.early.keep(source, message)
        else:
            state.refuse(source, "a new view without enough claims")

    def _enter(self, base: Base, new: NewView | None) -> None:
        """The view has begun."""
        state = self._state
        state.asking, state.base, state.new_view = False, base, new
        state.round = Round()
        state.moved = True
        self._own = None
        state.timer.stop()
        if state.installed != state.members:
            self._install(base.sure)
        state.effects.append(ViewEntered(state.ballot, state.primary))
        if state.expecting or state.forced is not None:
            state.expect()

    def _install(self, sure: bool) -> None:
        state = self._state
        before, state.installed = state.installed, state.members
        left = [rank for rank in before.ranks if rank not in state.members]
        died = tuple(rank for rank in left if rank in self._dead)
        excluded = tuple(rank for rank in left if rank not in self._dead)
        state.effects.append(MembershipChanged(before, state.members, died, excluded, sure))

    # --- ranks that leave (DESIGN section 4) --------------------------------------------------
    def died(self, rank: int) -> None:
        """The runtime reports a death: the survivors agree on where they stand."""
        state = self._state
        if rank in self._dead or rank == state.rank:
            return
        self._dead.add(rank)
        state.trust.gone.add(rank)
        state.moved = True
        if rank in state.members:
            self._reform(state.members.without([rank]))
            state.timer.calm()
            self._ask_for(0)

    def exclude(self, leave: Leave, voters: Membership) -> None:
        """A quorum of `voters` decided that living ranks leave."""
        state = self._state
        state.trust.gone.update(leave.ranks)
        leaving = set(leave.ranks) & set(state.members.ranks)
        if state.rank in leaving:
            state.excluded = True
            state.timer.stop()
            return
        if leaving:
            self._reform(state.members.without(leaving))
        elif not state.asking or state.view:
            return
        # Where nobody died besides, the decision is the barrier: of those who took it none
        # votes in the old membership again, so nothing can have been prepared at this height.
        if voters.without(leave.ranks) == state.members:
            self._enter(Base(state.height), None)
        elif leaving:
            self._ask_for(0)

    def _reform(self, members: Membership) -> None:
        state = self._state
        state.members, state.view, state.new_view = members, 0, None
        state.changes = ChangeBook()
        state.asked.clear()

    # --- what may have been lost --------------------------------------------------------------
    def say_again(self, to: tuple[int, ...] = ()) -> None:
        """Repeat this rank's view change while it waits; say who keeps it waiting long."""
        if not to:
            self._waited += 1
            if self._waited % RESENDS_UNTIL_STALLED == 0:
                self._report_silent()
        self._say(to or self._state.members.ranks)
