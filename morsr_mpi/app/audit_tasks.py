"""The part of `morsr audit` that reads the segments of task records."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from morsr_mpi.adapters.segment_file import read_items
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.task_ledger import segment_name, segments
from morsr_mpi.app.verifiers import signer_of
from morsr_mpi.base.errors import TamperError
from morsr_mpi.provenance.bodies import Genesis
from morsr_mpi.provenance.chain import VerifiedChain
from morsr_mpi.provenance.groups import RunGroup, groups_of
from morsr_mpi.provenance.task_audit import TaskAudit
from morsr_mpi.provenance.tasks import Batch, SegmentReader


@dataclass
class TaskFindings:
    """recorded: records found right; tasks: committed tasks, repeated ones included; missing:
    records that ranks lost with their group; batches, segments: how many."""

    recorded: int = 0
    tasks: int = 0
    missing: int = 0
    batches: int = 0
    segments: int = 0

    @property
    def line(self) -> str:
        """One line for people."""
        if not self.segments:
            return "task records: none"
        lost = f"; {self.missing} of lost or unfinished ranks missing" if self.missing else ""
        return (
            f"task records: {self.recorded} of {self.tasks}, {self.batches} signed roots in "
            f"{self.segments} segments{lost}"
        )


def audit_tasks(run: RunDirectory, chain: VerifiedChain) -> TaskFindings:
    """Check every task record of a run directory against its journal.

    Raises TamperError naming the first segment and item that is wrong.
    """
    found = TaskFindings()
    groups = groups_of(chain)
    found.tasks = sum(
        len(body.contributors) // 2 for group in groups for body in group.pulses.values()
    )
    if not run.tasks.is_dir():
        return found
    for group, paths in by_group(run, groups):
        if not paths:
            continue
        audit = audit_of(chain, group)
        for name, rank, batch in _merged(audit, group, paths):
            audit.take(name, rank, batch)
            found.batches += 1
        audit.finish()
        found.segments += len(paths)
        found.recorded += audit.recorded
        found.missing += sum(audit.missing.values())
    return found


def audit_of(chain: VerifiedChain, group: RunGroup) -> TaskAudit:
    """Return the checks of a group of this journal."""
    genesis = chain.bodies[0]
    assert isinstance(genesis, Genesis)
    return TaskAudit(group, genesis.problem, genesis.algorithm)


def by_group(run: RunDirectory, groups: list[RunGroup]) -> Iterator[tuple[RunGroup, list[Path]]]:
    """Yield the groups with their segments. Raises TamperError for a file that is of none."""
    left = {path.name: path for path in segments(run)}
    for path in run.tasks.iterdir():
        if path.name not in left and not path.name.endswith(".tmp"):
            raise TamperError(f"{path} is no segment of task records")
    owned = [
        (group, [left.pop(name) for rank in range(len(group.keys))
                 if (name := segment_name(group.run, rank)) in left])
        for group in groups
    ]  # fmt: skip
    if left:
        path = next(iter(left.values()))
        raise TamperError(f"{path} is of no group of ranks in the journal: it is of another run")
    yield from owned


def read_segment(path: Path, group: RunGroup) -> tuple[SegmentReader, Iterator[Batch]]:
    """Return the reader of a segment and its batches, each checked by itself."""
    signer = signer_of(group.security)
    rank = int(path.stem.rpartition("-")[2])
    key = group.keys[rank]
    items = _items(path)
    reader = SegmentReader(str(path), next(items, b""), lambda d, s: signer.verify(key, d, s))
    if reader.header.rank != rank:
        raise TamperError(f"{path} is of rank {reader.header.rank}: it bears another's name")

    def batches() -> Iterator[Batch]:
        for item in items:
            batch = reader.take(item)
            if batch is not None:
                yield batch
        if reader.open:
            raise TamperError(f"{path} ends inside a batch: {reader.open} records have no root")

    return reader, batches()


def _items(path: Path) -> Iterator[bytes]:
    try:
        for _, item in read_items(path):
            yield item
    except OSError as exc:
        raise TamperError(f"{path} cannot be read: {exc.strerror or exc}") from None


def _merged(
    audit: TaskAudit, group: RunGroup, paths: list[Path]
) -> Iterator[tuple[str, int, Batch]]:
    """Batches of all segments in the order of commits, so that few commits are open at a time."""

    def named(path: Path) -> Iterator[tuple[int, int, str, Batch]]:
        reader, batches = read_segment(path, group)
        audit.begin(str(path), reader.header)
        rank = reader.header.rank
        return ((batch.root.first, rank, str(path), batch) for batch in batches)

    streams = [named(path) for path in paths]
    for _, rank, name, batch in heapq.merge(*streams, key=lambda item: item[:2]):
        yield name, rank, batch
