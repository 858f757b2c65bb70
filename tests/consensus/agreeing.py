"""A cluster of cores in memory for tests: queues between ranks, a schedule, invariants.

Nothing here is random by itself: who delivers what next is the test's choice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from morsr_mpi.base.digest import sha256
from morsr_mpi.consensus import effects as fx
from morsr_mpi.consensus import events as ev
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.core import ByzantineConsensus
from morsr_mpi.consensus.evidence import DoubleVote
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.messages import (
    Message,
    PrePrepare,
    VoteCast,
    decode_message,
    encode_message,
)
from morsr_mpi.consensus.values import Leave, Step
from morsr_mpi.consensus.votes import Ballot, Subject, Vote, VoteKind
from morsr_mpi.security.twin import TwinAuthority

RUN = sha256(b"run")


def step(text: str) -> bytes:
    """A value."""
    return Step(text.encode()).encode()


def leave(*ranks: int) -> bytes:
    """A value that excludes ranks."""
    return Leave(ranks, b"").encode()


@dataclass
class Cluster:
    """size ranks, of which `liars` have no core: the test speaks for them. right: what honest
    ranks find right."""

    size: int
    liars: frozenset[int] = frozenset()
    collector_above: int = 16
    right: Callable[[int, bytes], bool] = lambda rank, value: True
    auto_check: bool = True
    dead: set[int] = field(default_factory=set)
    decided: dict[int, list[bytes]] = field(default_factory=dict)
    evidence: list[DoubleVote] = field(default_factory=list)
    heard: list[Message] = field(default_factory=list)
    log: dict[int, list[fx.Effect]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        authority = TwinAuthority(b"tests")
        self.signers = {rank: authority.signer(rank) for rank in range(self.size)}
        self.keys = {rank: signer.public_key for rank, signer in self.signers.items()}
        self.queues: dict[tuple[int, int], deque[Message]] = {}
        self.timers: dict[int, int] = {}
        self.checks: deque[tuple[int, bytes, bytes]] = deque()
        self.by_height: dict[int, bytes] = {}
        self.cores = {
            rank: ByzantineConsensus(
                rank, RUN, self.keys, self.signers[rank], collector_above=self.collector_above
            )
            for rank in range(self.size)
            if rank not in self.liars
        }
        self.decided = {rank: [] for rank in self.cores}
        self.log = {rank: [] for rank in self.cores}

    # --- what happens ----------------------------------------------------------------------
    def give(self, rank: int, event: ev.Event) -> None:
        """Give a living honest rank an event and carry out what it wants."""
        if rank in self.dead or rank not in self.cores:
            return
        core = self.cores[rank]
        for effect in core.apply(event):
            self.log[rank].append(effect)
            self._carry_out(rank, core, effect)
        while self.auto_check and self.checks:
            self.answer_check()

    def _carry_out(self, rank: int, core: ByzantineConsensus, effect: fx.Effect) -> None:
        match effect:
            case fx.Send():
                self.send(rank, effect.dest, effect.message)
            case fx.Broadcast():
                for dest in range(self.size):
                    self.send(rank, dest, effect.message)
            case fx.Check():
                self.checks.append((rank, effect.digest, effect.value))
            case fx.SetTimer():
                self.timers[rank] = effect.token
            case fx.StopTimer():
                self.timers.pop(rank, None)
            case fx.Decided():
                self._agree(rank, effect)
            case fx.Convicted():
                assert effect.evidence.valid(RUN, self.keys, self.signers[rank])
                assert effect.evidence.culprit in self.liars, "an honest rank was framed"
                self.evidence.append(effect.evidence)
            case _:
                pass

    def _agree(self, rank: int, decided: fx.Decided) -> None:
        """The invariants: agreement, order, certificates of distinct members."""
        assert decided.height == len(self.decided[rank]), "a decision was skipped"
        self.decided[rank].append(decided.value)
        first = self.by_height.setdefault(decided.height, decided.value)
        assert first == decided.value, f"two values were decided at height {decided.height}"
        certificate = Certificate.decode(decided.certificate.encode())
        assert certificate.subject.digest == sha256(decided.value)
        assert certificate.subject.height == decided.height
        assert certificate.valid(VoteKind.COMMIT, RUN, self.keys, self.signers[rank])

    def send(self, source: int, dest: int, message: Message) -> None:
        """Queue a message, as the bytes that would travel."""
        if dest == source or dest in self.dead:
            return
        message = decode_message(encode_message(message), source)
        if dest in self.liars:
            self.heard.append(message)
            return
        self.queues.setdefault((source, dest), deque()).append(message)

    def answer_check(self) -> None:
        """Answer the oldest check."""
        rank, digest, value = self.checks.popleft()
        self.give(rank, ev.Checked(digest, self.right(rank, value)))

    # --- schedules -------------------------------------------------------------------------
    def waiting(self) -> list[tuple[int, int]]:
        """Pairs of ranks with messages under way."""
        return [pair for pair, queue in sorted(self.queues.items()) if queue]

    def deliver(self, source: int, dest: int) -> None:
        """Deliver the oldest message from one rank to another."""
        self.give(dest, ev.Received(source, self.queues[source, dest].popleft()))

    def settle(self, without: Iterable[int] = ()) -> None:
        """Deliver everything, round robin, to and from all but some ranks."""
        apart = set(without)
        for _ in range(100_000):
            pairs = [p for p in self.waiting() if not apart & set(p)]
            if not pairs:
                return
            for source, dest in pairs:
                if self.queues[source, dest]:
                    self.deliver(source, dest)
        raise AssertionError("messages without end")

    def lose(self, ranks: Iterable[int]) -> None:
        """Lose what is under way to and from some ranks."""
        gone = set(ranks)
        for pair, queue in self.queues.items():
            if gone & set(pair):
                queue.clear()

    def propose(self, value: bytes) -> None:
        """Every rank that may propose does, and all expect a decision."""
        for rank in sorted(self.cores):
            self.give(rank, ev.Expect())
            self.give(rank, ev.Propose(value))

    def time_out(self, *ranks: int) -> None:
        """Let the timers of some ranks, or of all, run out."""
        for rank, token in sorted(self.timers.items()):
            if not ranks or rank in ranks:
                self.timers.pop(rank)
                self.give(rank, ev.TimedOut(token))

    def resend(self) -> None:
        """The regular repetition."""
        for rank in sorted(self.cores):
            self.give(rank, ev.Resend())

    def kill(self, *ranks: int, told: Iterable[int] | None = None) -> None:
        """Ranks die; what they sent still arrives. told: who hears of it now, default all."""
        self.dead.update(ranks)
        for rank in ranks:
            for pair in [p for p in self.queues if p[1] == rank]:
                del self.queues[pair]
            self.timers.pop(rank, None)
        for rank in sorted(self.cores) if told is None else told:
            for gone in ranks:
                self.give(rank, ev.Died(gone))

    def heal(self, value: bytes, height: int) -> None:
        """With everything delivered and time passing, all reach a height within a bound."""
        for _ in range(12 * self.size):
            self.settle()
            self.propose(value)
            self.settle()
            live = [c for r, c in self.cores.items() if r not in self.dead and not c.excluded]
            if all(core.height >= height for core in live):
                return
            self.resend()
            self.settle()
            self.time_out()
        at = {r: (c.height, c.ballot, c.voting) for r, c in self.cores.items()}
        raise AssertionError(f"no progress to height {height}: {at}")

    # --- what a liar signs -----------------------------------------------------------------
    def vote(
        self,
        kind: VoteKind,
        voter: int,
        digest: bytes,
        height: int = 0,
        view: int = 0,
        members: Membership | None = None,
    ) -> Vote:
        """A vote in the name of a rank."""
        members = members or Membership.of(self.size)
        subject = Subject(kind, members.digest, Ballot(members.epoch, view), height, digest)
        return Vote(subject, voter, self.signers[voter].sign(subject.signed_bytes(RUN)))

    def lie(
        self, voter: int, value: bytes, to: Iterable[int], height: int = 0, view: int = 0
    ) -> None:
        """A liar proposes (where it is primary), prepares and commits a value towards some."""
        digest = sha256(value)
        prepare = self.vote(VoteKind.PREPARE, voter, digest, height, view)
        commit = self.vote(VoteKind.COMMIT, voter, digest, height, view)
        primary = Membership.of(self.size).primary(view) == voter
        for dest in to:
            self.send(voter, dest, PrePrepare(prepare, value) if primary else VoteCast(prepare))
            self.send(voter, dest, VoteCast(commit))
