"""Messages: what a payload says, with every bound checked before a node sees it.

Each is a dataclass with `fields()`, its canonical fields. `encode_message` puts the type in
front; `decode_message` returns the message or raises ProtocolError naming the sender.
Whether the content makes sense at this moment is for the node to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack
from typing import ClassVar

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import (
    MAX_FRAME_BYTES,
    MAX_REASON,
    MAX_REQUEST_DIGESTS,
    MAX_RESULT_BYTES,
    MAX_TASKS_PER_PULSE,
)
from morsr_mpi.base.digest import DIGEST_BYTES
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.shapes import (
    count,
    digest,
    digests,
    entries,
    split_bytes,
    split_numbers,
    text,
)
from morsr_mpi.wire.steering import Heartbeat, Proposal, Reassignment


@dataclass(frozen=True, slots=True)
class Order:
    """Who computes the tasks `first` … of a pulse; `total` tasks in all parts together.

    tasks: SHA-256 over the concatenated task ids; ranks: one per task; stop: why
    nothing of this pulse is executed and the run ends before it; "" to go on. speeds:
    relative speed of each rank that later orders will assume, empty where nothing changed.
    """

    TYPE: ClassVar[MessageType] = MessageType.CHAMBER_ASSIGNMENT
    view: int
    pulse: int
    tasks: bytes
    total: int
    first: int
    ranks: tuple[int, ...]
    stop: str = ""
    speeds: tuple[int, ...] = ()

    def fields(self) -> tuple[object, ...]:
        """Ranks and speeds as two bytes each, big-endian."""
        packed = pack(f">{len(self.ranks)}H", *self.ranks)
        speeds = pack(f">{len(self.speeds)}H", *self.speeds)
        head = (self.view, self.pulse, self.tasks, self.total, self.first)
        return (*head, packed, self.stop, speeds)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Order:
        """Raise ValueError for fields that do not fit."""
        view, pulse, tasks, total, first, packed, stop, speeds = f
        ranks = split_numbers(packed, 2)
        order = cls(
            count(view), count(pulse), digest(tasks), count(total, MAX_TASKS_PER_PULSE),
            count(first), ranks, text(stop, MAX_REASON), split_numbers(speeds, 2),
        )  # fmt: skip
        if order.first + len(ranks) > order.total:
            raise ValueError("parts of an order that do not fit")
        return order


@dataclass(frozen=True, slots=True)
class Results:
    """Results of tasks of one pulse, by index in canonical order."""

    TYPE: ClassVar[MessageType] = MessageType.OPTIMIZATION_RESULT
    pulse: int
    indices: tuple[int, ...]
    results: tuple[bytes, ...]

    def fields(self) -> tuple[object, ...]:
        """Indices and sizes as four bytes each, big-endian, then all bytes in a row."""
        n = len(self.indices)
        sizes = pack(f">{n}I", *map(len, self.results))
        return (self.pulse, pack(f">{n}I", *self.indices), sizes, b"".join(self.results))

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Results:
        """Raise ValueError for fields that do not fit."""
        pulse, packed, sizes, data = f
        indices = split_numbers(packed, 4, MAX_TASKS_PER_PULSE)
        results = split_bytes(data, split_numbers(sizes, 4, MAX_RESULT_BYTES))
        if len(indices) != len(results):
            raise ValueError("not one result for each index")
        return cls(count(pulse), indices, results)


@dataclass(frozen=True, slots=True)
class Announcement:
    """Results to be fetched: (index, digest, size in bytes) of tasks of one pulse."""

    TYPE: ClassVar[MessageType] = MessageType.RESULT_ANNOUNCEMENT
    pulse: int
    items: tuple[tuple[int, bytes, int], ...]

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.pulse, self.items)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Announcement:
        """Raise ValueError for fields that do not fit."""
        pulse, items = f
        parsed = tuple(
            (count(i, MAX_TASKS_PER_PULSE), digest(d), count(s, MAX_RESULT_BYTES))
            for i, d, s in entries(items, 3)
        )
        return cls(count(pulse), parsed)


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A rank was asked to stop."""

    TYPE: ClassVar[MessageType] = MessageType.STOP_REQUEST
    reason: str

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.reason,)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> StopRequest:
        """Raise ValueError for fields that do not fit."""
        (reason,) = f
        return cls(text(reason, MAX_REASON))


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a run as its sender sees it: pulses, digest of S, head of the journal."""

    TYPE: ClassVar[MessageType] = MessageType.DONE
    committed: int
    state: bytes
    head: bytes

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.committed, self.state, self.head)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Done:
        """Raise ValueError for fields that do not fit."""
        committed, state, head = f
        return cls(count(committed), digest(state), digest(head))


@dataclass(frozen=True, slots=True)
class CacheRequest:
    """Asks for results by digest."""

    TYPE: ClassVar[MessageType] = MessageType.CACHE_REQUEST
    digests: tuple[bytes, ...]

    def fields(self) -> tuple[object, ...]:
        """Digests in a row."""
        return (b"".join(self.digests),)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> CacheRequest:
        """Raise ValueError for fields that do not fit."""
        (packed,) = f
        return cls(digests(packed, MAX_REQUEST_DIGESTS))


@dataclass(frozen=True, slots=True)
class CacheResponse:
    """Pieces of results: (digest, size of the whole, offset, bytes); size -1: not held."""

    TYPE: ClassVar[MessageType] = MessageType.CACHE_RESPONSE
    pieces: tuple[tuple[bytes, int, int, bytes], ...]

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.pieces,)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> CacheResponse:
        """Raise ValueError for fields that do not fit."""
        (pieces,) = f
        parsed = []
        for name, size, offset, data in entries(pieces, 4):
            if type(data) is not bytes:
                raise ValueError("a piece without bytes")
            whole = -1 if size == -1 and type(size) is int else count(size, MAX_RESULT_BYTES)
            at = count(offset, MAX_RESULT_BYTES)
            if at + len(data) > max(whole, 0):
                raise ValueError("a piece beyond its result")
            parsed.append((digest(name), whole, at, data))
        return cls(tuple(parsed))


@dataclass(frozen=True, slots=True)
class SlotRequest:
    """Asks for the frames of a round again that arrived damaged."""

    TYPE: ClassVar[MessageType] = MessageType.STATE_SYNC
    round: int

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.round,)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> SlotRequest:
        """Raise ValueError for fields that do not fit."""
        (number,) = f
        return cls(count(number))


@dataclass(frozen=True, slots=True)
class Hello:
    """What a rank was started with, and its key; the first slot of a run.

    settings: canonical bytes of what must be equal besides; committed, state: S at the
    start; capacity: relative speed; records, head, genesis: where rank 0's journal stands.
    """

    TYPE: ClassVar[MessageType] = MessageType.HELLO
    software: str
    algorithm: int
    problem: bytes
    options: bytes
    security: str
    settings: bytes
    committed: int
    state: bytes
    public_key: bytes
    capacity: int
    records: int
    head: bytes
    genesis: bytes

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (
            self.software, self.algorithm, self.problem, self.options, self.security,
            self.settings, self.committed, self.state, self.public_key, self.capacity,
            self.records, self.head, self.genesis,
        )  # fmt: skip

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Hello:
        """Raise ValueError for fields that do not fit."""
        (software, algorithm, problem, options, security, settings, committed, state, key,
         capacity, records, head, genesis) = f  # fmt: skip
        if type(settings) is not bytes or type(key) is not bytes or len(key) > DIGEST_BYTES * 8:
            raise ValueError("settings or key of the wrong form")
        return cls(
            text(software, 64), count(algorithm), digest(problem), digest(options),
            text(security, 16), settings, count(committed), digest(state), key,
            count(capacity), count(records), digest(head), digest(genesis),
        )  # fmt: skip


Message = (
    Order
    | Results
    | Announcement
    | StopRequest
    | Done
    | CacheRequest
    | CacheResponse
    | SlotRequest
    | Hello
    | Heartbeat
    | Reassignment
    | Proposal
)
_PARSERS: dict[int, type[Message]] = {
    int(kind.TYPE): kind
    for kind in (
        Order, Results, Announcement, StopRequest, Done, CacheRequest, CacheResponse,
        SlotRequest, Hello, Heartbeat, Reassignment, Proposal,
    )
}  # fmt: skip


def encode_message(message: Message) -> bytes:
    """Return the canonical bytes of (type, fields …)."""
    return encode((int(message.TYPE), *message.fields()))


def decode_message(data: bytes, sender: int) -> Message:
    """Return the message in these bytes. Raises ProtocolError naming the sender."""
    try:
        fields = decode(data, MAX_FRAME_BYTES)
    except CanonicalError as error:
        raise ProtocolError(f"rank {sender} sent a malformed message: {error}") from None
    if type(fields) is not tuple or not fields or type(fields[0]) is not int:
        raise ProtocolError(f"rank {sender} sent a message without a type")
    kind = _PARSERS.get(fields[0])
    if kind is None:
        raise ProtocolError(f"rank {sender} sent a message of unknown type {fields[0]}")
    try:
        return kind.parse(fields[1:])
    except ValueError as error:  # a wrong number of fields is one too
        raise ProtocolError(f"rank {sender} sent a malformed {kind.__name__}: {error}") from None


def unpack_header(payload: bytes, sender: int) -> tuple[int, bytes, tuple[bytes, ...]]:
    """Return (pulses committed, digest of S then, messages) of a ROUND payload.

    Raises ProtocolError naming the sender.
    """
    try:
        committed, state, packed = entries((decode(payload, MAX_FRAME_BYTES),), 3)[0]
        if type(packed) is not tuple or not all(type(m) is bytes for m in packed):
            raise ValueError("messages that are not bytes")
        return count(committed), digest(state), packed
    except ValueError as error:
        raise ProtocolError(f"rank {sender} sent a malformed round: {error}") from None


def pack_header(committed: int, state: bytes, messages: tuple[bytes, ...]) -> bytes:
    """Return the payload of a ROUND frame."""
    return encode((committed, state, messages))
