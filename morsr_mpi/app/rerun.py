"""A recorded run again, from its journal: the same tasks in the same commits give the same bits.

With the lag of the run, a pulse record commits the oldest pulse whole, a step of `--async free`
the tasks it lists; everything computed is compared with what was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from morsr_mpi.app.jobs import ExplorerLike
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import TamperError
from morsr_mpi.base.ports import FreeSearchMachine, TaskLike
from morsr_mpi.provenance.bodies import Pulse
from morsr_mpi.provenance.steps import Step, pack_tasks, unpack_tasks

#: Work units between two looks at a task; where tasks are cut has no influence.
_STEP_UNITS = 100_000


def rerun(
    search: FreeSearchMachine, explorer: ExplorerLike, records: Iterable[Pulse | Step], lag: int
) -> None:
    """Drive a search through recorded commits, from where it stands.

    Raises TamperError for the first record that says something else than what is computed.
    """
    flight = {number: tuple(tasks) for number, tasks in search.in_flight()}
    for body in records:
        if body.pulse < search.committed:
            continue
        while search.planned <= search.committed + lag:
            number, tasks = search.plan()
            if not tasks:
                break
            flight[number] = tuple(tasks)
        keys = _keys(body, flight)
        chosen = [flight[pulse][index] for pulse, index in keys]
        _compare(body, "tasks", sha256(b"".join(task.task_id for task in chosen)), body.tasks)
        results = [_explore(explorer, task) for task in chosen]
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


def _explore(explorer: ExplorerLike, task: Any) -> bytes:
    run = explorer.begin(task)
    while not run.step(_STEP_UNITS):
        pass
    return run.result()


def _compare(body: Pulse | Step, what: str, found: bytes, recorded: bytes) -> None:
    if found != recorded:
        raise TamperError(f"commit {body.pulse}: the {what} differ from what the journal records")
