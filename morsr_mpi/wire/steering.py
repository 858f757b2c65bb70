"""Messages by which work is steered: signs of progress, moved tasks, what a pulse consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack
from typing import ClassVar

from morsr_mpi.base.config import MAX_RANKS, MAX_REASON, MAX_TASKS_PER_PULSE
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.shapes import count, digest, split_numbers, text


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


#: A task as a proposal names it: (pulse, index, rank whose result counts).
Entry = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the coordinator committed as one step, one of several parts.

    step: number of the commit; entries: (pulse, index, rank whose result counts), only where
    that is not the rank ordered first, or in free mode all tasks of the step in their order;
    state: digest of S after it; stop: in free mode, why the run ends before this step.
    """

    TYPE: ClassVar[MessageType] = MessageType.PULSE_PROPOSAL
    view: int
    step: int
    part: int
    parts: int
    entries: tuple[Entry, ...]
    state: bytes
    stop: str = ""

    def fields(self) -> tuple[object, ...]:
        """Pulses and indices as four bytes each, ranks as two, big-endian."""
        n = len(self.entries)
        pulses, indices, ranks = zip(*self.entries, strict=True) if n else ((), (), ())
        return (
            self.view, self.step, self.part, self.parts, pack(f">{n}I", *pulses),
            pack(f">{n}I", *indices), pack(f">{n}H", *ranks), self.state, self.stop,
        )  # fmt: skip

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Proposal:
        """Raise ValueError for fields that do not fit."""
        view, step, part, parts, pulses, indices, ranks, state, stop = f
        entries = tuple(
            zip(
                split_numbers(pulses, 4),
                split_numbers(indices, 4, MAX_TASKS_PER_PULSE),
                split_numbers(ranks, 2, MAX_RANKS),
                strict=True,
            )
        )
        found = cls(
            count(view), count(step), count(part), count(parts, MAX_PARTS), entries, digest(state),
            text(stop, MAX_REASON),
        )  # fmt: skip
        if found.part >= found.parts:
            raise ValueError("a part beyond the last")
        return found


#: Entries of one part: it has to fit a slot. Parts of one proposal: a pulse of the most tasks.
ENTRIES_PER_PART = 512
MAX_PARTS = MAX_TASKS_PER_PULSE // ENTRIES_PER_PART + 1


def proposals(view: int, step: int, entries: Sequence[Entry], state: bytes) -> list[Proposal]:
    """Return the parts of a proposal, at least one."""
    parts = max(1, -(-len(entries) // ENTRIES_PER_PART))
    return [
        Proposal(
            view, step, i, parts, tuple(entries[i * ENTRIES_PER_PART :][:ENTRIES_PER_PART]), state
        )
        for i in range(parts)
    ]
