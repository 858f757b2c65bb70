"""Messages of incremental state sync (paper section 5.2, algorithm 5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from morsr_mpi.base.config import CHUNK_BYTES, MAX_SYNC_BYTES, MAX_SYNC_MARKS
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.shapes import count, digest

#: Bytes of a unit's digest in a request: enough to find what differs; the whole is checked later.
MARK_BYTES = 8


class SyncForm(IntEnum):
    """What a bundle holds."""

    PULSES = 1
    """Results of the pulses the asker missed: what changed since its version of S."""
    UNITS = 2
    """Units of S whose digests differ, all of them where the asker named none."""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """Asks for what leads from the sender's S to the receiver's.

    committed, state: pulses in the sender's S, and its digest. marks: for a sender that does not
    trust its S, the first MARK_BYTES of the digest of each unit, in a row; else empty.
    """

    TYPE: ClassVar[MessageType] = MessageType.SYNC_REQUEST
    committed: int
    state: bytes
    marks: bytes = b""

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.committed, self.state, self.marks)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> SyncRequest:
        """Raise ValueError for fields that do not fit."""
        committed, state, marks = f
        if type(marks) is not bytes or len(marks) % MARK_BYTES:
            raise ValueError("marks of the wrong length")
        if len(marks) > MAX_SYNC_MARKS * MARK_BYTES:
            raise ValueError("too many marks")
        return cls(count(committed), digest(state), marks)


@dataclass(frozen=True, slots=True)
class SyncOffer:
    """Answers a SyncRequest: a bundle that leads to S after `committed` pulses.

    state: digest of that S; name, size: SHA-256 and bytes of the bundle; body: the bundle itself
    where it is no longer than a piece, else empty, and the bundle is fetched by its name.
    """

    TYPE: ClassVar[MessageType] = MessageType.STATE_SYNC
    form: SyncForm
    committed: int
    state: bytes
    name: bytes
    size: int
    body: bytes = b""

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (int(self.form), self.committed, self.state, self.name, self.size, self.body)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> SyncOffer:
        """Raise ValueError for fields that do not fit."""
        form, committed, state, name, size, body = f
        length = count(size, MAX_SYNC_BYTES)
        if type(body) is not bytes or len(body) != (length if length <= CHUNK_BYTES else 0):
            raise ValueError("a bundle of another length than it says")
        kind = SyncForm(count(form))
        return cls(kind, count(committed), digest(state), digest(name), length, body)
