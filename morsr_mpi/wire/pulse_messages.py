"""Messages about pulses: orders, results, announcements, stopping, the end."""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack as struct_pack
from typing import ClassVar

from morsr_mpi.base.config import (
    MAX_FRAME_BYTES,
    MAX_REASON,
    MAX_RESULT_BYTES,
    MAX_TASKS_PER_PULSE,
)
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.packing import pack, unpack_all
from morsr_mpi.wire.shapes import count, digest, entries, split_bytes, split_numbers, text


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
        packed = struct_pack(f">{len(self.ranks)}H", *self.ranks)
        speeds = struct_pack(f">{len(self.speeds)}H", *self.speeds)
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
        """Indices and packed sizes as four bytes each, big-endian, then all packed bytes."""
        return packed_results(self.pulse, self.indices, tuple(map(pack, self.results)))[1:]

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Results:
        """Raise ValueError for fields that do not fit."""
        pulse, numbers, sizes, data = f
        indices = split_numbers(numbers, 4, MAX_TASKS_PER_PULSE)
        packed = split_bytes(data, split_numbers(sizes, 4))
        if len(indices) != len(packed):
            raise ValueError("not one result for each index")
        return cls(count(pulse), indices, unpack_all(packed, MAX_FRAME_BYTES))


def packed_results(
    pulse: int, indices: tuple[int, ...], packed: tuple[bytes, ...]
) -> tuple[object, ...]:
    """Return the type and fields of RESULTS whose results are packed already."""
    n = len(indices)
    numbers = struct_pack(f">{n}I", *indices)
    sizes = struct_pack(f">{n}I", *map(len, packed))
    return (int(Results.TYPE), pulse, numbers, sizes, b"".join(packed))


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
