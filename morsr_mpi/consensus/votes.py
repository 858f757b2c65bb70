"""Votes: what a rank signs, exactly once each, and how it is checked (PBFT section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.config import MAX_RANKS
from morsr_mpi.base.digest import DIGEST_BYTES, digest_of
from morsr_mpi.base.ports import Signer

_DOMAIN = "morsr-vote"
_MAX_NUMBER = 1 << 48
_MAX_SIGNATURE = 256


class VoteKind(IntEnum):
    """The number that is signed."""

    PREPARE = 1
    """"I checked this value and no other in this view"; the primary's is its pre-prepare."""
    COMMIT = 2
    """"I hold a certificate of PREPARE votes for it"."""
    VIEW_CHANGE = 3
    """"I vote in no lower view any more; this is what I had prepared"."""


#: An honest rank signs at most one digest of these kinds in one view at one height.
EXCLUSIVE = (VoteKind.PREPARE, VoteKind.COMMIT)


@dataclass(frozen=True, slots=True, order=True)
class Ballot:
    """Views in order: first by the membership's epoch, then by the view within it."""

    epoch: int
    view: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What a vote is about. members: digest of the membership; height: number of the decision;
    digest: SHA-256 of the value, or the digest of the `Claim` of a view change."""

    kind: VoteKind
    members: bytes
    ballot: Ballot
    height: int
    digest: bytes

    def signed_bytes(self, run: bytes) -> bytes:
        """The bytes under the signature. run: id of the run, so that no vote is worth
        anything in another one."""
        ballot = self.ballot
        return encode(
            (_DOMAIN, run, int(self.kind), self.members, ballot.epoch, ballot.view,
             self.height, self.digest)
        )  # fmt: skip

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        ballot = self.ballot
        return (int(self.kind), self.members, ballot.epoch, ballot.view, self.height, self.digest)

    @classmethod
    def parse(cls, fields: object) -> Subject:
        """Raise ValueError for fields that are no subject."""
        kind, members, epoch, view, height, digest = row(fields, 6)
        return cls(
            VoteKind(number(kind)), digest32(members), Ballot(number(epoch), number(view)),
            number(height), digest32(digest),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Vote:
    """A subject with the signature of one rank."""

    subject: Subject
    voter: int
    signature: bytes

    def valid(self, run: bytes, keys: Mapping[int, bytes], signer: Signer) -> bool:
        """Whether the rank it names signed it."""
        key = keys.get(self.voter)
        return key is not None and signer.verify(
            key, self.subject.signed_bytes(run), self.signature
        )

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.subject.fields(), self.voter, self.signature)

    @classmethod
    def parse(cls, fields: object) -> Vote:
        """Raise ValueError for fields that are no vote."""
        subject, voter, signature = row(fields, 3)
        return cls(Subject.parse(subject), number(voter, MAX_RANKS - 1), signed(signature))


@dataclass(frozen=True, slots=True)
class Claim:
    """What a rank says when it gives up a view: the height it is at, and what it has prepared
    there, if anything (PBFT section 4.4: the set P of a VIEW-CHANGE)."""

    height: int
    ballot: Ballot | None = None
    digest: bytes = b""

    def named(self) -> bytes:
        """The digest that is signed."""
        return digest_of("claim", *self.fields())

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        if self.ballot is None:
            return (self.height, None)
        return (self.height, (self.ballot.epoch, self.ballot.view, self.digest))

    @classmethod
    def parse(cls, fields: object) -> Claim:
        """Raise ValueError for fields that are no claim."""
        height, prepared = row(fields, 2)
        if prepared is None:
            return cls(number(height))
        epoch, view, digest = row(prepared, 3)
        return cls(number(height), Ballot(number(epoch), number(view)), digest32(digest))


def row(value: object, width: int) -> tuple[object, ...]:
    """A tuple of so many fields, or ValueError."""
    if type(value) is not tuple or len(value) != width:
        raise ValueError("a list of the wrong form")
    return value


def number(value: object, below: int = _MAX_NUMBER) -> int:
    """A whole number from 0 to `below`, or ValueError."""
    if type(value) is not int or not 0 <= value <= below:
        raise ValueError("a number out of range")
    return value


def digest32(value: object) -> bytes:
    """32 bytes, or ValueError."""
    if type(value) is not bytes or len(value) != DIGEST_BYTES:
        raise ValueError("a digest of the wrong length")
    return value


def signed(value: object) -> bytes:
    """A signature of any supported kind, or ValueError."""
    if type(value) is not bytes or len(value) > _MAX_SIGNATURE:
        raise ValueError("a signature of the wrong form")
    return value
