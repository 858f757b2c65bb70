"""Quorum certificates: a subject with the votes of a quorum, verifiable by anyone offline."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.config import MAX_RANKS
from morsr_mpi.base.errors import InternalError
from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.votes import Subject, Vote, VoteKind, number, row, signed


@dataclass(frozen=True, slots=True)
class Certificate:
    """subject: what was voted on; members: who could vote; signatures: (rank, signature) of a
    quorum of them, by rank. Needs nothing else but the public keys and the run's id."""

    subject: Subject
    members: Membership
    signatures: tuple[tuple[int, bytes], ...]

    @classmethod
    def of(cls, members: Membership, votes: Iterable[Vote]) -> Certificate:
        """Return the certificate of these votes, a quorum for one subject.

        Raises InternalError for anything else.
        """
        by_rank = {vote.voter: vote for vote in votes}
        subjects = {vote.subject for vote in by_rank.values()}
        if len(subjects) != 1 or len(by_rank) < members.quorum:
            raise InternalError("these votes are no certificate")
        chosen = sorted(by_rank)[: members.quorum]
        signatures = tuple((rank, by_rank[rank].signature) for rank in chosen)
        return cls(subjects.pop(), members, signatures)

    def votes(self) -> tuple[Vote, ...]:
        """The votes in it."""
        return tuple(Vote(self.subject, rank, sig) for rank, sig in self.signatures)

    def valid(
        self,
        kind: VoteKind,
        run: bytes,
        keys: Mapping[int, bytes],
        signer: Signer,
        known: Container[Vote] = (),
    ) -> bool:
        """Whether a quorum of distinct members signed the subject, of this kind.

        known: votes checked already, which need no second look. Whether the membership was
        that of the run is for the caller to judge.
        """
        subject, members = self.subject, self.members
        ranks = [rank for rank, _ in self.signatures]
        if subject.kind != kind or subject.members != members.digest:
            return False
        if subject.ballot.epoch != members.epoch or len(ranks) < members.quorum:
            return False
        if any(a >= b for a, b in pairwise(ranks)) or not set(ranks) <= set(members.ranks):
            return False
        return all(v in known or v.valid(run, keys, signer) for v in self.votes())

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        members = self.members
        return (self.subject.fields(), members.started, members.ranks, self.signatures)

    @classmethod
    def parse(cls, fields: object) -> Certificate:
        """Raise ValueError for fields that are no certificate."""
        subject, started, ranks, signatures = row(fields, 4)
        size = number(started, MAX_RANKS)
        return cls(
            Subject.parse(subject),
            _membership(size, ranks),
            tuple(
                (number(rank, MAX_RANKS - 1), signed(signature))
                for rank, signature in (row(e, 2) for e in some(signatures, size))
            ),
        )

    def encode(self) -> bytes:
        """Canonical bytes, as they stand in the journal."""
        return encode(self.fields())

    @classmethod
    def decode(cls, data: bytes) -> Certificate:
        """Return the certificate in these bytes. Raises ValueError for anything else."""
        return cls.parse(decode(data))


def some(value: object, most: int) -> tuple[object, ...]:
    """A tuple of at most `most` entries, or ValueError."""
    if type(value) is not tuple or len(value) > most:
        raise ValueError("a list that is none or too long")
    return value


def _membership(started: int, ranks: object) -> Membership:
    """The membership of decoded ranks, or ValueError."""
    found = tuple(number(rank, MAX_RANKS - 1) for rank in some(ranks, started))
    if not found or any(a >= b for a, b in pairwise(found)):
        raise ValueError("ranks that are no membership")
    return Membership(started, found)
