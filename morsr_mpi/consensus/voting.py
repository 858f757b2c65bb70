"""One decision: pre-prepare, prepare, commit (paper algorithm 9.1, PBFT section 4.2)."""

from __future__ import annotations

from morsr_mpi.base.config import MAX_VALUE_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.effects import Broadcast, Check, Convicted, Decided, Send
from morsr_mpi.consensus.messages import Certified, Decision, PrePrepare, VoteCast
from morsr_mpi.consensus.rounds import Prepared, Round, Verdicts
from morsr_mpi.consensus.state import State
from morsr_mpi.consensus.values import Leave, decode_value
from morsr_mpi.consensus.views import Views
from morsr_mpi.consensus.votes import Vote, VoteKind


class Voting:
    """Votes on one value after the other."""

    def __init__(self, state: State, views: Views) -> None:
        self._state = state
        self._views = views
        self._convicted: set[int] = set()

    # --- phase 1: pre-prepare --------------------------------------------------------------
    def propose(self, value: bytes) -> None:
        """As primary: propose a value of one's own. Raises InternalError for one that is none."""
        state = self._state
        if len(value) > MAX_VALUE_BYTES or not self._sensible(value):
            raise InternalError(f"a value of {len(value)} bytes that cannot be agreed on")
        digest = sha256(value)
        state.verdicts.ask(digest)
        state.verdicts.answer(digest, True)
        state.round = Round(digest, value)

    def pre_prepare(self, source: int, message: PrePrepare) -> None:
        """Take the primary's value, the first in this view, and ask whether it is right."""
        state, vote = self._state, message.vote
        subject = vote.subject
        if not state.due(source, message, subject):
            return self._look_back(vote, source)
        if subject.kind != VoteKind.PREPARE or vote.voter != state.primary:
            return state.refuse(source, "a proposal that is not the primary's")
        if sha256(message.value) != subject.digest:
            return state.refuse(source, "a proposal with another digest")
        if not self._count(vote, source) or state.round.digest is not None:
            return None
        if not state.tally.answered(subject, vote.voter):
            return self._views.blame("a second proposal in one view")
        if state.forced not in (None, subject.digest):
            return self._views.blame("a proposal in place of a prepared value")
        if not self._sensible(message.value):
            return self._views.blame("a proposal that makes no sense")
        state.round = Round(subject.digest, message.value)
        return None

    def _sensible(self, value: bytes) -> bool:
        """Whether the agreement itself can carry a value out."""
        try:
            decoded = decode_value(value)
        except ValueError:
            return False
        if not isinstance(decoded, Leave):
            return True
        first, now = set(self._state.trust.first.ranks), set(self._state.members.ranks)
        return set(decoded.ranks) <= first and bool(now - set(decoded.ranks))

    # --- phase 2: prepare ------------------------------------------------------------------
    def checked(self, digest: bytes, valid: bool) -> None:
        """The layer above has an answer: vote only for what it found right."""
        state = self._state
        if not state.verdicts.answer(digest, valid) or valid or digest != state.round.digest:
            return
        if state.forced is None:
            self._views.blame("a proposal that is wrong")
        else:  # a quorum found it right
            state.refuse(state.primary, "a prepared value that looks wrong here")

    def progress(self) -> None:
        """Go on as far as value, verdict and votes allow."""
        state, this = self._state, self._state.round
        if not state.voting or this.digest is None:
            return
        if state.verdicts.ask(this.digest):
            state.effects.append(Check(state.height, this.digest, this.value))
        right = state.verdicts.of(this.digest)
        if right and not this.prepared_sent:
            this.prepared_sent = True
            self._cast(VoteKind.PREPARE, this.digest)
        prepared = self._prepare(this)
        # --- phase 3: commit
        if right and prepared and not this.committed_sent:
            this.committed_sent = True
            self._cast(VoteKind.COMMIT, this.digest)
        votes = state.tally.votes(state.subject(VoteKind.COMMIT, this.digest))
        if len(votes) >= state.members.quorum:
            certificate = Certificate.of(state.members, votes)
            self._hand_back(certificate)
            self.decide(certificate, this.value)

    def _prepare(self, this: Round) -> bool:
        """Whether a quorum has prepared the value in this view; keeps the certificate."""
        state, digest = self._state, this.digest
        assert digest is not None
        if state.prepared and state.prepared.certificate.subject.ballot == state.ballot:
            return True
        votes = state.tally.votes(state.subject(VoteKind.PREPARE, digest))
        if len(votes) < state.members.quorum:
            return False
        state.prepared = Prepared(Certificate.of(state.members, votes), this.value)
        self._hand_back(state.prepared.certificate)
        return True

    def _hand_back(self, certificate: Certificate) -> None:
        """As collector, give the others the certificate."""
        if self._state.collecting and self._state.leading:
            self._state.effects.append(Broadcast(Certified(certificate)))

    def _cast(self, kind: VoteKind, digest: bytes) -> None:
        """Vote. `Round` sees to it that this happens once in each view and height."""
        state = self._state
        vote = state.trust.sign(state.subject(kind, digest))
        state.tally.add(vote)
        if not state.leading:
            cast = VoteCast(vote)
            to_one = Send(state.primary, cast)
            state.effects.append(to_one if state.collecting else Broadcast(cast))
        elif kind == VoteKind.PREPARE:
            state.effects.append(Broadcast(PrePrepare(vote, state.round.value)))
        elif not state.collecting:
            state.effects.append(Broadcast(VoteCast(vote)))
        state.expect()

    def vote(self, source: int, message: VoteCast) -> None:
        """Take a PREPARE or COMMIT vote of another rank."""
        subject = message.vote.subject
        if subject.kind == VoteKind.VIEW_CHANGE:
            self._state.refuse(source, "a view change without its claim")
        elif self._state.due(source, message, subject):
            self._count(message.vote, source)
        else:
            self._look_back(message.vote, source)

    def certified(self, source: int, message: Certified) -> None:
        """Take the votes of a certificate."""
        if self._state.due(source, message, message.certificate.subject):
            for vote in message.certificate.votes():
                self._count(vote, source)

    def _look_back(self, vote: Vote, source: int) -> None:
        """A vote that is late: of interest where it contradicts the decision, or its voter."""
        state, subject = self._state, vote.subject
        decision = state.decisions.at(subject.height)
        other = decision is None or decision.certificate.subject.digest != subject.digest
        near = state.height - 1 <= subject.height <= state.height
        here = subject.members == state.members.digest and subject.ballot <= state.ballot
        if near and here and (other or state.tally.contradicts(vote)):
            self._count(vote, source)

    def _count(self, vote: Vote, source: int) -> bool:
        """Check the signature of a vote and tally it; False for one that is not sound."""
        state = self._state
        if vote.voter not in state.members:
            state.refuse(source, "a vote of a rank that is no member")
            return False
        if state.tally.answered(vote.subject, vote.voter):
            return True
        if not state.trust.signed(vote):
            state.refuse(source, "a vote that its voter has not signed")
            return False
        evidence = state.tally.add(vote)
        if evidence is not None and vote.voter not in self._convicted:
            if state.trust.signer.signature_bytes:
                self._convicted.add(vote.voter)
                state.effects.append(Convicted(evidence))
            else:
                state.refuse(vote.voter, "two different votes")
        if vote.subject.height == state.height:
            state.expect()
        return True

    # --- the decision: a stable point (PBFT section 4.3) -----------------------------------
    def decision(self, source: int, message: Decision) -> None:
        """Take a decision that others took, with its certificate."""
        state, certificate = self._state, message.certificate
        subject = certificate.subject
        if subject.height > state.height:
            state.early.keep(source, message)
            state.ask(source)
        elif subject.height == state.height:
            believed = state.trust.believes(certificate, VoteKind.COMMIT, state.tally)
            if believed and sha256(message.value) == subject.digest:
                self.decide(certificate, message.value)
                state.ask(source)  # one that was further may be further still
            elif certificate.members.epoch > state.members.epoch:
                state.early.keep(source, message)  # until the runtime reports who is missing
            else:
                state.refuse(source, "a decision without its certificate")

    def decide(self, certificate: Certificate, value: bytes) -> None:
        """Take a decision; everything about it but its certificate is forgotten."""
        state, height = self._state, self._state.height
        believed = state.verdicts.of(certificate.subject.digest) is not False
        state.effects.append(Decided(height, value, certificate, believed))
        state.decisions.add(Decision(certificate, value))
        state.height = height + 1
        state.tally.forget_below(height)
        state.round, state.prepared, state.verdicts = Round(), None, Verdicts()
        state.expecting = False
        state.asked.clear()
        state.timer.calm()
        if not state.asking:
            state.timer.stop()
        state.moved = True
        decided = decode_value(value)
        if isinstance(decided, Leave):
            self._views.exclude(decided, certificate.members)
