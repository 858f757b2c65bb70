"""Certified pulses: commits of this rank are put to the vote, in batches, behind the computing.

A rank commits when it has all results of a pulse, and goes on: that is speculation, bounded in
pulses. The primary proposes what it has committed since the last decision; a voter prepares
when it has committed the same pulses with the same outcome itself. Only what was decided
becomes a record of the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from morsr_mpi.base.config import (
    MAX_BALLOT_PULSES,
    MAX_SPECULATIVE_PULSES,
    MAX_VALUE_BYTES,
    RETRY_SECONDS,
    VOTE_PATIENCE_SECONDS,
    VOTE_SECONDS,
    VOTE_SECONDS_PER_RANK,
)
from morsr_mpi.base.errors import InternalError, ProtocolError, StateDiffersError
from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus import effects as fx
from morsr_mpi.consensus import events as ev
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.core import ByzantineConsensus
from morsr_mpi.consensus.evidence import EVIDENCE_PREFIX, DoubleVote
from morsr_mpi.consensus.messages import decode_message, encode_message
from morsr_mpi.consensus.values import Leave, decode_value
from morsr_mpi.consensus.votes import VoteKind
from morsr_mpi.node.accusations import Accusations
from morsr_mpi.node.ballot import Commit, PulseRange
from morsr_mpi.node.claims import ClaimBook
from morsr_mpi.node.wrong_result import WRONG_RESULT_PREFIX, WrongResult
from morsr_mpi.provenance.bodies import Certified


@dataclass
class Outcome:
    """What agreement wants of the node: votes to send, as (rank, bytes); bodies of records;
    evidence, by name; ranks excluded, and why; lines for the log."""

    votes: list[tuple[int, bytes]] = field(default_factory=list)
    records: list[Commit | Certified] = field(default_factory=list)
    evidence: list[tuple[str, bytes]] = field(default_factory=list)
    excluded: list[tuple[Leave, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class Agreement:
    """One rank's part in certifying pulses."""

    def __init__(
        self,
        rank: int,
        run: bytes,
        keys: Mapping[int, bytes],
        signer: Signer,
        committed: int,
        claims: ClaimBook,
    ) -> None:
        """committed: pulses in the state that the ranks started from; claims: what this rank
        finds out about the results of others."""
        self.certified = committed
        self.convicted: set[int] = set()
        self._rank, self._run, self._keys, self._signer = rank, run, dict(keys), signer
        self._claims = claims
        self._accusations = Accusations(run, list(keys.values()), signer, claims)
        self._core = ByzantineConsensus(rank, run, keys, signer)
        self._own: deque[Commit] = deque()
        self._next = committed
        self._previous: Certificate | None = None
        self._handed_on = True
        self._checks: dict[bytes, bytes] = {}
        self._decided: deque[tuple[PulseRange, Certificate]] = deque()
        self._now = 0.0
        self._deadline: tuple[float, int] | None = None
        self._resent_at = 0.0
        self._proposed_at = float("-inf")
        self._vote_every = VOTE_SECONDS_PER_RANK * len(self._keys)
        self._over = False
        self._own_since = 0.0
        self._out = Outcome()

    # --- what others may ask -------------------------------------------------------------
    @property
    def view(self) -> int:
        """The view; its primary is the coordinator."""
        return self._core.ballot.view

    @property
    def decided(self) -> int:
        """Pulses decided, with those this rank has not committed itself yet."""
        return self._decided[-1][0].end if self._decided else self.certified

    @property
    def settled(self) -> bool:
        """Whether everything committed here is certified, and its certificate recorded."""
        return not self._own and not self._decided and self._handed_on

    @property
    def guilty(self) -> frozenset[int]:
        """Ranks that this rank finds guilty of a wrong result."""
        return frozenset(self._accusations.guilty)

    @property
    def uncertified(self) -> Sequence[Commit]:
        """Commits without a decision, oldest first."""
        return tuple(self._own)

    @property
    def room(self) -> int:
        """Number of pulses that may be committed before the next decision, from the first."""
        return self.certified + MAX_SPECULATIVE_PULSES

    def take(self) -> Outcome:
        """Return what is wanted since the last call."""
        out, self._out = self._out, Outcome()
        return out

    # --- events --------------------------------------------------------------------------
    def commit(self, body: Commit) -> None:
        """A pulse was committed here, and is found right as far as this rank checks it."""
        if body.pulse != self._next:
            raise InternalError(f"pulse {body.pulse} came to the vote out of order")
        self._next += 1
        self._own.append(body)
        self._apply_decided()
        self._answer()
        if len(self._own) >= MAX_BALLOT_PULSES // 4:  # short pulses: not only by time
            self.propose()

    def hear(self, sender: int, data: bytes) -> None:
        """A vote or evidence came. Raises ProtocolError for what is neither."""
        if data.startswith(EVIDENCE_PREFIX):
            self._hear_evidence(sender, data)
            return
        if data.startswith(WRONG_RESULT_PREFIX):
            self._accusations.hear(data, sender)
            self.look()
            return
        self._apply(ev.Received(sender, decode_message(data, sender)))

    def look(self) -> None:
        """This rank may have found out something about results of others."""
        found, lines = self._accusations.judged()
        self._out.lines.extend(lines)
        for culprit, proof in found:
            self.accuse(culprit, proof)
        self._answer()

    def accuse(self, culprit: int, proof: WrongResult) -> None:
        """This rank finds that another computed wrongly: show it to all, and have it leave."""
        if self._accusations.find(culprit, proof):
            name = f"wrong-result-{culprit}-{proof.pulse}-{proof.index}.bin"
            self._show(name, proof.encode())
            self._out.lines.append(
                f"rank {culprit} computed task {proof.index} of pulse {proof.pulse} wrongly"
            )
            self.propose()

    def tick(self, now: float, waiting: bool) -> None:
        """Time passed. waiting: something should happen that only the coordinator can bring."""
        self._now = now
        leaving = self._accusations.proposal(self._core.members.ranks) is not None
        if not self._own:
            self._own_since = now
        late = now - self._own_since >= 2.0 * self._claims.longest  # others check too
        if (self._own and late) or waiting or leaving:
            self._apply(ev.Expect())
        deadline = self._deadline
        if deadline is not None and now >= deadline[0]:
            self._deadline = None
            self._apply(ev.TimedOut(deadline[1]))
        if now - self._resent_at >= RETRY_SECONDS:
            self._resent_at = now
            self._apply(ev.Resend())
        if now - self._proposed_at >= max(VOTE_SECONDS, self._vote_every):
            self.propose()

    def give_up(self) -> list[Commit]:
        """Return and forget commits without a decision."""
        bodies = list(self._own)
        self._own.clear()
        self._decided.clear()
        return bodies

    def propose(self, closing: bool = False) -> None:
        """As primary: put to the vote what has been committed since the last decision.

        closing: nothing follows, so that the last certificate is handed on too.
        """
        if not self._core.wants_proposal or self._decided or self._over:
            return
        leave = self._accusations.proposal(self._core.members.ranks)
        if leave is not None:
            self._apply(ev.Expect())
            self._apply(ev.Propose(leave.encode()))
            return
        bodies: list[Commit] = []
        size = 0
        for body in self._own:
            size += len(body.contributors) + 16
            if len(bodies) == MAX_BALLOT_PULSES or (bodies and size > MAX_VALUE_BYTES // 4):
                break
            bodies.append(body)
        if not bodies and not (closing and not self._handed_on):
            return
        previous = self._previous.encode() if self._previous is not None else b""
        self._proposed_at = self._now
        self._apply(ev.Expect())
        self._apply(ev.Propose(PulseRange.of(self.certified, bodies, previous).encode()))

    # --- the vote ------------------------------------------------------------------------
    def _apply(self, event: ev.Event) -> None:
        for effect in self._core.apply(event):
            match effect:
                case fx.Send():
                    self._out.votes.append((effect.dest, encode_message(effect.message)))
                case fx.Broadcast():
                    data = encode_message(effect.message)
                    others = (r for r in self._core.members.ranks if r != self._rank)
                    self._out.votes.extend((rank, data) for rank in others)
                case fx.Check():
                    self._checks[effect.digest] = effect.value
                case fx.Decided():
                    self._decide(effect)
                case fx.SetTimer():
                    patience = VOTE_PATIENCE_SECONDS * 2.0**effect.doublings
                    self._deadline = (self._now + patience, effect.token)
                case fx.StopTimer():
                    self._deadline = None
                case fx.ViewEntered():
                    self._out.lines.append(
                        f"view {effect.ballot.view} begins: rank {effect.primary} coordinates"
                    )
                case fx.Convicted():
                    self._convict(effect.evidence)
                case fx.Stalled():
                    silent = ", ".join(map(str, effect.silent))
                    self._out.lines.append(f"no agreement without rank {silent}")
                case fx.Refused():
                    self._out.lines.append(f"rank {effect.who}: {effect.why}")
                case fx.MembershipChanged():
                    self._out.lines.append(
                        f"{effect.now.size} ranks agree, tolerating {effect.now.faulty} liars"
                    )
        self._answer()

    def _hear_evidence(self, sender: int, data: bytes) -> None:
        """Take evidence that another rank found."""
        try:
            proof = DoubleVote.decode(data)
        except ValueError as error:
            raise ProtocolError(f"rank {sender} sent malformed evidence: {error}") from None
        if proof.culprit in self.convicted:
            return
        if not proof.valid(self._run, self._keys, self._signer):
            raise ProtocolError(f"rank {sender} sent evidence that proves nothing")
        self._convict(proof)

    def _convict(self, proof: DoubleVote) -> None:
        """Keep evidence, and show it to all: once for each culprit."""
        if proof.culprit in self.convicted:
            return
        self.convicted.add(proof.culprit)
        self._out.lines.append(f"rank {proof.culprit} voted twice")
        name = f"double-vote-{proof.culprit}-{proof.first.subject.height}.bin"
        self._show(name, proof.encode())

    def _show(self, name: str, data: bytes) -> None:
        """Keep evidence, and send it to all."""
        self._out.evidence.append((name, data))
        others = (rank for rank in self._core.members.ranks if rank != self._rank)
        self._out.votes.extend((rank, data) for rank in others)

    def _answer(self) -> None:
        """Answer checks as soon as this rank has got that far itself."""
        for digest, value in list(self._checks.items()):
            verdict = self._verdict(value)
            if verdict is not None and self._checks.pop(digest, None) is not None:
                self._apply(ev.Checked(digest, verdict))

    def _verdict(self, value: bytes) -> bool | None:
        """Whether a value is right; None while this rank has not committed as much."""
        decoded = decode_value(value)
        if isinstance(decoded, Leave):
            return self._guilty(decoded)
        try:
            found = PulseRange.parse(decoded.payload)
            certificate = Certificate.decode(found.previous) if found.previous else None
        except ValueError:
            return False
        if self._decided:
            return None
        if found.first != self.certified or not self._follows(certificate):
            return False
        if found.end > self._next:
            return None
        own = [self._own[i] for i in range(len(found.steps))]
        return found.fits(own, len(self._keys))

    def _follows(self, certificate: Certificate | None) -> bool:
        """Whether a certificate is one of the decision before."""
        if certificate is None or self._previous is None:
            return certificate is None and self._previous is None
        if certificate == self._previous:
            return True
        ours, theirs = self._previous.subject, certificate.subject
        return (ours.height, ours.digest) == (theirs.height, theirs.digest) and certificate.valid(
            VoteKind.COMMIT, self._run, self._keys, self._signer
        )

    def _guilty(self, leave: Leave) -> bool | None:
        """Whether the grounds for an exclusion hold; None until this rank knows."""
        if leave.grounds.startswith(WRONG_RESULT_PREFIX):
            return self._accusations.verdict(leave)
        try:
            proof = DoubleVote.decode(leave.grounds)
        except ValueError:
            return False
        named = leave.ranks == (proof.culprit,)
        return named and proof.valid(self._run, self._keys, self._signer)

    # --- decisions -----------------------------------------------------------------------
    def _decide(self, decided: fx.Decided) -> None:
        self._checks.clear()
        value = decode_value(decided.value)
        if isinstance(value, Leave):
            ranks = ", ".join(map(str, value.ranks))
            wrong = value.grounds.startswith(WRONG_RESULT_PREFIX)
            why = f"rank {ranks} {'computed wrongly' if wrong else 'voted twice'}"
            self._out.excluded.append((value, why))
            self._over = True  # what follows is another group's
            return
        if not decided.believed:
            self._differ(
                f"an outcome of pulses from {self.certified} on that this rank finds wrong"
            )
        self._decided.append((PulseRange.parse(value.payload), decided.certificate))
        self._apply_decided()

    def _differ(self, what: str) -> NoReturn:
        """The others agreed on something else: on a right result, where there were two, or this
        host computes wrongly."""
        text = f"the other ranks agreed on {what}: this host may compute wrongly"
        raise StateDiffersError(text) if self._claims.able else InternalError(text)

    def _apply_decided(self) -> None:
        """Carry out decisions as far as this rank has committed their pulses itself."""
        while self._decided and self._decided[0][0].end <= self._next:
            found, certificate = self._decided.popleft()
            own = [self._own.popleft() for _ in found.steps]
            if not found.fits(own, len(self._keys)):
                self._differ(
                    f"another outcome of pulses {found.first} to {found.end - 1} than this rank"
                )
            if found.previous:
                self._out.records.append(Certified(found.previous))
            self._out.records.extend(found.bodies(own))
            self.certified = found.end
            self._handed_on = not found.steps
            self._previous = certificate if found.steps else None
            self._proposed_at = self._now
