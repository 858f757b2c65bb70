"""Invariants of agreement, checked from outside: nothing here trusts the code under test.

Quorums and certificates are judged by rules of their own, so that a core that counts wrongly
is seen by somebody who counts rightly.
"""

from __future__ import annotations

from collections.abc import Sequence

from morsr_mpi.app.simulate.invariants import Invariants
from morsr_mpi.app.simulate.member import Member, Sent
from morsr_mpi.base.digest import sha256, short
from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.effects import Decided, MembershipChanged, ViewEntered
from morsr_mpi.consensus.evidence import DoubleVote
from morsr_mpi.consensus.messages import PrePrepare, VoteCast
from morsr_mpi.consensus.values import Leave, decode_value
from morsr_mpi.consensus.votes import Vote, VoteKind

#: One place in one epoch of a job: nothing is decided twice there.
Place = tuple[bytes, int]


class VoteTruth:
    """Watches the votes of one run. guilty: ranks that lie; undetected: wrong claims decided
    although the recheck was left to chance."""

    def __init__(self, guilty: Sequence[int], size: int, states: Sequence[bytes]) -> None:
        self.invariants = Invariants([r for r in range(size) if r not in set(guilty)])
        self.guilty = frozenset(guilty)
        self.dead: set[int] = set()
        self.undetected = 0
        self.stalls: list[tuple[int, ...]] = []
        self.views = 0
        self.strict = True
        self._all = frozenset(range(size))
        self._states = states
        self._decided: dict[Place, tuple[bytes, int]] = {}
        self._excluded: dict[bytes, set[int]] = {}
        self._voted: dict[tuple[object, ...], bytes] = {}
        self._verifier: dict[bytes, tuple[dict[int, bytes], Signer]] = {}
        self._unsure = False

    def epoch(self, run: bytes, keys: dict[int, bytes], signer: Signer) -> None:
        """A job has started with these public keys."""
        self._verifier[run] = (keys, signer)
        self._excluded[run] = set()
        self.dead = set()

    # --- the member's watcher --------------------------------------------------------------
    def decided(self, member: Member, effect: Decided, passed: list[tuple[int, bytes]]) -> None:
        """Check a decision of an honest rank."""
        if member.rank in self.guilty:
            return
        check, run = self.invariants.check, member.me.run
        digest = sha256(effect.value)
        known, who = self._decided.setdefault((run, effect.height), (digest, member.rank))
        same = known == digest or (self._unsure and who in self.dead)
        check(
            "agreement",
            same,
            f"decision {effect.height} of rank {member.rank} is {short(digest)}, "
            f"that of rank {who} {short(known)}",
        )
        self._certificate(run, effect.certificate, effect.height, digest, member.rank)
        value = decode_value(effect.value)
        if isinstance(value, Leave):
            self._excluded[run].update(value.ranks)
            check(
                "validity",
                set(value.ranks) <= self.guilty,
                f"ranks {value.ranks} were excluded, and only {sorted(self.guilty)} lie",
            )
        for pulse, state in passed:
            right = state == self._states[pulse]
            if not right and not self.strict:
                self.undetected += 1
                return
            check("validity", right, f"pulse {pulse} was decided with a wrong result")
            self.invariants.state(member.rank, pulse, state, self._states[pulse])
        self.invariants.check(
            "ledgers",
            all(self._decided.get((run, h), (d, 0))[0] == d for h, d in member.chain[-3:])
            or self._unsure,
            f"the ledger of rank {member.rank} differs at {effect.height}",
        )

    def convicted(self, member: Member, evidence: DoubleVote) -> None:
        """Check evidence that an honest rank found."""
        if member.rank in self.guilty:
            return
        a, b = evidence.first, evidence.second
        signed = all(self._signed(member.me.run, vote) for vote in (a, b))
        same = (a.subject.kind, a.subject.members, a.subject.ballot, a.subject.height) == (
            b.subject.kind, b.subject.members, b.subject.ballot, b.subject.height,
        )  # fmt: skip
        self.invariants.check(
            "evidence",
            a.voter in self.guilty and a.voter == b.voter and signed and same
            and a.subject.digest != b.subject.digest,
            f"evidence against rank {a.voter} that proves nothing, or not against a liar",
        )  # fmt: skip

    def left(self, member: Member, effect: MembershipChanged) -> None:
        """Who left must be dead or excluded by decision."""
        if member.rank in self.guilty:
            return
        self._unsure = self._unsure or not effect.sure
        gone = {*effect.died, *effect.excluded}
        known = self.dead | self._excluded[member.me.run]
        self.invariants.check(
            "validity", gone <= known, f"ranks {sorted(gone - known)} left and are alive"
        )

    def stalled(self, member: Member, silent: tuple[int, ...]) -> None:
        """Note a report that too few members speak."""
        if member.rank not in self.guilty:
            self.stalls.append(silent)

    def view(self, member: Member, effect: ViewEntered) -> None:
        """Count views."""
        self.views += 1

    # --- what honest ranks send ------------------------------------------------------------
    def sent(self, member: Member, message: Sent) -> None:
        """Look at a message of a member for its votes."""
        if member.rank in self.guilty or not isinstance(message, PrePrepare | VoteCast):
            return
        subject, voter = message.vote.subject, message.vote.voter
        if voter != member.rank:
            return
        if subject.kind == VoteKind.VIEW_CHANGE:
            return
        place = (
            member.me.run,
            voter,
            subject.kind,
            subject.members,
            subject.ballot,
            subject.height,
        )
        first = self._voted.setdefault(place, subject.digest)
        self.invariants.check(
            "no double vote",
            first == subject.digest,
            f"rank {voter} voted {subject.kind.name} for {short(first)} and "
            f"{short(subject.digest)} at {subject.height} in view {subject.ballot.view}",
        )

    # --- certificates ------------------------------------------------------------------------
    def _certificate(
        self, run: bytes, certificate: Certificate, height: int, digest: bytes, rank: int
    ) -> None:
        ranks = [who for who, _ in certificate.signatures]
        members = frozenset(certificate.members.ranks)
        n = len(members)
        quorum = (n + (n - 1) // 3) // 2 + 1
        subject = certificate.subject
        votes = [Vote(subject, who, signature) for who, signature in certificate.signatures]
        known = self.dead | self._excluded[run]
        self.invariants.check(
            "certificates",
            len(set(ranks)) == len(ranks) >= quorum
            and set(ranks) <= members
            and self._all - members <= known
            and (subject.kind, subject.height, subject.digest) == (VoteKind.COMMIT, height, digest)
            and all(self._signed(run, vote) for vote in votes),
            f"decision {height} of rank {rank} has a certificate of {len(set(ranks))} of {n} "
            f"members ({quorum} are a quorum) or with votes that are none",
        )

    def _signed(self, run: bytes, vote: Vote) -> bool:
        keys, signer = self._verifier[run]
        key = keys.get(vote.voter, b"")
        return signer.verify(key, vote.subject.signed_bytes(run), vote.signature)
