"""The world of simulated votes: members, a network that misbehaves, deaths, restarts."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from morsr_mpi.adapters.simulated import EventQueue
from morsr_mpi.app.simulate.cut import Cut
from morsr_mpi.app.simulate.faults import FaultyConduct, stream
from morsr_mpi.app.simulate.liars import Conspiracy, Garbled, Liar
from morsr_mpi.app.simulate.member import Accusation, Member, Sent
from morsr_mpi.app.simulate.replica import Contribution, Identity
from morsr_mpi.app.simulate.vote_truth import VoteTruth
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus.messages import decode_message, encode_message
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.twin import TwinAuthority

#: Seconds between two calls to say things again.
RESEND_SECONDS = 0.05
#: Seconds of a member for one message, times its slowness.
MESSAGE_SECONDS = 2e-5
#: Seconds in which the runtime reports a death to a survivor.
DEATH_REPORT_SECONDS = (0.003, 0.1)


@dataclass(frozen=True)
class MessageCosts:
    """CPU seconds of one message apart from signatures, of signing and of verifying."""

    message: float
    sign: float = 0.0
    verify: float = 0.0


class CountingSigner:
    """A signer that counts what it does."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.signed = self.verified = 0
        self.mode = signer.mode
        self.public_key = signer.public_key
        self.signature_bytes = signer.signature_bytes

    def sign(self, data: bytes) -> bytes:
        """Count and sign."""
        self.signed += 1
        return self._signer.sign(data)

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Count and verify."""
        self.verified += 1
        return self._signer.verify(public_key, data, signature)


@dataclass
class Instance:
    """One running copy of a member: a liar with the trick `twins` has two."""

    member: Member
    epoch: int
    slowness: float = 1.0
    busy_until: float = 0.0
    alive: bool = True
    armed: tuple[int, int] | None = None
    twin: bool = False
    spent: float = 0.0
    waiting: deque[tuple[int, Sent | Garbled]] = field(default_factory=deque)


@dataclass
class VoteWorld:
    """Members under virtual time. patience: seconds a primary is given at first; effects:
    crashes, restarts and so on that took effect."""

    seed: int
    size: int
    conduct: FaultyConduct
    truth: VoteTruth
    plot: Conspiracy
    patience: float = 0.25
    cut: Cut | None = None
    real_keys: bool = False
    costs: MessageCosts = MessageCosts(MESSAGE_SECONDS)
    death_report: tuple[float, float] = DEATH_REPORT_SECONDS
    effects: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    trace: bytes = b""

    def __post_init__(self) -> None:
        self.queue = EventQueue()
        self.instances: list[list[Instance]] = []
        self._epoch = -1
        self._draw = stream(self.seed, "world")
        self._said = 0

    # --- start and restart -------------------------------------------------------------------
    def open(
        self, liars: Mapping[int, frozenset[str]], steps: int, recheck: float, collector: int
    ) -> None:
        """Start the job."""
        self._liars, self._steps = dict(liars), steps
        self._recheck, self._collector = recheck, collector
        self._start((0, 0, bytes(32)), 0)

    def _start(self, at: tuple[int, int, bytes], steps_done: int) -> None:
        """Start an epoch of the job from a checkpoint, with fresh keys."""
        self._epoch += 1
        epoch = self._epoch
        run = sha256(f"run {self.seed} {epoch}".encode())
        authority = TwinAuthority(run)
        signers: list[Signer] = [self._signer(authority, run, rank) for rank in range(self.size)]
        keys = {rank: signer.public_key for rank, signer in enumerate(signers)}
        self.truth.epoch(
            run, keys, authority.signer("witness") if not self.real_keys else signers[0]
        )
        self.instances = []
        for rank, signer in enumerate(signers):
            tricks = self._liars.get(rank, frozenset())
            secret = sha256(f"secret {self.seed} {epoch} {rank}".encode())
            me = Identity(rank, run, keys, signer, secret, self._recheck)
            copies = 2 if "twins" in tricks else 1
            self.instances.append(
                [self._instance(me, tricks, at, steps_done, copy) for copy in range(copies)]
            )
        for instances in self.instances:
            for instance in instances:
                self.queue.at(self.queue.now, partial(self._begin, instance))

    def _signer(self, authority: TwinAuthority, run: bytes, rank: int) -> Signer:
        if self.real_keys:
            return Ed25519Signer(sha256(run + rank.to_bytes(2, "big")))
        signer = authority.signer(rank)
        return CountingSigner(signer) if self.costs.verify else signer

    def _instance(
        self,
        me: Identity,
        tricks: frozenset[str],
        at: tuple[int, int, bytes],
        steps_done: int,
        copy: int,
    ) -> Instance:
        draw = stream(self.seed, f"member {self._epoch} {me.rank} {copy}")
        options = {"collector_above": self._collector}
        member = (
            Liar(
                me, self.size, self._steps, self.truth, draw, at,
                tricks=tricks, plot=self.plot, **options,
            )
            if tricks
            else Member(me, self.size, self._steps, self.truth, draw, at, **options)
        )  # fmt: skip
        member.replica.steps = steps_done
        slowness = self.conduct.plan.slowness_of(me.rank)
        return Instance(member, self._epoch, slowness, twin=copy > 0)

    def restart(self, when: float) -> None:
        """Start the whole job again at a time, from the checkpoint of an honest rank."""
        self.queue.at(when, self._restart)

    def _restart(self) -> None:
        honest = [member for member in self.honest() if not member.done]
        if not honest:
            return
        writer = self._draw.choice(honest)
        for instances in self.instances:
            for instance in instances:
                instance.alive = False
        self.effects["restart"] += 1
        replica = writer.replica
        self._start((writer.core.height, replica.pulse, replica.state), replica.steps)

    def crash(self, when: float, rank: int) -> None:
        """Kill a rank at a time."""
        self.queue.at(when, partial(self._crash, self._epoch, rank))

    def _crash(self, epoch: int, rank: int) -> None:
        if epoch != self._epoch or all(m.done for m in self.honest()):
            return
        for instance in self.instances[rank]:
            instance.alive = False
        self.effects["crash"] += 1
        self.truth.dead.add(rank)
        low, high = self.death_report
        for instances in self.instances:
            for instance in instances:
                when = self.queue.now + self._draw.uniform(low, high)
                self.queue.at(when, partial(self._died, instance, rank))

    # --- what happens ------------------------------------------------------------------------
    def honest(self) -> list[Member]:
        """Members that neither lie nor are dead nor were excluded."""
        return [
            instances[0].member
            for rank, instances in enumerate(self.instances)
            if rank not in self.truth.guilty
            and instances[0].alive
            and not instances[0].member.core.excluded
        ]

    def lies(self) -> tuple[int, int]:
        """Wrong claims of *exhausted* that reached every honest member, and how many of them
        somebody's private choice was to execute again."""
        seen = [member.replica.lies_seen for member in self.honest()]
        everywhere = set.intersection(*map(set, seen)) if seen else set()
        return len(everywhere), sum(any(lies[key] for lies in seen) for key in everywhere)

    def run(self, until: float) -> None:
        """Let things happen until every honest member is done, or time is up."""
        check = 0
        while self.queue.now <= until:
            check -= 1
            if check <= 0:
                check = 16
                if all(m.done for m in self.honest()):
                    return
            if not self.queue.step():
                return

    def _begin(self, instance: Instance) -> None:
        if instance.alive:
            self._after(instance, instance.member.start())
            self.queue.at(self.queue.now + RESEND_SECONDS, partial(self._tick, instance))

    def _tick(self, instance: Instance) -> None:
        if not instance.alive or instance.member.core.excluded:
            return
        ready = self.conduct.plan.ready_at(instance.member.rank, self.queue.now)
        if ready > self.queue.now:
            self.effects["pause"] += 1
            self.queue.at(ready, partial(self._tick, instance))
            return
        if instance.slowness > 1.0:
            self.effects["straggler"] += 1
        self._after(instance, instance.member.tick())
        self.queue.at(self.queue.now + RESEND_SECONDS, partial(self._tick, instance))

    def _died(self, instance: Instance, rank: int) -> None:
        if instance.alive and instance.member.rank != rank:
            self._after(instance, instance.member.died(rank))

    def _timed_out(self, instance: Instance, armed: tuple[int, int]) -> None:
        if not instance.alive or instance.armed != armed:
            return
        instance.armed = None
        instance.member.timer = None
        self._after(instance, instance.member.timed_out(armed[0]))

    def _after(
        self, instance: Instance, outgoing: list[tuple[int, Sent]], took: float = 0.0
    ) -> None:
        """Send what a member has to say, `took` seconds from now, and set its timer."""
        member, now = instance.member, self.queue.now
        sender = member.rank
        if instance.twin and outgoing:
            self.plot.played["twins"] += 1
        for dest, message in outgoing:
            self.truth.sent(member, message)
            held = took
            if self.cut is not None and instance.epoch == 0:
                held += self.cut.delay(now, sender, dest, message, member.core.height)
            for delay, damaged in self.conduct.deliveries(now, sender, dest):
                arriving = Garbled(message) if damaged else message
                for other in self.instances[dest]:
                    due = partial(self._arrives, other, sender, arriving)
                    self.queue.at(now + held + delay, due)
        if member.timer != instance.armed:
            instance.armed = member.timer
            if member.timer is not None:
                token, doublings = member.timer
                patience = self.patience * 2.0**doublings
                out = partial(self._timed_out, instance, (token, doublings))
                self.queue.at(now + patience, out)

    def _price(self, instance: Instance) -> float:
        """Seconds of what a member has just done, by the signatures it made and checked."""
        counter = instance.member.me.signer
        if not isinstance(counter, CountingSigner):
            return self.costs.message * instance.slowness
        costs = self.costs
        price = costs.message + counter.signed * costs.sign + counter.verified * costs.verify
        counter.signed = counter.verified = 0
        return price * instance.slowness

    def _arrives(self, instance: Instance, source: int, message: Sent | Garbled) -> None:
        """A message is there: the member takes it when it is not busy or paused."""
        if not instance.alive:
            return
        now = self.queue.now
        plan = self.conduct.plan
        ready = plan.ready_at(instance.member.rank, max(now, instance.busy_until))
        if ready > now:
            instance.waiting.append((source, message))
            if len(instance.waiting) == 1:
                self.queue.at(ready, partial(self._next, instance))
        elif instance.waiting:
            instance.waiting.append((source, message))
        else:
            self._takes(instance, source, message)

    def _next(self, instance: Instance) -> None:
        """The member is free for the next message that waits."""
        if not instance.alive or not instance.waiting:
            return
        ready = self.conduct.plan.ready_at(
            instance.member.rank, max(self.queue.now, instance.busy_until)
        )
        if ready <= self.queue.now:
            self._takes(instance, *instance.waiting.popleft())
            ready = instance.busy_until
        if instance.waiting:
            self.queue.at(ready, partial(self._next, instance))

    def _takes(self, instance: Instance, source: int, message: Sent | Garbled) -> None:
        if not instance.alive:
            return
        self.messages += 1
        if isinstance(message, Garbled):
            opened = self._open(message, source)
            if opened is None:
                return
            message = opened
        member = instance.member
        before = member.core.height
        outgoing = member.receive(source, message)
        took = self._price(instance)
        instance.spent += took
        instance.busy_until = self.queue.now + took
        self._after(instance, outgoing, took)
        if member.core.height != before:
            place = f"{member.rank} {member.core.height} {self.queue.now!r}"
            self.trace = sha256(self.trace + place.encode() + member.replica.state)

    def _open(self, garbled: Garbled, source: int) -> Sent | None:
        """What a receiver makes of damaged bytes; None when it refuses them."""
        inner = garbled.message
        while isinstance(inner, Garbled):
            inner = inner.message
        if isinstance(inner, Contribution | Accusation):
            return None  # its signature does not hold any more
        data = self.conduct.flip(encode_message(inner))
        try:
            return decode_message(data, source)
        except ProtocolError:
            return None
