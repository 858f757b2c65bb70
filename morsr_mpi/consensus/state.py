"""The state of one rank's agreement, shared by its parts: voting, views, catching up."""

from __future__ import annotations

from dataclasses import dataclass, field

from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.effects import Effect, Refused, Send
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.messages import Message, NewView, Status
from morsr_mpi.consensus.rounds import Decisions, Early, Prepared, Round, Verdicts
from morsr_mpi.consensus.tally import Tally
from morsr_mpi.consensus.timer import Timer
from morsr_mpi.consensus.trust import Trust
from morsr_mpi.consensus.viewchange import Base, ChangeBook
from morsr_mpi.consensus.votes import Ballot, Subject, Vote, VoteKind


@dataclass
class State:
    """asking: this rank has given up the views below `view`, which has not begun; base: from
    where the current view went on; installed: the membership that last began a view here;
    moved: height, view or membership changed, so what came too early is looked at again."""

    trust: Trust
    collector_above: int
    members: Membership
    height: int
    view: int = 0
    asking: bool = False
    excluded: bool = False
    expecting: bool = False
    moved: bool = False
    effects: list[Effect] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    round: Round = field(default_factory=Round)
    verdicts: Verdicts = field(default_factory=Verdicts)
    prepared: Prepared | None = None
    decisions: Decisions = field(default_factory=Decisions)
    early: Early = field(default_factory=Early)
    changes: ChangeBook = field(default_factory=ChangeBook)
    new_view: NewView | None = None
    asked: set[int] = field(default_factory=set)
    base: Base = field(init=False)
    installed: Membership = field(init=False)
    timer: Timer = field(init=False)

    def __post_init__(self) -> None:
        self.base = Base(self.height)
        self.installed = self.members
        self.timer = Timer(self.effects)

    @property
    def rank(self) -> int:
        """This rank."""
        return self.trust.rank

    @property
    def ballot(self) -> Ballot:
        """The view, with the membership's epoch."""
        return Ballot(self.members.epoch, self.view)

    @property
    def primary(self) -> int:
        """The coordinator of the view."""
        return self.members.primary(self.view)

    @property
    def leading(self) -> bool:
        """Whether that is this rank."""
        return self.primary == self.rank

    @property
    def voting(self) -> bool:
        """Whether the view has begun."""
        return not (self.asking or self.excluded)

    @property
    def collecting(self) -> bool:
        """Whether votes go to the primary alone."""
        return self.members.size > self.collector_above

    @property
    def forced(self) -> bytes | None:
        """Digest of the only value that may be proposed now; None when any may."""
        return self.base.digest if self.height == self.base.height else None

    @property
    def stable(self) -> Certificate | None:
        """Certificate of the last decision; None before the first."""
        last = self.decisions.at(self.height - 1)
        return last.certificate if last else None

    @property
    def status(self) -> Status:
        """Where this rank stands."""
        return Status(self.members.digest, self.ballot, self.height, self.asking)

    def subject(self, kind: VoteKind, digest: bytes) -> Subject:
        """What a vote on a digest here and now is about."""
        return Subject(kind, self.members.digest, self.ballot, self.height, digest)

    def own_vote(self, kind: VoteKind) -> Vote | None:
        """This rank's vote at hand; None when it has not voted so."""
        digest = self.round.digest
        if digest is None or not self.voting:
            return None
        votes = self.tally.votes(self.subject(kind, digest))
        return next((vote for vote in votes if vote.voter == self.rank), None)

    def refuse(self, who: int, why: str) -> None:
        """Note that a message was refused."""
        self.effects.append(Refused(who, why))

    def ask(self, source: int) -> None:
        """Tell one who is further where this rank stands; once until `Resend`."""
        if source not in self.asked and source != self.rank:
            self.asked.add(source)
            self.effects.append(Send(source, self.status))

    def expect(self) -> None:
        """Something is to be decided here: the primary's time runs."""
        self.expecting = True
        if self.voting and not self.timer.running:
            self.timer.start()

    def due(self, source: int, message: Message, subject: Subject) -> bool:
        """Whether a vote is about the view and height at hand; one about later ones is kept."""
        ballot, here = subject.ballot, self.ballot
        if ballot.epoch > here.epoch or subject.height > self.height:
            self.early.keep(source, message)
            if subject.height > self.height + 1:
                self.ask(source)
            return False
        if subject.members != self.members.digest or ballot < here:
            return False
        if ballot > here or self.asking:
            self.early.keep(source, message)
            return False
        return subject.height == self.height
