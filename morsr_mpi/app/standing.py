"""How a job stands, for its checkpoints: tasks in flight, ranks, agreement, journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from morsr_mpi.base.config import MAX_FLIGHT_BYTES, MAX_FLIGHT_TASKS
from morsr_mpi.node.core import Node
from morsr_mpi.node.regroup import Group
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.tasks import Task
from morsr_mpi.storage.sections import NOBODY, FlightTask, Sections, Worker


def sections_of(
    node: Node, group: Group, options: SearchOptions, failures: Sequence[str]
) -> Sections:
    """Return what a checkpoint holds beside the state, from the chief's first node."""
    members = group.members if len(group.members) == node.settings.size else ()

    def rank_of(member: int) -> int:
        return members[member] if 0 <= member < len(members) else member

    progress, tasks = node.progress_by_rank, node.tasks_by_rank
    workers = [
        Worker(rank_of(member), "works", tasks[member], *progress[member])
        for member in range(node.settings.size)
    ]
    workers += [Worker(rank, "absent", 0, 0, 0) for rank in group.absent]
    workers += [Worker(rank, "gone", 0, 0, 0) for rank in group.gone]
    met = node.has_met
    point = node.chain.point if met else None
    return Sections(
        flight=_flight(node, rank_of),
        workers=tuple(sorted(workers, key=lambda worker: worker.rank)),
        epoch=group.epoch,
        view=node.view,
        certified=node.certified,
        members=tuple(rank_of(member) for member in range(node.settings.size)),
        records=point.count if point else 0,
        head=point.head if point else bytes(32),
        genesis=point.genesis if point else bytes(32),
        options=json.dumps(asdict(options), sort_keys=True),
        failures=tuple(failures),
    )


def _flight(node: Node, rank_of: object) -> tuple[FlightTask, ...]:
    """Tasks in flight; results beyond the limit are left out, they are computed again."""
    assert callable(rank_of)
    found: list[FlightTask] = []
    room = MAX_FLIGHT_BYTES
    for pulse, index, task, member, result in node.in_flight():
        if result is not None and len(result) > room:
            result = None
        room -= len(result or b"")
        rank = rank_of(member) if member != NOBODY else NOBODY
        chambers = task.chambers if isinstance(task, Task) else 0
        found.append(FlightTask(pulse, index, task.task_id, rank, chambers, result))
    return tuple(found[:MAX_FLIGHT_TASKS])
