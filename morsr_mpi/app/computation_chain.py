"""One recorded computation, and everything it depends on, verified (paper, algorithm 6.2).

A task depends on all results that the state had taken in when it was planned, so the chain below
it is the journal up to there with all its task records: not the first dependency of each, as in
the paper's listing, but every one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.adapters.segment_file import read_item_at
from morsr_mpi.adapters.task_index import open_index
from morsr_mpi.app.audit import check_trust
from morsr_mpi.app.audit_tasks import audit_of, by_group, read_segment
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.task_ledger import segments
from morsr_mpi.app.verifiers import signer_of
from morsr_mpi.base.errors import TamperError, UsageError
from morsr_mpi.node.certified import verify_certificates
from morsr_mpi.provenance.chain import VerifiedChain, verify_chain
from morsr_mpi.provenance.groups import RunGroup, groups_of
from morsr_mpi.provenance.merkle import MerkleTree, leaf_hash, verify_inclusion
from morsr_mpi.provenance.task_audit import TaskAudit
from morsr_mpi.provenance.tasks import Batch, BatchRoot, TaskRecord


@dataclass(frozen=True)
class ComputationChain:
    """What was verified.

    record: of the computation; rank: who signed it, by its number in the job; path: inclusion
    proof of the record in the tree whose root that rank signed; root: of that batch; depends:
    commits it depends on; dependencies: task records among those that were verified; missing:
    records of them that lost ranks have not left; certified: whether its own commit stands under
    a certificate; trusted: whether the genesis or the keys are as given.
    """

    record: TaskRecord
    rank: int
    path: tuple[bytes, ...]
    root: BatchRoot
    depends: int
    dependencies: int
    missing: int
    certified: bool
    trusted: bool


def verify_computation_chain(
    run_dir: str | os.PathLike[str], computation: str | bytes, trust: str | None = None
) -> ComputationChain:
    """Verify one result of a run and all that it depends on, from the run directory alone.

    computation: its id, 32 bytes or hexadecimal digits (at least 16 of them). trust: as for
    `morsr audit`. Raises TamperError for the first thing that is wrong, UsageError for an id that
    is not there.
    """
    run = RunDirectory(Path(run_dir))
    if not run.journal.is_file():
        raise TamperError(f"{run.journal} is missing: there is nothing to verify")
    chain = verify_chain(read_records(run.journal))
    verify_certificates(chain, signer_of)
    groups = groups_of(chain)
    wanted = _wanted(computation)
    path, record = find_record(run, wanted)
    group = _group_of(run, groups, path)
    reader, batches = read_segment(path, group)
    batch, place = _batch_with(batches, record)
    tree = MerkleTree([leaf_hash(data) for data in batch.data])
    proof = tree.inclusion(place)
    leaf = leaf_hash(record.encode())
    if not verify_inclusion(leaf, place, batch.root.count, proof, batch.root.root):
        raise TamperError(f"{path}: the record is not in the tree that its rank signed")
    depends = record.depends_on(group.lag)
    audits, peers = _audit_below(run, chain, groups, group, record)
    return ComputationChain(
        record,
        group.members[reader.header.rank],
        tuple(proof),
        batch.root,
        depends,
        sum(audit.recorded for audit in audits) - peers,
        sum(sum(audit.missing.values()) for audit in audits),
        record.commit in group.certified,
        check_trust(run, chain, trust),
    )


def find_record(run: RunDirectory, wanted: bytes) -> tuple[Path, TaskRecord]:
    """Return the record of a computation and its segment, by the index.

    wanted: the id or its beginning, at least eight bytes. Raises UsageError when it is not there.
    """
    paths = segments(run) if run.tasks.is_dir() else []
    try:
        index = open_index(run.index, paths)
        for path, position in index.find(wanted):
            with path.open("rb") as file:
                data = read_item_at(file, position)
            try:
                record = TaskRecord.parse(data)
            except ValueError as error:
                raise TamperError(f"{path}, byte {position}: {error}") from None
            if record.computation.startswith(wanted):
                return path, record
    except OSError as exc:
        raise TamperError(f"{run.tasks} cannot be read: {exc.strerror or exc}") from None
    raise UsageError(f"no task record of computation {wanted.hex()} in {run.path}")


def _wanted(computation: str | bytes) -> bytes:
    if isinstance(computation, bytes):
        wanted = computation
    else:
        try:
            wanted = bytes.fromhex(computation)
        except ValueError:
            wanted = b""
    if not 8 <= len(wanted) <= 32:
        raise UsageError(f"{computation!r} is not a computation id of 16 to 64 hexadecimal digits")
    return wanted


def _group_of(run: RunDirectory, groups: list[RunGroup], path: Path) -> RunGroup:
    for group, paths in by_group(run, groups):
        if path in paths:
            return group
    raise TamperError(f"{path} is of no group of ranks in the journal")


def _batch_with(batches: object, record: TaskRecord) -> tuple[Batch, int]:
    """Return the batch that holds a record, and where in it."""
    for batch in batches:  # type: ignore[attr-defined]
        if batch.root.first <= record.commit < batch.root.end and record in batch.records:
            return batch, batch.records.index(record)
    raise TamperError(f"the record of task {record.place} of commit {record.commit} has no root")


def _audit_below(
    run: RunDirectory,
    chain: VerifiedChain,
    groups: list[RunGroup],
    own: RunGroup,
    record: TaskRecord,
) -> tuple[list[TaskAudit], int]:
    """Audit the records of all commits that a record depends on, and those of its own commit,
    whose ids together are what was agreed on; return how many the latter are, too.

    Each commit counts where the record's group found it: in the last group before its own that
    recorded it, or in its own.
    """
    depends = record.depends_on(own.lag)
    owner: dict[int, RunGroup] = {}
    for group in groups[: groups.index(own) + 1]:
        for number in [n for n in owner if n >= group.committed]:
            del owner[number]
        owner.update((number, group) for number in group.pulses if number < depends)
    audits, peers = [], 0
    for group, paths in by_group(run, groups):
        wanted = {number for number, who in owner.items() if who is group}
        if not wanted and group is not own:
            continue
        audit = audit_of(chain, group)
        for path in paths:
            reader, batches = read_segment(path, group)
            audit.begin(str(path), reader.header)
            for batch in batches:
                beside = [r for r in batch.records if group is own and r.commit == record.commit]
                peers += len(beside)
                chosen = (*(r for r in batch.records if r.commit in wanted), *beside)
                audit.take(str(path), reader.header.rank, Batch(chosen, (), batch.root))
        audit.finish(wanted)
        audits.append(audit)
    return audits, peers
