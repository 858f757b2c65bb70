"""What the ranks' stores say to each other, as a message (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from morsr_mpi.base.config import MAX_RANKS, MAX_REPLICA_BYTES
from morsr_mpi.storage.store_messages import (
    StoreFound,
    StoreGet,
    StoreKept,
    StoreMessage,
    StorePut,
)
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.shapes import count, digest

_PUT, _KEPT, _GET, _FOUND, _ABSENT = range(1, 6)


@dataclass(frozen=True, slots=True)
class Replica:
    """Asks for a replica, brings one, or says what became of it."""

    TYPE: ClassVar[MessageType] = MessageType.REPLICA
    said: StoreMessage

    def fields(self) -> tuple[object, ...]:
        """Form, number of the operation, key, writer, result; what a form lacks is empty or 0."""
        match self.said:
            case StorePut(op, key, writer, result):
                return (_PUT, op, key, writer, result)
            case StoreKept(op, kept):
                return (_KEPT, op, b"", int(kept), b"")
            case StoreGet(op, key):
                return (_GET, op, key, 0, b"")
            case StoreFound(op, writer, None):
                return (_ABSENT, op, b"", writer, b"")
            case StoreFound(op, writer, bytes(found)):
                return (_FOUND, op, b"", writer, found)
        raise AssertionError(self.said)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Replica:
        """Raise ValueError for fields that do not fit."""
        form, op, key, writer, result = f
        if type(result) is not bytes or len(result) > MAX_REPLICA_BYTES:
            raise ValueError("a replica that is none or too long")
        number, rank = count(op), count(writer, MAX_RANKS - 1)
        said: StoreMessage
        if form == _PUT:
            said = StorePut(number, digest(key), rank, result)
        elif form == _KEPT:
            said = StoreKept(number, bool(count(rank, 1)))
        elif form == _GET:
            said = StoreGet(number, digest(key))
        elif form == _FOUND:
            said = StoreFound(number, rank, result)
        elif form == _ABSENT:
            said = StoreFound(number, rank, None)
        else:
            raise ValueError("a form of its own")
        found = cls(said)
        if found.fields() != f or type(form) is not int:
            raise ValueError("fields that its form does not have")
        return found
