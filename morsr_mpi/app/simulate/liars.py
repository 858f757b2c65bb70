"""Members that lie, each in its own way; every trick counts how often it was really played.

A liar runs an honest member and bends what goes out. It can sign anything as itself, knows
what its accomplices know, and cannot sign for others. Two instances of one liar (Twins) are
two members with one identity, both connected to everybody.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Any

from morsr_mpi.app.simulate.member import Accusation, Member, Sent
from morsr_mpi.app.simulate.replica import TASKS, Contribution, parse_step
from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import sha256
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.messages import (
    Decision,
    PrePrepare,
    Status,
    ViewChange,
    VoteCast,
)
from morsr_mpi.consensus.values import Leave, Step, decode_value
from morsr_mpi.consensus.votes import Claim, Subject, Vote, VoteKind

#: Tricks and what they are. `twins` is played by running two instances.
TRICKS = {
    "equivocate": "as primary, propose one value to some and another to the rest",
    "vote twice": "vote for one value to some and for another to the rest",
    "withhold": "say nothing to some, or to all",
    "wrong result": "claim and propose a wrong result",
    "wrong exhausted": "claim and propose that something is exhausted that is not",
    "flipped bit": "send bytes with one bit flipped",
    "replay": "send old messages of anybody again",
    "stale view": "vote in views given up, ask for far ones, forget what was prepared",
    "membership lie": "propose that honest ranks leave, name memberships that are none",
    "forge": "votes and decisions in the name of others, without their signatures",
    "twins": "two instances of one identity",
}


@dataclass
class Conspiracy:
    """What liars share: rival values of a height; played: how often each trick took effect."""

    played: Counter[str] = field(default_factory=Counter)
    rivals: dict[tuple[bytes, int], dict[bytes, bytes]] = field(default_factory=dict)

    def rival(self, run: bytes, height: int, digest: bytes) -> bytes:
        """Return the digest of another value of a height; one of nothing if none is known."""
        for other in self.rivals.get((run, height), {}):
            if other != digest:
                return other
        return sha256(b"nothing" + digest)


class Garbled:
    """A message that a liar damaged before it sent it; the receiver gets these bytes."""

    __slots__ = ("message",)

    def __init__(self, message: Sent) -> None:
        self.message = message


class Liar(Member):
    """A member that plays tricks."""

    def __init__(
        self, *arguments: Any, tricks: frozenset[str], plot: Conspiracy, **options: Any
    ) -> None:
        """tricks: of TRICKS; plot: shared with its accomplices."""
        self.tricks = tricks
        self.plot = plot
        self._seen: deque[Sent] = deque(maxlen=60)
        super().__init__(*arguments, **options)
        self._silent = self.draw.random() < 0.5

    def _plays(self, trick: str, chance: float) -> bool:
        return trick in self.tricks and self.draw.random() < chance

    def _sign(self, subject: Subject) -> Vote:
        return Vote(subject, self.rank, self.me.signer.sign(subject.signed_bytes(self.me.run)))

    # --- what it believes and proposes -------------------------------------------------------
    def receive(self, source: int, message: Sent) -> list[tuple[int, Sent]]:
        """Remember, to replay it later."""
        if "replay" in self.tricks:
            self._seen.append(message)
        if isinstance(message, PrePrepare):
            subject = message.vote.subject
            known = self.plot.rivals.setdefault((self.me.run, subject.height), {})
            known[subject.digest] = message.value
        return super().receive(source, message)

    def approves(self, value: bytes) -> bool:
        """A liar approves of everything: perhaps it is an accomplice's."""
        return True

    def contribution(self, claim: Contribution) -> Contribution:
        """Claim something wrong."""
        trick = "wrong exhausted" if claim.index % 2 else "wrong result"
        if not self._plays(trick, 0.7):
            return claim
        self.plot.played[trick] += 1
        return self._wrong(claim)

    def _wrong(self, claim: Contribution) -> Contribution:
        me = self.me
        lie = bytes([claim.result[0] ^ 1]) + claim.result[1:]
        return Contribution.signed(me.run, me.signer, me.rank, claim.pulse, claim.index, lie)

    def proposes(self, value: bytes) -> bytes:
        """Propose something wrong: a result, or that somebody honest leaves."""
        if self._plays("membership lie", 0.5):
            others = [rank for rank in self.core.members.ranks if rank != self.rank]
            if others:
                self.plot.played["membership lie"] += 1
                lie = encode(("claim", self.replica.claim(self.replica.pulse, 0).fields()))
                return Leave((self.draw.choice(others),), lie).encode()
        for trick, index in (("wrong result", 0), ("wrong exhausted", 1)):
            if self._plays(trick, 0.4):
                self.plot.played[trick] += 1
                return self._with_wrong(value, index)
        return value

    def _with_wrong(self, value: bytes, index: int) -> bytes:
        """The value with a wrong result of this rank's in its first pulse."""
        decoded = decode_value(value)
        if not isinstance(decoded, Step):
            return value
        _, pulses, _ = parse_step(decoded)
        first = list(pulses[0])
        first[index] = self._wrong(self.replica.claim(self.replica.pulse, index))
        return self.replica.step([tuple(first), *pulses[1:]])

    def _another(self, value: bytes) -> bytes:
        """Another value that an honest rank would find right: other contributors."""
        replica = self.replica
        claims = tuple(replica.claim(replica.pulse, index) for index in range(TASKS))
        other = replica.step([claims])
        if other == value:
            more = tuple(replica.claim(replica.pulse + 1, index) for index in range(TASKS))
            other = replica.step([claims, more])
        return other

    # --- what goes out -------------------------------------------------------------------------
    def say(self, dest: int, message: Sent) -> None:
        """Bend a message on its way to one rank."""
        played = self.plot.played
        if "withhold" in self.tricks and (
            self._silent or dest % 3 == 0 or self._plays("withhold", 0.3)
        ):
            played["withhold"] += 1
            return
        if self._plays("forge", 0.3) and isinstance(message, VoteCast | PrePrepare):
            played["forge"] += 1
            for forged in self._forged(message.vote):
                super().say(dest, forged)
        if self._plays("replay", 0.2) and self._seen:
            played["replay"] += 1
            super().say(dest, self.draw.choice(self._seen))
        if "replay" in self.tricks:
            self._seen.append(message)
        if self._plays("flipped bit", 0.4):
            played["flipped bit"] += 1
            super().say(dest, Garbled(message))  # type: ignore[arg-type]
            return
        match message:
            case PrePrepare() if self._plays("equivocate", 1.0) and dest % 2:
                if self.draw.random() < 0.3:  # to some both, one after the other
                    super().say(dest, message)
                message = self._equivocal(message)
            case VoteCast():
                self._vote_otherwise(dest, message)
                if "vote twice" in self.tricks and dest % 2:
                    played["vote twice"] += 1
                    message = VoteCast(self._rival_vote(message.vote))
            case ViewChange() if self._plays("stale view", 0.7):
                played["stale view"] += 1
                message = self._forgetful(message)
            case Status() if self._plays("membership lie", 0.5):
                played["membership lie"] += 1
                message = replace(message, members=sha256(b"another membership"))
            case Accusation() if self._plays("membership lie", 1.0):
                played["membership lie"] += 1
                message = Accusation(self.replica.claim(self.replica.pulse, 0))
        super().say(dest, message)

    def _forged(self, vote: Vote) -> list[Sent]:
        """Votes of everybody else for this rank's value, and a decision made of them."""
        height = vote.subject.height
        other = self.plot.rival(self.me.run, height, vote.subject.digest)
        value = self.plot.rivals.get((self.me.run, height), {}).get(other)
        votes = [
            Vote(replace(vote.subject, kind=kind, digest=digest), rank, vote.signature)
            for kind in (VoteKind.PREPARE, VoteKind.COMMIT)
            for digest in (vote.subject.digest, other)
            for rank in self.core.members.ranks
            if rank != self.rank
        ]
        forged: list[Sent] = [VoteCast(forged) for forged in votes]
        if value is not None:
            commits = [v for v in votes if v.subject.kind == VoteKind.COMMIT]
            rest = sorted((v.voter, v.signature) for v in commits if v.subject.digest == other)
            subject = replace(vote.subject, kind=VoteKind.COMMIT, digest=other)
            forged.append(Decision(Certificate(subject, self.core.members, tuple(rest)), value))
        return forged

    def _equivocal(self, message: PrePrepare) -> PrePrepare:
        """A rival proposal, and its votes known to the accomplices."""
        other = self._another(message.value)
        subject = replace(message.vote.subject, digest=sha256(other))
        known = self.plot.rivals.setdefault((self.me.run, subject.height), {})
        known[message.vote.subject.digest] = message.value
        known[subject.digest] = other
        self.plot.played["equivocate"] += 1
        return PrePrepare(self._sign(subject), other)

    def _rival_vote(self, vote: Vote) -> Vote:
        subject = vote.subject
        other = self.plot.rival(self.me.run, subject.height, subject.digest)
        return self._sign(replace(subject, digest=other))

    def _vote_otherwise(self, dest: int, message: VoteCast) -> None:
        """Besides its vote: votes of other kinds and views that are not its to give."""
        subject = message.vote.subject
        if self._plays("stale view", 0.3):
            self.plot.played["stale view"] += 1
            view = self.draw.randint(0, max(0, subject.ballot.view + 2))
            stale = replace(subject, ballot=replace(subject.ballot, view=view))
            super().say(dest, VoteCast(self._sign(stale)))
        if self._plays("vote twice", 0.5):
            self.plot.played["vote twice"] += 1
            kinds = (VoteKind.PREPARE, VoteKind.COMMIT)
            hasty = replace(subject, kind=kinds[subject.kind == VoteKind.PREPARE])
            super().say(dest, VoteCast(self._sign(hasty)))

    def _forgetful(self, message: ViewChange) -> ViewChange:
        """A view change that forgets what was prepared, or asks for a view far away."""
        subject = message.vote.subject
        claim = Claim(message.claim.height)
        view = subject.ballot.view
        if self.draw.random() < 0.3:
            view += self.draw.randint(1, 5)
        ballot = replace(subject.ballot, view=view)
        asked = replace(subject, ballot=ballot, height=claim.height, digest=claim.named())
        return ViewChange(self._sign(asked), claim, message.stable)
