"""`morsr inspect` of task records and of a result cache: by rank, by pulse, one by one."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.audit_tasks import audit_tasks, by_group, read_segment
from morsr_mpi.app.computation_chain import find_record, verify_computation_chain
from morsr_mpi.app.inspect import Findings
from morsr_mpi.app.replicas import ENTRIES
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.canonical import CanonicalError, decode
from morsr_mpi.base.errors import InputError, TamperError
from morsr_mpi.provenance.chain import VerifiedChain, verify_chain
from morsr_mpi.provenance.groups import groups_of
from morsr_mpi.provenance.tasks import TaskRecord

#: Name of the data file of an LMDB directory.
CACHE_FILE = "data.mdb"


def is_cache(path: Path) -> bool:
    """Whether a directory is a result cache."""
    return (path / CACHE_FILE).is_file()


def inspect_cache(path: Path, *, check: bool) -> Findings:
    """Explain a result cache. check: compare every entry with its checksum."""
    from morsr_mpi.adapters.lmdb_cache import look

    found = Findings()
    found.add("result cache", path)
    stats, damaged = look(path, check=check)
    found.add("results", f"{stats.entries}, {stats.bytes / 2**20:.1f} MiB counted")
    found.add("file", f"{(path / CACHE_FILE).stat().st_size / 2**20:.1f} MiB")
    if damaged:
        found.wrong.append(f"{path}: {damaged} damaged entries; they count as absent")
    return found


def describe_records(
    found: Findings, run: RunDirectory, chain: VerifiedChain, *, check: bool
) -> None:
    """Add one line about the task records. check: each of them against the journal."""
    if not run.tasks.is_dir():
        found.add("task records", "none")
        return
    try:
        if check:
            found.add("task records", audit_tasks(run, chain).line.partition(": ")[2])
        else:
            names = sorted(path.name for path in run.tasks.glob("*.morsr"))
            size = sum((run.tasks / name).stat().st_size for name in names)
            found.add("task records", f"{len(names)} segments, {size / 2**20:.2f} MiB")
    except TamperError as exc:
        found.wrong.append(str(exc))


def describe_known(found: Findings, story: Mapping[str, Any]) -> None:
    """Add how many tasks needed no computing: from the cache, or from before a loss."""
    tasks, known = story.get("tasks"), story.get("known_tasks")
    if tasks is None or known is None or not sum(tasks):
        return
    share = 100.0 * sum(known) / sum(tasks)
    by_rank = ", ".join(
        f"rank {rank} {100.0 * k / t:.0f} %"
        for rank, (k, t) in enumerate(zip(known, tasks, strict=True))
        if t
    )
    if sum(known):
        found.add("known results", f"{int(sum(known))} of {int(sum(tasks))} tasks, {share:.1f} %")
        if len(tasks) > 1:
            found.add("hit rates", by_rank)


def describe_replicas(found: Findings, story: Mapping[str, Any]) -> None:
    """Add how the replicated store stood at the end of a run: copies, losses, repairs."""
    kept = story.get("replicas_kept")
    if kept is None or not len(kept):
        return
    total = {name: int(sum(story[name])) for name in ENTRIES}
    copies, caches, hosts = (
        int(min(story[name])) for name in ("replica_copies", "replica_caches", "replica_hosts")
    )
    by_rank = ", ".join(f"rank {rank} {int(count)}" for rank, count in enumerate(kept))
    text = f"{total['replicas_kept']} of results, factor {copies} over {caches} caches on {hosts} "
    found.add("replicas", f"{text}host{'' if hosts == 1 else 's'}; {by_rank}")
    told = [
        f"{total[f'replicas_{name}']} {what}"
        for name, what in (
            ("refused", "refused for want of room"), ("moved", "copied after losses"),
            ("repaired", "repaired"), ("invalidated", "dropped with an excluded writer"),
            ("read", "read by the ledger's digest"),
        )
        if total[f"replicas_{name}"]
    ]  # fmt: skip
    if told:
        found.add("replicas since", ", ".join(told))


def inspect_records(path: Path, pulse: int | None) -> Findings:
    """List task records: by rank and group, or those of one pulse.

    Raises TamperError for records that are not sound, InputError where there are none.
    """
    run, chain = _open(path)
    found = Findings()
    for number, (group, paths) in enumerate(by_group(run, groups_of(chain))):
        for part in paths:
            reader, batches = read_segment(part, group)
            rank = group.members[reader.header.rank]
            label = f"group {number}, rank {rank}"
            if pulse is not None:
                for batch in batches:
                    for record in batch.records:
                        if record.commit == pulse:
                            found.add(f"{label}, task {record.place}", _one_line(record))
                continue
            roots = [batch.root for batch in batches]
            span = f"pulses {roots[0].first} to {roots[-1].end - 1}" if roots else "nothing"
            count = sum(root.count for root in roots)
            when = f"{_when(roots[0].time)} to {_when(roots[-1].time)}" if roots else ""
            found.add(label, f"{count} records in {len(roots)} batches, {span}, {when}")
    if not found.lines:
        what = "no task records" if pulse is None else f"no task record of pulse {pulse}"
        raise InputError(f"{path} has {what}")
    return found


def inspect_task(path: Path, computation: str, *, check: bool) -> Findings:
    """Explain one record. check: verify it and everything it depends on.

    Raises UsageError for an id that is not there, TamperError for what is not sound.
    """
    run, chain = _open(path)
    try:
        wanted = bytes.fromhex(computation)
    except ValueError:
        raise InputError(f"{computation!r} is no computation id: hexadecimal digits") from None
    part, record = find_record(run, wanted)
    group = next(g for g, paths in by_group(run, groups_of(chain)) if part in paths)
    rank = group.members[int(part.stem.rpartition("-")[2])]
    found = Findings()
    found.add("computation", record.computation.hex())
    found.add("result", f"SHA-256 {record.result.hex()}")
    found.add("rank", f"{rank}, segment {part.name}")
    found.add("commit", f"{record.commit}, place {record.place}; planned in {record.planned}")
    found.add("depends on", f"the results of {record.depends_on(group.lag)} commits")
    found.add("parameters", _parameters(record.parameters))
    if check:
        verified = verify_computation_chain(path, record.computation)
        found.add(
            "verified",
            f"Merkle proof of {len(verified.path)} hashes, signature, {verified.dependencies} "
            f"records it depends on" + (", under a certificate" if verified.certified else ""),
        )
    return found


def _open(path: Path) -> tuple[RunDirectory, VerifiedChain]:
    run = RunDirectory(path)
    if not run.tasks.is_dir() or not run.journal.is_file():
        raise InputError(f"{path} has no task records")
    return run, verify_chain(read_records(run.journal))


def _parameters(data: bytes) -> str:
    """Kind, target, component, cutoff and size of the body."""
    try:
        match decode(data):
            case (str(kind), int(target), int(part), float(cutoff), body):
                size = len(body) if isinstance(body, Sequence) else 0
                return (
                    f"{kind}, target {target}, component {part}, cutoff {cutoff:.10g}, "
                    f"{size} fields, {len(data)} bytes"
                )
    except CanonicalError:
        pass
    return f"{len(data)} bytes that are no task"


def _one_line(record: TaskRecord) -> str:
    return f"{record.computation.hex()} -> {record.result.hex()[:16]}"


def _when(milliseconds: int) -> str:
    moment = datetime.datetime.fromtimestamp(milliseconds / 1000.0, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S")
