"""Results of the pulses that a restart repeats, from whatever cache of its ranks has them.

The ledger names the computation and the SHA-256 of each result beyond the checkpoint. The ranks say
which of them their caches hold, and one that has a result gives it to all. Nothing is believed
because of where it comes from: what does not have the ledger's digest counts as absent, so one good
replica is enough (paper section 3.3, corrected).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.adapters.segment_file import read_items
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.sharing import Share
from morsr_mpi.app.task_ledger import segments
from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_RECOVERED_BYTES, MAX_RECOVERED_TASKS
from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.base.errors import InternalError, TamperError
from morsr_mpi.base.ids import computation_id, task_id
from morsr_mpi.provenance.chain import verify_chain
from morsr_mpi.provenance.tasks import RECORD_FRONT, BatchRoot, SegmentHeader, TaskRecord
from morsr_mpi.storage.result_cache import ResultCache


@dataclass
class Recovered:
    """results: by task id; wanted: how many the ledger names beyond the checkpoint."""

    wanted: int = 0
    results: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """One line for people, "" when there was nothing to find."""
        if not self.wanted:
            return ""
        return (
            f"{len(self.results)} of {self.wanted} results beyond the checkpoint are in caches, by "
            "the ledger's digests"
        )


#: A result that is wanted: task id, key, SHA-256.
Wanted = tuple[bytes, bytes, bytes]


def recover(
    share: Share, cache: ResultCache | None, run: RunDirectory | None, committed: int
) -> Recovered:
    """Return what the caches of all ranks have; all ranks call it.

    cache: of this rank's node; run: of the chief, None on the others; committed: pulses in the
    state that the run goes on from.
    """
    found = Recovered()
    if not any(share.gather(b"" if cache is None else b"\1")):
        return found
    own = encode(wanted_of(run, committed)) if run is not None else b""
    wanted = _wanted(share.gather(own)[0])
    found.wanted = len(wanted)
    if not wanted:
        return found
    held = {task: data for task, key, digest in wanted if (data := _get(cache, key, digest))}
    flags = share.gather(bytes(task in held for task, _, _ in wanted))
    giving, room = [], MAX_RECOVERED_BYTES // share.size
    for index, (task, _, _) in enumerate(wanted):
        holders = [rank for rank, have in enumerate(flags) if have[index : index + 1] == b"\1"]
        if len(holders) == share.size or not holders or holders[0] != share.rank:
            continue
        room -= len(held[task])
        if room < 0:
            break
        giving.append((task, held[task]))
    digests = {task: digest for task, _, digest in wanted}
    for data in share.gather(encode(tuple(giving))):
        for task, result in _pairs(data):
            if sha256(result) == digests.get(task):
                held[task] = result
    found.results = held
    return found


def wanted_of(run: RunDirectory, committed: int) -> tuple[Wanted, ...]:
    """Return what the ledger names of commits from `committed` on, each task once.

    A task record tells which task it was; the digest is that of the journal's commit that counts,
    so nothing comes back that the ranks have not agreed on, or went back behind.
    """
    if not run.tasks.is_dir():
        return ()
    try:
        pulses = verify_chain(read_records(run.journal)).pulses()
    except (TamperError, OSError):
        return ()
    agreed = {
        (body.pulse, at // DIGEST_BYTES): body.results[at : at + DIGEST_BYTES]
        for body in pulses
        if body.pulse >= committed
        for at in range(0, len(body.results), DIGEST_BYTES)
    }
    found: dict[bytes, Wanted] = {}
    for path in segments(run):
        try:
            items = read_items(path)
            header = SegmentHeader.parse(next(items)[1])
            batch: list[bytes] = []
            for _, data in items:
                if data[:3] == RECORD_FRONT:
                    batch.append(data)
                    continue
                if BatchRoot.parse(data).end > committed:
                    for record in map(TaskRecord.parse, batch):
                        if agreed.get((record.commit, record.place)) != record.result:
                            continue
                        task = task_id(header.algorithm, record.parameters)
                        key = computation_id(header.problem, task)
                        found[task] = (task, key, record.result)
                batch = []
        except (TamperError, ValueError, OSError, StopIteration):
            continue
    return tuple(list(found.values())[-MAX_RECOVERED_TASKS:])


def _get(cache: ResultCache | None, key: bytes, digest: bytes) -> bytes | None:
    data = cache.get(key) if cache is not None else None
    return data if data is not None and sha256(data) == digest else None


def _wanted(data: bytes) -> list[Wanted]:
    found: list[Wanted] = []
    for entry in _tuple(data) if data else ():
        match entry:
            case (bytes(task), bytes(key), bytes(digest)) if len(key) == 32:
                found.append((task, key, digest))
            case _:
                raise InternalError("rank 0 told malformed names of results")
    return found


def _pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    for entry in _tuple(data):
        match entry:
            case (bytes(task), bytes(result)):
                found.append((task, result))
    return found


def _tuple(data: bytes) -> tuple[object, ...]:
    try:
        value = decode(data)
    except CanonicalError as error:
        raise InternalError(f"malformed results of a rank: {error}") from None
    return value if type(value) is tuple else ()
