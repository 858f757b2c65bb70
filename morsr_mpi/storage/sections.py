"""What a checkpoint holds beside the state: who was doing what, and what need not be done again.

None of it can change a result. The finished results of pulses in flight spare their tasks a
second computation; the rest tells an operator how the job stood (DESIGN section 4).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import sha256

#: First field and version of what the digest covers (docs/formats/checkpoint.md).
SECTIONS_TAG = "morsr-checkpoint-sections"
SECTIONS_DIGEST_VERSION = 1
#: Rank of a task that nobody was ordered to compute yet.
NOBODY = -1


@dataclass(frozen=True)
class FlightTask:
    """A task planned and not committed.

    task: its id, 32 bytes; rank: who was ordered to compute it, by number in the job, or
    NOBODY; chambers: how many it explores; result: its bytes, None while there is none.
    """

    pulse: int
    index: int
    task: bytes
    rank: int
    chambers: int
    result: bytes | None


@dataclass(frozen=True)
class Worker:
    """One rank of the job. state: `works`, `absent` or `gone`.

    tasks: of certified pulses in which its result counts, since the last regrouping; work, busy:
    units and milliseconds as it last reported them.
    """

    rank: int
    state: str
    tasks: int
    work: int
    busy: int


@dataclass(frozen=True)
class Sections:
    """flight: in the order of pulse and index. workers: in the order of ranks.

    epoch: of the group of ranks; view, certified, members: of the agreement, members by their
    numbers in the job; records, head, genesis: where the journal stood, digests of 32 bytes.
    options: JSON, for people. failures: what happened so far, one line each.
    """

    flight: tuple[FlightTask, ...] = ()
    workers: tuple[Worker, ...] = ()
    epoch: int = 0
    view: int = 0
    certified: int = 0
    members: tuple[int, ...] = ()
    records: int = 0
    head: bytes = bytes(32)
    genesis: bytes = bytes(32)
    options: str = "{}"
    failures: tuple[str, ...] = field(default=())

    def digest(self) -> bytes:
        """Return the SHA-256 (32 bytes) over all fields."""
        flight = tuple(
            (t.pulse, t.index, t.task, t.rank, t.chambers, t.result) for t in self.flight
        )
        workers = tuple((w.rank, w.state, w.tasks, w.work, w.busy) for w in self.workers)
        agreement = (self.epoch, self.view, self.certified, self.members)
        journal = (self.records, self.head, self.genesis)
        head = (SECTIONS_TAG, SECTIONS_DIGEST_VERSION)
        return sha256(
            encode((*head, flight, workers, agreement, journal, self.options, self.failures))
        )

    def results(self) -> dict[bytes, bytes]:
        """Return the finished results by task id."""
        return {task.task: task.result for task in self.flight if task.result is not None}
