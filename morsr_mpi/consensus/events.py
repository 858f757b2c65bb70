"""What happens to the agreement of one rank. Time comes in as `TimedOut` and `Resend` only."""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.consensus.messages import Message


@dataclass(frozen=True, slots=True)
class Propose:
    """A value of this rank's own, already checked, for the next decision. Taken only while
    `wants_proposal`; otherwise nothing happens."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Expect:
    """There is something to decide: the primary is given its time from now on."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message came. source: who handed it over; what counts is who signed it."""

    source: int
    message: Message


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer to the effect `Check`: whether the value is right as far as this rank knows."""

    digest: bytes
    valid: bool


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The timer of `SetTimer` with this token ran out."""

    token: int


@dataclass(frozen=True, slots=True)
class Resend:
    """Time to say again what may have been lost; sent regularly, free while nothing is open."""


@dataclass(frozen=True, slots=True)
class Died:
    """The runtime reports that a rank is dead. The runtime is believed (DESIGN section 4)."""

    rank: int


Event = Propose | Expect | Received | Checked | TimedOut | Resend | Died
