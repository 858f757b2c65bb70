"""An honest member of a simulated vote: agreement and replica, messages in and out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from morsr_mpi.app.simulate.replica import (
    MAX_BATCH,
    Contribution,
    Identity,
    Replica,
    right_result,
)
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.core import ByzantineConsensus
from morsr_mpi.consensus.effects import (
    Broadcast,
    Check,
    Convicted,
    Decided,
    Effect,
    MembershipChanged,
    Send,
    SetTimer,
    Stalled,
    StopTimer,
    ViewEntered,
)
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
from morsr_mpi.consensus.evidence import DoubleVote
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.messages import Message


@dataclass(frozen=True, slots=True)
class Accusation:
    """A claim somebody found wrong, for everyone to execute again."""

    claim: Contribution


#: What travels between members.
Sent = Message | Contribution | Accusation


class Watcher(Protocol):
    """Told of what an honest member does."""

    def decided(self, member: Member, effect: Decided, passed: list[tuple[int, bytes]]) -> None:
        """A decision was taken and carried out."""

    def convicted(self, member: Member, evidence: DoubleVote) -> None:
        """Evidence against a rank."""

    def left(self, member: Member, effect: MembershipChanged) -> None:
        """A membership has begun."""

    def stalled(self, member: Member, silent: tuple[int, ...]) -> None:
        """Too few members speak for the others to go on."""

    def view(self, member: Member, effect: ViewEntered) -> None:
        """A view has begun."""


class Member:
    """One rank. timer: (token, doublings) of the wake-up it waits for."""

    def __init__(
        self,
        me: Identity,
        size: int,
        wanted: int,
        watcher: Watcher,
        draw: Random,
        start: tuple[int, int, bytes] = (0, 0, bytes(32)),
        **options: int,
    ) -> None:
        """wanted: steps to decide; start: height, pulse and state of the checkpoint."""
        self.me = me
        self.rank = me.rank
        height, pulse, state = start
        self.core = ByzantineConsensus(
            me.rank, me.run, me.keys, me.signer, Membership.of(size), height, **options
        )
        self.replica = Replica(me, size, draw)
        self.replica.pulse, self.replica.state = pulse, state
        self.draw = draw
        self.wanted = wanted
        self.timer: tuple[int, int] | None = None
        self.chain: list[tuple[int, bytes]] = []
        self.last: Certificate | None = None
        self._watcher = watcher
        self._contributed = pulse
        self._patience = 0
        self._expected = -1
        self._accused: set[int] = set()
        self._outgoing: list[tuple[int, Sent]] = []

    @property
    def done(self) -> bool:
        """Whether this rank has seen all steps that are wanted."""
        return self.replica.steps >= self.wanted

    # --- what happens ------------------------------------------------------------------------
    def start(self) -> list[tuple[int, Sent]]:
        """Begin."""
        self._go_on()
        return self._take_outgoing()

    def receive(self, source: int, message: Sent) -> list[tuple[int, Sent]]:
        """Take in a message."""
        match message:
            case Contribution():
                self.replica.take(message)
            case Accusation(claim):
                self.replica.take(claim)
                self._look_into(claim)
            case _:
                self._apply(Received(source, message))
        self._go_on()
        return self._take_outgoing()

    def timed_out(self, token: int) -> list[tuple[int, Sent]]:
        """The timer ran out."""
        self._apply(TimedOut(token))
        self._go_on()
        return self._take_outgoing()

    def tick(self) -> list[tuple[int, Sent]]:
        """Time passed: say again what may be lost, and wait no longer for claims."""
        self._patience += 1
        self._apply(Resend())
        self._go_on()
        return self._take_outgoing()

    def died(self, rank: int) -> list[tuple[int, Sent]]:
        """The runtime reports a death."""
        self._apply(Died(rank))
        self._go_on()
        return self._take_outgoing()

    # --- what is done --------------------------------------------------------------------------
    def _take_outgoing(self) -> list[tuple[int, Sent]]:
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def say(self, dest: int, message: Sent) -> None:
        """Send to one rank; liars do it otherwise."""
        self._outgoing.append((dest, message))

    def say_to_all(self, message: Sent) -> None:
        """Send to all other members."""
        for dest in self.core.members.ranks:
            if dest != self.rank:
                self.say(dest, message)

    def approves(self, value: bytes) -> bool:
        """Whether this rank finds a value right."""
        return self.replica.check(value)

    def proposes(self, value: bytes) -> bytes:
        """What this rank proposes where an honest one proposes this value."""
        return value

    def contribution(self, claim: Contribution) -> Contribution:
        """What this rank claims where an honest one claims this."""
        return claim

    def _look_into(self, claim: Contribution) -> None:
        """Execute a claim again whatever the private choice says: somebody disputes it."""
        me = self.me
        wrong = claim.result != right_result(claim.pulse, claim.index)
        if wrong and claim.sound(me.run, me.keys, me.signer):
            self.replica.caught.setdefault(claim.contributor, claim)

    def _apply(self, event: Event) -> None:
        """Give the agreement an event, and carry out what it wants, in order."""
        waiting: list[Event] = [event]
        while waiting:
            for effect in self.core.apply(waiting.pop(0)):
                self._effect(effect, waiting)

    def _effect(self, effect: Effect, waiting: list[Event]) -> None:
        match effect:
            case Send():
                self.say(effect.dest, effect.message)
            case Broadcast():
                self.say_to_all(effect.message)
            case Check():
                waiting.append(Checked(effect.digest, self.approves(effect.value)))
            case Decided():
                passed = self.replica.apply(effect.value)
                self.chain.append((effect.height, effect.certificate.subject.digest))
                self.last = effect.certificate
                self._patience = 0
                self._watcher.decided(self, effect, passed)
            case SetTimer():
                self.timer = (effect.token, effect.doublings)
            case StopTimer():
                self.timer = None
            case Convicted():
                self.replica.votes_caught.setdefault(effect.evidence.culprit, effect.evidence)
                self._watcher.convicted(self, effect.evidence)
            case MembershipChanged():
                self._watcher.left(self, effect)
            case Stalled():
                self._watcher.stalled(self, effect.silent)
            case ViewEntered():
                self._watcher.view(self, effect)

    def _go_on(self) -> None:
        """Compute, accuse, propose, and wait for what is to be decided."""
        core, replica = self.core, self.replica
        if core.excluded or self.done:
            return None
        members = core.members.ranks
        while self._contributed <= replica.pulse + MAX_BATCH:
            for claim in replica.contribute(self._contributed, members):
                self.say_to_all(self.contribution(claim))
            self._contributed += 1
        for rank in sorted(set(replica.caught) - self._accused):
            self._accused.add(rank)
            self.say_to_all(Accusation(replica.caught[rank]))
        if core.wants_proposal:
            value = replica.proposal(members, hurry=self._patience > 0)
            if value is not None:
                self._apply(Propose(self.proposes(value)))
                return self._go_on()
        if self._expected != core.height:
            self._expected = core.height
            self._apply(Expect())
        return None


#: Makes a member.
MakeMember = Callable[..., Member]
