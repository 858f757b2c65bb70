"""Messages by which work is steered: signs of progress, moved tasks, what a pulse consists of."""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack
from typing import ClassVar

from morsr_mpi.base.config import MAX_RANKS, MAX_TASKS_PER_PULSE
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.shapes import count, digest, split_numbers


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Progress of the sender since it started.

    work: units spent; spent: those of them that went into tasks not finished yet; busy:
    milliseconds in which it had something to compute.
    """

    TYPE: ClassVar[MessageType] = MessageType.HEARTBEAT
    work: int
    spent: int
    busy: int

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.work, self.spent, self.busy)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Heartbeat:
        """Raise ValueError for fields that do not fit."""
        work, spent, busy = f
        beat = cls(count(work), count(spent), count(busy))
        if beat.spent > beat.work:
            raise ValueError("more spent on unfinished tasks than in all")
        return beat


@dataclass(frozen=True, slots=True)
class Reassignment:
    """Tasks of a pulse that other ranks are to compute as well: the rank of each.

    Who had them before gives them up unless it has begun (paper, algorithm 3.1, step 5).
    """

    TYPE: ClassVar[MessageType] = MessageType.TASK_REASSIGNMENT
    view: int
    pulse: int
    indices: tuple[int, ...]
    ranks: tuple[int, ...]

    def fields(self) -> tuple[object, ...]:
        """Indices as four bytes each, ranks as two, big-endian."""
        n = len(self.indices)
        indices = pack(f">{n}I", *self.indices)
        return (self.view, self.pulse, indices, pack(f">{n}H", *self.ranks))

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Reassignment:
        """Raise ValueError for fields that do not fit."""
        view, pulse, packed, packed_ranks = f
        indices = split_numbers(packed, 4, MAX_TASKS_PER_PULSE)
        ranks = split_numbers(packed_ranks, 2, MAX_RANKS)
        if len(indices) != len(ranks) or not indices:
            raise ValueError("not one rank for each task")
        return cls(count(view), count(pulse), indices, ranks)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the coordinator committed as one step, for the journals of all.

    step: number of the commit; contributors: rank whose result counts, per task in the order
    committed, empty where it is as first ordered; state: digest of S after it.
    """

    TYPE: ClassVar[MessageType] = MessageType.PULSE_PROPOSAL
    view: int
    step: int
    contributors: tuple[int, ...]
    state: bytes

    def fields(self) -> tuple[object, ...]:
        """Contributors as two bytes each, big-endian."""
        packed = pack(f">{len(self.contributors)}H", *self.contributors)
        return (self.view, self.step, packed, self.state)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Proposal:
        """Raise ValueError for fields that do not fit."""
        view, step, packed, state = f
        ranks = split_numbers(packed, 2, MAX_RANKS)
        if len(ranks) > MAX_TASKS_PER_PULSE:
            raise ValueError("more contributors than a pulse has tasks")
        return cls(count(view), count(step), ranks, digest(state))
