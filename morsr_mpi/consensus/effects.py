"""What the agreement of one rank wants done, in order."""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.evidence import DoubleVote
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.messages import Message
from morsr_mpi.consensus.votes import Ballot


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to one rank."""

    dest: int
    message: Message


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send a message to all other members."""

    message: Message


@dataclass(frozen=True, slots=True)
class Check:
    """Is this value right? Answer with `Checked`, whenever that is known."""

    height: int
    digest: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Decided:
    """Decision number `height`. believed: False when this rank had found the value wrong: then
    it is this rank that computes wrongly, or more than f lie."""

    height: int
    value: bytes
    certificate: Certificate
    believed: bool


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Give `TimedOut(token)` after 2**doublings times the patience, unless a later `SetTimer`
    or `StopTimer` comes first: there is one timer."""

    token: int
    doublings: int


@dataclass(frozen=True, slots=True)
class StopTimer:
    """No timer is needed."""


@dataclass(frozen=True, slots=True)
class ViewEntered:
    """A view has begun: its primary proposes from now on."""

    ballot: Ballot
    primary: int


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """A membership has begun. died, excluded: who left since the one before; sure: False when
    so many died at once that a decision may have been known to the dead alone."""

    before: Membership
    now: Membership
    died: tuple[int, ...]
    excluded: tuple[int, ...]
    sure: bool


@dataclass(frozen=True, slots=True)
class Convicted:
    """A rank voted twice, and this proves it."""

    evidence: DoubleVote


@dataclass(frozen=True, slots=True)
class Stalled:
    """Members that say nothing keep the others from going on as a membership."""

    silent: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A message was refused. who: the rank whose signature or message it was."""

    who: int
    why: str


Effect = (
    Send
    | Broadcast
    | Check
    | Decided
    | SetTimer
    | StopTimer
    | ViewEntered
    | MembershipChanged
    | Convicted
    | Stalled
    | Refused
)
