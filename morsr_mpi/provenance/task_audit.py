"""Task records against the journal: pure checks, batch by batch, in any order of segments."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.base.errors import TamperError
from morsr_mpi.base.ids import computation_id, task_id
from morsr_mpi.provenance.bodies import Pulse
from morsr_mpi.provenance.groups import RunGroup
from morsr_mpi.provenance.steps import Step, unpack_tasks
from morsr_mpi.provenance.tasks import Batch, SegmentHeader, TaskRecord


@dataclass
class _Open:
    """A commit of which records are awaited: its task ids as far as they are here."""

    body: Pulse | Step
    count: int
    planned: list[int] | None
    ids: dict[int, bytes] = field(default_factory=dict)


class TaskAudit:
    """Checks the records of one group. recorded: how many; missing: by rank, once finished."""

    def __init__(self, group: RunGroup, problem: bytes, algorithm: int) -> None:
        """problem, algorithm: as the genesis names them."""
        self.recorded = 0
        self.missing: dict[int, int] = {}
        self._group = group
        self._problem = problem
        self._algorithm = algorithm
        self._open: dict[int, _Open] = {}
        self._complete: set[int] = set()
        self._ends: dict[int, int] = {}

    def begin(self, name: str, header: SegmentHeader) -> None:
        """Take note of a segment. Raises TamperError for one that is not of this group."""
        if header.run != self._group.run or header.rank >= len(self._group.keys):
            raise TamperError(
                f"{name} is of rank {header.rank} of a group the journal does not have"
            )
        if header.problem != self._problem or header.algorithm != self._algorithm:
            raise TamperError(f"{name} is of another problem or algorithm than the journal")
        if header.rank in self._ends:
            raise TamperError(f"{name} is a second segment of rank {header.rank}")
        self._ends[header.rank] = 0

    def take(self, name: str, rank: int, batch: Batch) -> None:
        """Compare a batch of a rank with the journal. Raises TamperError."""
        for record in batch.records:
            try:
                self._check(rank, record)
            except ValueError as error:
                raise TamperError(
                    f"{name}: the record of task {record.place} of commit {record.commit} {error}"
                ) from None
        self._ends[rank] = batch.root.end
        self.recorded += len(batch.records)

    def _check(self, rank: int, record: TaskRecord) -> None:
        """Raise ValueError for a record that the journal contradicts."""
        number, place = record.commit, record.place
        if number in self._complete:
            raise ValueError("is there twice")
        known = self._open.get(number)
        if known is None:
            known = self._open[number] = self._begin(number)
        if place >= known.count:
            raise ValueError("is of no task of that commit")
        body = known.body
        at = place * DIGEST_BYTES
        if body.results[at : at + DIGEST_BYTES] != record.result:
            raise ValueError("names another result than the journal")
        if number in self._group.certified:
            giver = body.contributors[2 * place : 2 * place + 2]
            if giver != rank.to_bytes(2, "big"):
                raise ValueError(f"is of rank {rank}, the journal names another")
            if place in known.ids:
                raise ValueError("is there twice")
        if record.planned != (number if known.planned is None else known.planned[place]):
            raise ValueError("was planned by another pulse")
        task = task_id(self._algorithm, record.parameters)
        if computation_id(self._problem, task) != record.computation:
            raise ValueError("has an id that is not that of its parameters")
        if known.ids.setdefault(place, task) != task:
            raise ValueError("is there twice, with different tasks")
        if len(known.ids) == known.count:
            self._close(number, known)

    def _begin(self, number: int) -> _Open:
        body = self._group.pulses.get(number)
        if body is None:
            raise ValueError("is of a commit that the journal does not have")
        planned = (
            [pulse for pulse, _ in unpack_tasks(body.picks)] if isinstance(body, Step) else None
        )
        return _Open(body, len(body.contributors) // 2, planned)

    def _close(self, number: int, known: _Open) -> None:
        """All tasks of a commit are here: their ids must be those that were agreed on."""
        joined = b"".join(known.ids[place] for place in range(known.count))
        if sha256(joined) != known.body.tasks:
            raise ValueError("or another of that commit is of another task than the journal's")
        del self._open[number]
        self._complete.add(number)

    def finish(self, only: Container[int] | None = None) -> None:
        """All segments were taken: count what is missing, of some commits only or of all.

        Of a group that ended in order nothing may be; of one that was lost, or has not ended,
        what a rank did after its last batch. Raises TamperError.
        """
        for number, body in self._group.pulses.items():
            if number in self._complete or (only is not None and number not in only):
                continue
            known = self._open.get(number)
            here = known.ids if known is not None else {}
            for place in range(len(body.contributors) // 2):
                if place not in here:
                    self._miss(number, int.from_bytes(body.contributors[2 * place :][:2], "big"))

    def _miss(self, number: int, rank: int) -> None:
        late = number in self._group.certified and number < self._ends.get(rank, 0)
        if self._group.complete or late:
            what = "a record" if rank in self._ends else "the segment"
            raise TamperError(
                f"{what} of rank {rank} is missing among the task records: it computed a task of "
                f"commit {number}"
            )
        self.missing[rank] = self.missing.get(rank, 0) + 1
