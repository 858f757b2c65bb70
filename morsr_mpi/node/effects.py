"""What a node wants done, in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from morsr_mpi.base.ports import TaskLike
from morsr_mpi.storage.store_messages import StoreMessage
from morsr_mpi.wire.kinds import Priority


@dataclass(frozen=True, slots=True)
class StartRound:
    """Enter the next exchange round with this slot."""

    slot: bytes


@dataclass(frozen=True, slots=True)
class SendFrame:
    """Send a frame over point-to-point. priority: what it may overtake on its way."""

    dest: int
    frame: bytes
    priority: Priority = Priority.CONTROL


@dataclass(frozen=True, slots=True)
class Execute:
    """Compute a task and report it in `TasksDone` with the same pulse and index."""

    pulse: int
    index: int
    task: TaskLike


@dataclass(frozen=True, slots=True)
class Recheck:
    """Compute a task anew, whatever is known of it, and report it in `TasksDone` as such.

    after: the pulse after whose tasks it comes; -1: before all others.
    """

    pulse: int
    index: int
    task: TaskLike
    after: int = -1


@dataclass(frozen=True, slots=True)
class Cancel:
    """Do not start or finish this task: its result is here, or nobody needs it."""

    pulse: int
    index: int


@dataclass(frozen=True, slots=True)
class Yield:
    """Do not start this task: another rank is to compute it. If it is begun, go on with it."""

    pulse: int
    index: int


@dataclass(frozen=True, slots=True)
class AppendRecord:
    """The next record of the journal. Every rank gets it, one rank writes."""

    record: bytes


@dataclass(frozen=True, slots=True)
class Committed:
    """A pulse was committed. S stays as it is until the event `Proceed`, which must follow.

    taken: task id, rank whose result it is, and the result of each task.
    """

    pulse: int
    taken: tuple[tuple[bytes, int, bytes], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ReplicaHeard:
    """The store of another rank said something to that of this one."""

    sender: int
    said: StoreMessage


@dataclass(frozen=True, slots=True)
class Log:
    """Something an operator may want to know, one line."""

    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Proof against a rank, to be kept under this name. Every rank gets it, one rank writes."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Contribution:
    """A task whose result counts as this rank's. commit, place: which commit took it in, and
    where there; planned: the pulse that planned it; result: SHA-256 of its result."""

    commit: int
    place: int
    planned: int
    task: TaskLike
    result: bytes


@dataclass(frozen=True, slots=True)
class Contributed:
    """Commits first … end − 1 are decided; what this rank has contributed to them."""

    first: int
    end: int
    tasks: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class Convicted:
    """A quorum decided that these ranks leave, and why; no event may follow."""

    ranks: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over on all ranks, in the same state. stopped: why early; "" if it is done."""

    stopped: str


Effect = (
    StartRound
    | SendFrame
    | Execute
    | Recheck
    | Cancel
    | Yield
    | AppendRecord
    | Committed
    | ReplicaHeard
    | Log
    | Evidence
    | Contributed
    | Convicted
    | Finished
)
