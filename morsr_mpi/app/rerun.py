"""A recorded run again, from its journal: the same tasks in the same commits give the same bits.

With the lag of the run, a pulse record commits the oldest pulse whole, a step of `--async free`
the tasks it lists; everything computed is compared with what was recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from morsr_mpi.app.jobs import ExplorerLike
from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.base.errors import TamperError
from morsr_mpi.base.ports import FreeSearchMachine, TaskLike
from morsr_mpi.provenance.bodies import Pulse
from morsr_mpi.provenance.steps import Step, pack_tasks, unpack_tasks

#: Work units between two looks at a task; where tasks are cut has no influence.
_STEP_UNITS = 100_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A task of a commit, and the digest that is recorded of its result."""

    commit: int
    place: int
    task: TaskLike
    result: bytes


#: Computes the results of the tasks of one commit, in their order.
Execute = Callable[[Sequence[Recorded]], list[bytes]]


def rerun(
    search: FreeSearchMachine, explorer: ExplorerLike, records: Iterable[Pulse | Step], lag: int
) -> None:
    """Drive a search through recorded commits, from where it stands.

    Raises TamperError for the first record that says something else than what is computed.
    """
    again = Rerun(search, lag)
    for body in records:
        again.commit(body, lambda tasks: [explore(explorer, item.task) for item in tasks])


class Rerun:
    """A search on its way through recorded commits."""

    def __init__(self, search: FreeSearchMachine, lag: int) -> None:
        self.search = search
        self._lag = lag
        self._flight = {number: tuple(tasks) for number, tasks in search.in_flight()}

    def plan(self) -> None:
        """Plan as far as the lag allows."""
        search = self.search
        while search.planned <= search.committed + self._lag:
            number, tasks = search.plan()
            if not tasks:
                break
            self._flight[number] = tuple(tasks)

    def commit(self, body: Pulse | Step, execute: Execute) -> None:
        """Plan and commit as a record says; one that is behind the search is passed over.

        Raises TamperError where it says something else than what is computed.
        """
        search, flight = self.search, self._flight
        if body.pulse < search.committed:
            return
        self.plan()
        keys = _keys(body, flight)
        chosen = [flight[pulse][index] for pulse, index in keys]
        _compare(body, "tasks", sha256(b"".join(task.task_id for task in chosen)), body.tasks)
        width = DIGEST_BYTES
        digests = [body.results[i : i + width] for i in range(0, len(body.results), width)]
        if len(digests) != len(chosen):
            raise TamperError(f"commit {body.pulse} records {len(digests)} results of its tasks")
        recorded = [
            Recorded(body.pulse, place, task, digest)
            for place, (task, digest) in enumerate(zip(chosen, digests, strict=True))
        ]
        results = execute(recorded)
        _compare(body, "results", b"".join(map(sha256, results)), body.results)
        if isinstance(body, Step):
            dropped = search.commit_free(body.pulse, keys, results)
            _compare(body, "tasks given up", pack_tasks(dropped), body.dropped)
        else:
            search.commit(body.pulse, results)
        _compare(body, "state", search.state_digest(), body.state)


def _keys(body: Pulse | Step, flight: dict[int, tuple[TaskLike, ...]]) -> Sequence[tuple[int, int]]:
    """The tasks a record commits, as (pulse, index) in order."""
    if isinstance(body, Pulse):
        return [(body.pulse, index) for index in range(len(flight.get(body.pulse, ())))]
    keys = unpack_tasks(body.picks)
    for pulse, index in keys:
        if index >= len(flight.get(pulse, ())):
            raise TamperError(
                f"step {body.pulse} records task {index} of pulse {pulse}, which was not planned"
            )
    return keys


def explore(explorer: ExplorerLike, task: Any) -> bytes:
    """Return the result of a task."""
    run = explorer.begin(task)
    while not run.step(_STEP_UNITS):
        pass
    return run.result()


def _compare(body: Pulse | Step, what: str, found: bytes, recorded: bytes) -> None:
    if found != recorded:
        raise TamperError(f"commit {body.pulse}: the {what} differ from what the journal records")
