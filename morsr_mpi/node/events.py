"""What happens to a node. Time comes in with ticks only."""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.storage.store_messages import Send


@dataclass(frozen=True, slots=True)
class RoundDue:
    """The transport is free for the next exchange round."""


@dataclass(frozen=True, slots=True)
class RoundDone:
    """A round is complete. slots: one per rank, in rank order."""

    slots: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """A frame came over point-to-point. source: who handed it over."""

    source: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class TaskDone:
    """A task given out by `Execute` is finished, or with `anew` one given out by `Recheck`.

    work: work units spent.
    """

    pulse: int
    index: int
    result: bytes
    work: int = 0
    anew: bool = False


@dataclass(frozen=True, slots=True)
class TasksDone:
    """Several tasks are finished, in this order: one look at what has become possible for all."""

    tasks: tuple[TaskDone, ...]


@dataclass(frozen=True, slots=True)
class RoundLate:
    """The round this rank has entered is not complete for long: a rank may be silent."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed. now: seconds on any monotonic clock.

    work: units spent so far; spent: those of them in tasks not finished; busy: milliseconds
    in which there was something to compute; gap: the longest time without a look at others, in
    seconds (`Patience.longest`).
    """

    now: float
    work: int = 0
    spent: int = 0
    busy: int = 0
    gap: float = 0.0


@dataclass(frozen=True, slots=True)
class SendReplicas:
    """This rank's store says something to those of others."""

    messages: tuple[Send, ...]


@dataclass(frozen=True, slots=True)
class StopRequested:
    """This rank was asked to stop. reason: for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Proceed:
    """The state after a commit has been looked at and may change again."""


Event = (
    RoundDue
    | RoundDone
    | RoundLate
    | FrameReceived
    | TaskDone
    | TasksDone
    | Tick
    | StopRequested
    | Proceed
    | SendReplicas
)
