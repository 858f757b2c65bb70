"""What a restart takes from the ledger instead of computing it: certified pulses, from caches.

Every rank reads the journal itself, checks the certificates beyond the checkpoint, and reads the
result of each task that they cover: from its own cache, or over point-to-point from the replicas.
Nothing is believed because of where it comes from: what does not have the ledger's digest counts as
absent, so one good replica is enough (paper section 3.3, corrected). The state then goes forward
through these pulses, and must come to the digests that the ledger has of it. Nobody claims such a
result anew: the certificate answers for it, so a copy makes nobody liable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.adapters.segment_file import read_items
from morsr_mpi.app.replicas import Replicas
from morsr_mpi.app.rerun import Recorded, Rerun
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.sharing import Share
from morsr_mpi.app.task_ledger import segments
from morsr_mpi.app.verifiers import signer_of
from morsr_mpi.base.config import (
    IDLE_SLEEP_MIN_SECONDS,
    MAX_RECOVERED_BYTES,
    MAX_RECOVERED_TASKS,
    MAX_RECOVERY_READS,
    RECOVERY_SECONDS,
    TICK_SECONDS,
)
from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.base.errors import ProtocolError, TamperError
from morsr_mpi.base.ids import computation_id, task_id
from morsr_mpi.base.ports import Clock, FreeSearchMachine, Transport
from morsr_mpi.node.certified import certified_pulses
from morsr_mpi.provenance.bodies import Pulse
from morsr_mpi.provenance.chain import verify_chain
from morsr_mpi.provenance.steps import Step
from morsr_mpi.provenance.tasks import RECORD_FRONT, BatchRoot, SegmentHeader, TaskRecord
from morsr_mpi.storage.result_cache import ResultCache
from morsr_mpi.storage.store_messages import Basis, Send, StoreKept
from morsr_mpi.wire.messages import decode_message, encode_message
from morsr_mpi.wire.replica_messages import Replica

#: A result that is wanted: task id, key, SHA-256.
Wanted = tuple[bytes, bytes, bytes]
#: Says that a rank has read what it wants: operations have numbers from 1 on.
_READ_ALL = StoreKept(0, True)


@dataclass
class Recovered:
    """results: by SHA-256; wanted: how many the ledger names beyond the checkpoint; remote: how
    many of them came from replicas of others."""

    wanted: int = 0
    remote: int = 0
    first: int = 0
    end: int = 0
    results: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """One line for people, "" when there was nothing to find."""
        if not self.wanted:
            return ""
        taken = (
            f"; pulses {self.first} to {self.end - 1} are taken from the ledger"
            if self.end > self.first
            else ""
        )
        return (
            f"{len(self.results)} of {self.wanted} results beyond the checkpoint are in caches, by "
            f"the ledger's digests, {self.remote} of them read from other ranks{taken}"
        )


@dataclass(frozen=True)
class Ledger:
    """Certified pulses that count, from the checkpoint on, and the results they name."""

    pulses: tuple[Pulse | Step, ...] = ()
    wanted: tuple[Wanted, ...] = ()


def read_ledger(run: RunDirectory | None, committed: int) -> Ledger:
    """Return what the ledger has beyond a state; nothing where it is not sound or not there.

    Certificates of pulses from `committed` on are verified. Nothing comes back that the ranks have
    not agreed on, or went back behind.
    """
    if run is None or not run.tasks.is_dir():
        return Ledger()
    try:
        chain = verify_chain(read_records(run.journal))
        sure = certified_pulses(chain, signer_of, committed)
    except (TamperError, OSError):
        return Ledger()
    beyond = [body for body in chain.pulses() if body.pulse >= committed]
    pulses: list[Pulse | Step] = []
    for body in beyond:
        if body.pulse != committed + len(pulses) or body.pulse not in sure:
            break
        pulses.append(body)
    return Ledger(tuple(pulses), _wanted_of(run, beyond, committed))


def reach(ledger: Ledger, committed: int, results: dict[bytes, bytes]) -> int:
    """Return the first pulse that some result is missing for."""
    for body in ledger.pulses:
        if any(name not in results for name in _names(body)):
            break
        committed = body.pulse + 1
    return committed


def go_forward(
    search: FreeSearchMachine, ledger: Ledger, lag: int, end: int, results: dict[bytes, bytes]
) -> None:
    """Commit the ledger's pulses below `end`. Raises TamperError where the state is another."""
    again = Rerun(search, lag)

    def known(tasks: Sequence[Recorded]) -> list[bytes]:
        return [results[item.result] for item in tasks]

    for body in ledger.pulses:
        if body.pulse < end:
            again.commit(body, known)


class Reading:
    """Reads what is wanted from the replicas, and answers others that do the same."""

    def __init__(self, transport: Transport, clock: Clock, replicas: Replicas) -> None:
        self._transport = transport
        self._clock = clock
        self._replicas = replicas
        self._done: set[int] = {transport.rank}

    def read(self, wanted: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        """Return the results that were found, by SHA-256; all ranks call it.

        wanted: (task id, SHA-256). Returns when every rank has what there is, or does not answer
        for `config.RECOVERY_SECONDS`.
        """
        found: dict[bytes, bytes] = {}
        waiting, under_way, room = deque(wanted), 0, MAX_RECOVERED_BYTES
        said, tick_at, begin = False, 0.0, self._clock.now()
        transport, replicas = self._transport, self._replicas
        while not said or len(self._done) < transport.size:
            now = self._clock.now()
            if said and now - begin > RECOVERY_SECONDS:
                break
            while waiting and under_way < MAX_RECOVERY_READS and room > 0:
                self._send(replicas.get(*waiting.popleft()))
                under_way += 1
            busy = self._receive()
            if now - tick_at >= TICK_SECONDS:
                tick_at = now
                self._send(replicas.tick(now))
            reads, replicas.reads[:] = list(replicas.reads), []
            for read in reads:
                under_way -= 1
                if read.result is not None and read.basis is Basis.DIGEST:
                    found[sha256(read.result)] = read.result
                    room -= len(read.result)
            if not said and not under_way and (not waiting or room <= 0):
                said, begin = True, now
                others = (rank for rank in range(transport.size) if rank != transport.rank)
                self._send(Send(rank, _READ_ALL) for rank in others)
            if not (busy or reads):
                self._clock.sleep(IDLE_SLEEP_MIN_SECONDS if said else 0.0)
        return found

    def _receive(self) -> bool:
        frames = self._transport.poll()
        for source, frame in frames:
            try:
                message = decode_message(frame, source)
                if not isinstance(message, Replica):
                    continue
                if message.said == _READ_ALL:
                    self._done.add(source)
                else:
                    self._send(self._replicas.heard(source, message.said))
            except ProtocolError:
                continue  # what it asked for stays unanswered, what it said unread
        return bool(frames)

    def _send(self, messages: Iterable[Send]) -> None:
        for item in messages:
            self._transport.send(item.dest, encode_message(Replica(item.message)))


def look_up(
    ledger: Ledger, cache: ResultCache | None, replicas: Replicas | None
) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    """Return the results that are on this node, by SHA-256, and what has to be read elsewhere."""
    found: dict[bytes, bytes] = {}
    missing: list[tuple[bytes, bytes]] = []
    room = MAX_RECOVERED_BYTES
    for task, key, digest in ledger.wanted:
        data = cache.get(key) if cache is not None else None
        if (data is None or sha256(data) != digest) and replicas is not None:
            data = replicas.local(task)
        if data is None or sha256(data) != digest:
            missing.append((task, digest))
        elif room > 0:
            found[digest] = data
            room -= len(data)
    return found, missing


def recover(
    share: Share,
    open_transport: Callable[[], Transport],
    clock: Clock,
    run: RunDirectory | None,
    cache: ResultCache | None,
    replicas: Replicas | None,
    committed: int,
) -> tuple[Recovered, Ledger]:
    """Read what the caches of all ranks have beyond a state; all ranks call it.

    The pulses from `first` to `end` of what is returned can be committed on every rank.
    """
    found = Recovered(first=committed, end=committed)
    if not any(share.gather(b"" if cache is None else b"\1")):
        return found, Ledger()
    ledger = share.agree(lambda: read_ledger(run, committed))
    found.wanted = len(ledger.wanted)
    found.results, missing = look_up(ledger, cache, replicas)
    if any(share.gather(b"\1" if missing and replicas is not None else b"")):
        assert replicas is not None
        transport = open_transport()
        remote = Reading(transport, clock, replicas).read(missing)
        end = clock.now() + RECOVERY_SECONDS
        while not transport.leave() and clock.now() < end:
            clock.sleep(IDLE_SLEEP_MIN_SECONDS)
        transport.close()
        found.remote = len(remote)
        found.results.update(remote)
    ends = share.gather(reach(ledger, committed, found.results).to_bytes(8, "big"))
    found.end = min(int.from_bytes(end, "big") for end in ends)
    return found, ledger


def _names(body: Pulse | Step) -> list[bytes]:
    """SHA-256 of each result that a commit names."""
    return [body.results[i : i + DIGEST_BYTES] for i in range(0, len(body.results), DIGEST_BYTES)]


def _wanted_of(
    run: RunDirectory, pulses: Sequence[Pulse | Step], committed: int
) -> tuple[Wanted, ...]:
    """Return what commits that count name, from `committed` on, each task once.

    A task record tells which task it was; the digest is the commit's.
    """
    agreed = {
        (body.pulse, place): name for body in pulses for place, name in enumerate(_names(body))
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
