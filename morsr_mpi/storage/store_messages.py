"""What the ranks' stores say to each other, and how operations end (`replication`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: Writer of a result that was found in a cache, written before this job.
NOBODY = 0xFFFF


class Basis(Enum):
    """What a read relied on."""

    DIGEST = "digest"
    MAJORITY = "majority"
    NOTHING = "nothing"
    """It failed: absent, or nothing that could be relied on."""


@dataclass(frozen=True, slots=True)
class StorePut:
    """Keep this result. writer: the rank that computed it; op: 0 where no answer is wanted."""

    op: int
    key: bytes
    writer: int
    result: bytes


@dataclass(frozen=True, slots=True)
class StoreKept:
    """Whether a put was done."""

    op: int
    kept: bool


@dataclass(frozen=True, slots=True)
class StoreGet:
    """Asks for a result."""

    op: int
    key: bytes


@dataclass(frozen=True, slots=True)
class StoreFound:
    """Answers: the result and who wrote it; None where it is not held."""

    op: int
    writer: int
    result: bytes | None


StoreMessage = StorePut | StoreKept | StoreGet | StoreFound


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a rank."""

    dest: int
    message: StoreMessage


@dataclass(frozen=True, slots=True)
class Written:
    """A write ended. kept: replicas that have it; quorum: whether they are enough."""

    key: bytes
    kept: int
    quorum: bool


@dataclass(frozen=True, slots=True)
class Read:
    """A read ended. basis: what it relied on; replicas: how many gave this result; repaired: how
    many were sent it because they lacked it or had another."""

    key: bytes
    result: bytes | None
    basis: Basis
    replicas: int
    repaired: int


Effect = Send | Written | Read


@dataclass
class ReplicationStats:
    """What a store has done. kept: replicas written here by commits; refused: those its cache had
    no room for; hits, misses: reads by what they ended with; by_digest, by_majority: what hits
    relied on; invalidated: entries dropped with their writer; repaired, moved: results sent to
    replicas that lacked them, after a read or a loss."""

    kept: int = 0
    refused: int = 0
    hits: int = 0
    misses: int = 0
    by_digest: int = 0
    by_majority: int = 0
    invalidated: int = 0
    repaired: int = 0
    moved: int = 0
