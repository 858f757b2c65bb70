"""Task records of the ranks of this process: each writes its own segment below `ledger/tasks/`.

A segment belongs to one rank of one group of one job; a new group means new segments. Before a
seal names them, and before a job goes on, segments whose writers are gone are settled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from morsr_mpi.adapters.segment_file import SegmentFile, settle
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import InputError
from morsr_mpi.base.ids import computation_id
from morsr_mpi.base.ports import RecordedTask
from morsr_mpi.node.core import Node
from morsr_mpi.node.effects import Contributed
from morsr_mpi.provenance.tasks import (
    RECORD_FRONT,
    BatchRoot,
    SegmentHeader,
    SegmentWriter,
    TaskRecord,
)


def segment_name(run: bytes, rank: int) -> str:
    """Return the name of the segment of a rank in a group; run: digest of its first record."""
    return f"{run.hex()[:12]}-{rank:05d}.morsr"


def encode_records(mine: Contributed, problem: bytes) -> list[bytes]:
    """Return the records of what a rank has contributed, encoded."""
    return [
        TaskRecord(
            computation_id(problem, item.task.task_id),
            cast(RecordedTask, item.task).parameters,
            item.commit,
            item.place,
            item.planned,
            item.result,
        ).encode()
        for item in mine.tasks
    ]


class TaskLedger:
    """One rank's segment in one group; made with its first record."""

    def __init__(self, run: RunDirectory, node: Node, warn: Callable[[str], None]) -> None:
        self._run, self._node, self._warn = run, node, warn
        self._writer: SegmentWriter | None = None
        self._file: SegmentFile | None = None

    def add(self, mine: Contributed) -> None:
        """Record what was decided. Raises InputError when the disk refuses for long."""
        if not mine.tasks:
            return
        settings = self._node.settings
        if self._file is None or self._writer is None:
            header = SegmentHeader(
                self._node.run_id, settings.rank, settings.problem, settings.algorithm
            )
            path = self._run.tasks / segment_name(header.run, header.rank)
            self._file = SegmentFile(path, self._warn)
            self._file.append([header.encode()])
            self._writer = SegmentWriter(header, self._node.signer.sign)
        records = encode_records(mine, settings.problem)
        now = int(1000.0 * time.time())
        self._file.append(self._writer.batch(mine.first, mine.end, records, now))

    def finish(self) -> None:
        """Begin to make everything durable; `close` waits for it."""
        if self._file is not None:
            self._file.finish()

    def close(self) -> None:
        """Make everything durable. Raises InputError when that is impossible."""
        if self._file is not None:
            self._file.close()
            self._file = None


class TaskLedgers:
    """Those of all nodes in this process."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._ledgers: list[TaskLedger] = []
        self._broken_off: list[TaskLedger] = []

    def open(self, run: RunDirectory | None, nodes: Sequence[Node]) -> None:
        """Begin to record what nodes contribute; without a run directory nothing is."""
        if run is not None:
            self._ledgers = [TaskLedger(run, node, self._warn) for node in nodes]

    def hook(self, index: int) -> Callable[[Contributed], None] | None:
        """Return what is to be told of decisions on a node, None when nobody is."""
        return self._ledgers[index].add if self._ledgers else None

    def close(self) -> None:
        """Close all. Raises InputError when records of the present group cannot be written."""
        ledgers, self._ledgers = self._ledgers, []
        broken_off, self._broken_off = self._broken_off, []
        for ledger in broken_off:
            try:
                ledger.close()
            except InputError as exc:
                self._warn(str(exc))
        for ledger in ledgers:
            ledger.close()

    def break_off(self) -> None:
        """After a loss: begin to close; a slow disk keeps no rank from the others.

        Commits that no vote had decided are not recorded: the others may go on without them.
        """
        for ledger in self._ledgers:
            ledger.finish()
        self._broken_off += self._ledgers
        self._ledgers = []


def settle_segments(run: RunDirectory, living: bytes = b"") -> int:
    """Settle segments of other groups than the living one; return the bytes cut off in all."""
    if not run.tasks.is_dir():
        return 0
    cut = 0
    for path in segments(run):
        if not (living and path.name.startswith(living.hex()[:12])):
            cut += settle(path, _ends_batch)
    for path in run.tasks.glob(".*.tmp"):
        path.unlink()
    return cut


def segments(run: RunDirectory) -> list[Path]:
    """Return the segments of a run directory, sorted by name."""
    return sorted(path for path in run.tasks.glob("*.morsr") if not path.name.startswith("."))


def _ends_batch(item: bytes) -> bool:
    if item[:3] == RECORD_FRONT:
        return False
    try:
        BatchRoot.parse(item)
    except ValueError:
        return False
    return True
