"""What happens to a node. Time comes in with ticks only."""

from __future__ import annotations

from dataclasses import dataclass


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
    """A task given out by `Execute` is finished. work: work units spent."""

    pulse: int
    index: int
    result: bytes
    work: int = 0


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed. now: seconds on any monotonic clock."""

    now: float


@dataclass(frozen=True, slots=True)
class StopRequested:
    """This rank was asked to stop. reason: for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Proceed:
    """The state after a commit has been looked at and may change again."""


Event = RoundDue | RoundDone | FrameReceived | TaskDone | Tick | StopRequested | Proceed
