"""Messages of the agreement, with every bound checked (PBFT sections 4.2 and 4.4).

What decides anything in them is signed inside, so they are worth the same whoever relays them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_RANKS, MAX_VALUE_BYTES
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.consensus.certificate import Certificate, some
from morsr_mpi.consensus.votes import Ballot, Claim, Vote, digest32, number, row, signed


@dataclass(frozen=True, slots=True)
class PrePrepare:
    """The primary's value with its own PREPARE vote for it."""

    TAG: ClassVar[int] = 1
    vote: Vote
    value: bytes

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.vote.fields(), self.value)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> PrePrepare:
        """Raise ValueError for fields that do not fit."""
        vote, value = f
        return cls(Vote.parse(vote), _value(value))


@dataclass(frozen=True, slots=True)
class VoteCast:
    """A PREPARE or COMMIT vote."""

    TAG: ClassVar[int] = 2
    vote: Vote

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.vote.fields(),)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> VoteCast:
        """Raise ValueError for fields that do not fit."""
        (vote,) = f
        return cls(Vote.parse(vote))


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate of PREPARE votes: from the collector to all in a large membership."""

    TAG: ClassVar[int] = 3
    certificate: Certificate

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.certificate.fields(),)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Certified:
        """Raise ValueError for fields that do not fit."""
        (certificate,) = f
        return cls(Certificate.parse(certificate))


@dataclass(frozen=True, slots=True)
class Decision:
    """A decided value with its certificate of COMMIT votes: a stable point."""

    TAG: ClassVar[int] = 4
    certificate: Certificate
    value: bytes

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.certificate.fields(), self.value)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Decision:
        """Raise ValueError for fields that do not fit."""
        certificate, value = f
        return cls(Certificate.parse(certificate), _value(value))


@dataclass(frozen=True, slots=True)
class ViewChange:
    """A VIEW_CHANGE vote and the claim under it. To the primary of the view it asks for, with
    the proofs: stable, the certificate of the decision before the claim's height (None at the
    start), and prepared with its value, where the claim names one; to the others without."""

    TAG: ClassVar[int] = 5
    vote: Vote
    claim: Claim
    stable: Certificate | None = None
    prepared: Certificate | None = None
    value: bytes | None = None

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (
            self.vote.fields(), self.claim.fields(), _optional(self.stable),
            _optional(self.prepared), self.value,
        )  # fmt: skip

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> ViewChange:
        """Raise ValueError for fields that do not fit."""
        vote, claim, stable, prepared, value = f
        return cls(
            Vote.parse(vote), Claim.parse(claim), _certificate(stable), _certificate(prepared),
            None if value is None else _value(value),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewView:
    """Why a view may begin: claims of enough members, each with the signature of its
    VIEW_CHANGE vote; the certificate of the last decision any of them claims; the certificate
    of the highest PREPARE among them, whose value must be proposed again."""

    TAG: ClassVar[int] = 6
    ballot: Ballot
    members: bytes
    claims: tuple[tuple[int, Claim, bytes], ...]
    stable: Certificate | None
    prepared: Certificate | None

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        claims = tuple((rank, claim.fields(), sig) for rank, claim, sig in self.claims)
        return (
            self.ballot.epoch, self.ballot.view, self.members, claims,
            _optional(self.stable), _optional(self.prepared),
        )  # fmt: skip

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> NewView:
        """Raise ValueError for fields that do not fit."""
        epoch, view, members, claims, stable, prepared = f
        parsed = tuple(
            (number(rank, MAX_RANKS - 1), Claim.parse(claim), signed(sig))
            for rank, claim, sig in (row(e, 3) for e in some(claims, MAX_RANKS))
        )
        return cls(
            Ballot(number(epoch), number(view)), digest32(members), parsed,
            _certificate(stable), _certificate(prepared),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Status:
    """Where the sender stands; whoever is further answers with what it lacks. asking: its view
    has not begun for it."""

    TAG: ClassVar[int] = 7
    members: bytes
    ballot: Ballot
    height: int
    asking: bool

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.members, self.ballot.epoch, self.ballot.view, self.height, self.asking)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Status:
        """Raise ValueError for fields that do not fit."""
        members, epoch, view, height, asking = f
        if type(asking) is not bool:
            raise ValueError("neither asking nor not")
        ballot = Ballot(number(epoch), number(view))
        return cls(digest32(members), ballot, number(height), asking)


Message = PrePrepare | VoteCast | Certified | Decision | ViewChange | NewView | Status
_PARSERS: dict[int, type[Message]] = {
    kind.TAG: kind
    for kind in (PrePrepare, VoteCast, Certified, Decision, ViewChange, NewView, Status)
}


def encode_message(message: Message) -> bytes:
    """Return the canonical bytes of (tag, fields …)."""
    return encode((message.TAG, *message.fields()))


def decode_message(data: bytes, sender: int) -> Message:
    """Return the message in these bytes. Raises ProtocolError naming the sender."""
    try:
        fields = decode(data, 4 * MAX_VALUE_BYTES)
    except CanonicalError as error:
        raise ProtocolError(f"rank {sender} sent a malformed vote: {error}") from None
    kind = _PARSERS.get(fields[0]) if _tagged(fields) else None  # type: ignore[index]
    if kind is None:
        raise ProtocolError(f"rank {sender} sent a vote of unknown type")
    try:
        return kind.parse(fields[1:])  # type: ignore[index]
    except ValueError as error:
        raise ProtocolError(f"rank {sender} sent a malformed {kind.__name__}: {error}") from None


def _tagged(fields: object) -> bool:
    return type(fields) is tuple and bool(fields) and type(fields[0]) is int


def _value(value: object) -> bytes:
    if type(value) is not bytes or len(value) > MAX_VALUE_BYTES:
        raise ValueError("a value that is none or too long")
    return value


def _optional(certificate: Certificate | None) -> tuple[object, ...] | None:
    return None if certificate is None else certificate.fields()


def _certificate(fields: object) -> Certificate | None:
    return None if fields is None else Certificate.parse(fields)
