"""What ranks say to each other when their group is broken: status, plan, consent, state.

Canonical bytes of (version, type, fields …), signed where the run signs: the signature of the
sender stands in front, its length is known. Every bound is checked before anybody uses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import (
    MAX_FRAME_BYTES,
    MAX_RANKS,
    MAX_REASON,
    MAX_SNAPSHOT_BYTES,
    RECENT_RECORDS,
    STATE_PIECE_BYTES,
)
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.wire.shapes import count, entries, text

VERSION = 1

#: What a rank is doing: everything before the first round of a search, the search, all after it.
START, SEARCH, END = 0, 1, 2

#: Longest time between two looks that is believed, in milliseconds.
_MAX_GAP = 3_600_000

#: Ranks that left for good, with the reason.
Gone = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Status:
    """A rank without a group: it was last in `epoch`, under `chief`, and takes plans from `floor`.

    phase: START, SEARCH or END, what it was doing; committed: pulses in its state; gone: whom
    it knows to be gone; gap: the longest time between two of its looks at the others, in ms.
    """

    TYPE: ClassVar[int] = 1
    epoch: int
    floor: int
    chief: int
    phase: int
    committed: int
    gone: Gone
    gap: int = 0

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (
            self.epoch, self.floor, self.chief, self.phase, self.committed, self.gone, self.gap,
        )  # fmt: skip

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Status:
        """Raise ValueError for fields that do not fit."""
        epoch, floor, chief, phase, committed, gone, gap = f
        return cls(
            _epoch(epoch), _epoch(floor), _rank(chief), count(phase, END), count(committed),
            _gone(gone), count(gap, _MAX_GAP),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """The group to be: `members`, the chief first; `source` has the state all go on from.

    behind: members that get it from there; committed: pulses in it; gone, gap: as in Status.
    phase: what they go on with; the start of a run is taken again from its beginning.
    """

    TYPE: ClassVar[int] = 2
    epoch: int
    members: tuple[int, ...]
    source: int
    behind: tuple[int, ...]
    phase: int
    committed: int
    gone: Gone
    gap: int = 0

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (
            self.epoch, self.members, self.source, self.behind, self.phase, self.committed,
            self.gone, self.gap,
        )  # fmt: skip

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Plan:
        """Raise ValueError for fields that do not fit."""
        epoch, members, source, behind, phase, committed, gone, gap = f
        plan = cls(
            _epoch(epoch), _ranks(members), _rank(source), _ranks(behind), count(phase, END),
            count(committed), _gone(gone), count(gap, _MAX_GAP),
        )  # fmt: skip
        if plan.source not in plan.members or not set(plan.behind) < set(plan.members):
            raise ValueError("a plan that does not fit itself")
        if set(plan.members) & {rank for rank, _ in plan.gone}:
            raise ValueError("a plan with members that are gone")
        return plan


@dataclass(frozen=True, slots=True)
class Consent:
    """The sender takes part in the plan of an epoch."""

    TYPE: ClassVar[int] = 3
    epoch: int

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.epoch,)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Consent:
        """Raise ValueError for fields that do not fit."""
        (epoch,) = f
        return cls(_epoch(epoch))


@dataclass(frozen=True, slots=True)
class Excluded:
    """To a rank that the others have given up."""

    TYPE: ClassVar[int] = 4
    epoch: int
    reason: str

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.epoch, self.reason)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Excluded:
        """Raise ValueError for fields that do not fit."""
        epoch, reason = f
        return cls(_epoch(epoch), text(reason, MAX_REASON))


@dataclass(frozen=True, slots=True)
class StatePiece:
    """Part of the snapshot that a plan's source sends; `total` bytes in all.

    records: the source's newest journal records, with the first piece, for a chief behind.
    """

    TYPE: ClassVar[int] = 5
    epoch: int
    total: int
    offset: int
    data: bytes
    records: tuple[bytes, ...] = ()

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.epoch, self.total, self.offset, self.data, self.records)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> StatePiece:
        """Raise ValueError for fields that do not fit."""
        epoch, total, offset, data, records = f
        if type(data) is not bytes or len(data) > STATE_PIECE_BYTES:
            raise ValueError("a piece without bytes")
        if type(records) is not tuple or len(records) > RECENT_RECORDS:
            raise ValueError("records of the wrong form")
        if not all(type(record) is bytes for record in records):
            raise ValueError("records that are not bytes")
        piece = cls(_epoch(epoch), count(total, MAX_SNAPSHOT_BYTES), count(offset), data, records)
        if piece.offset + len(data) > piece.total:
            raise ValueError("a piece beyond its state")
        return piece


Regrouping = Status | Plan | Consent | Excluded | StatePiece
_KINDS: dict[int, type[Regrouping]] = {
    kind.TYPE: kind for kind in (Status, Plan, Consent, Excluded, StatePiece)
}


def encode_regrouping(message: Regrouping) -> bytes:
    """Return the canonical bytes of a message."""
    return encode((VERSION, message.TYPE, *message.fields()))


def decode_regrouping(data: bytes, sender: int) -> Regrouping:
    """Return the message in these bytes. Raises ProtocolError naming the sender."""
    try:
        match decode(data, MAX_FRAME_BYTES):
            case (1, int(kind), *fields) if kind in _KINDS:
                return _KINDS[kind].parse(tuple(fields))
        raise ValueError("unknown version or type")
    except (CanonicalError, ValueError) as error:
        raise ProtocolError(f"rank {sender} sent a malformed regrouping: {error}") from None


def _epoch(value: object) -> int:
    return count(value, (1 << 32) - 1)


def _rank(value: object) -> int:
    return count(value, MAX_RANKS - 1)


def _ranks(value: object) -> tuple[int, ...]:
    if type(value) is not tuple or len(set(value)) != len(value):
        raise ValueError("ranks of the wrong form")
    return tuple(_rank(rank) for rank in value)


def _gone(value: object) -> Gone:
    found = tuple((_rank(rank), text(why, MAX_REASON)) for rank, why in entries(value, 2))
    if len({rank for rank, _ in found}) != len(found):
        raise ValueError("a rank that is gone twice")
    return found
