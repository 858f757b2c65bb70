"""The replicated store of results: each on three ranks, agreed on by reading (paper section 3.3).

One `ReplicatedStore` per rank, without I/O: what is asked of it and what is heard comes in, what is
to be sent comes out, and time comes with `tick`. It is a store of pure functions of their key, so
there are no versions: two replicas that differ mean that one of them is damaged or lies.

A read relies on one of two things, and says which. *Digest*: the ledger names the SHA-256 of the
result, and one good replica is enough; all others may be bad. *Majority*: no digest is known, and
more than half of the replicas must agree; with three, one may be bad. Two that are bad each in
its own way make such a read fail; two that lie alike are not told from two that are right, which
is why a run reads by digest.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from morsr_mpi.base.config import (
    MAX_STORE_OPERATIONS,
    REREPLICATE_PER_TICK,
    STORE_TRIES,
    STORE_WAIT_SECONDS,
)
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.storage.placement import REPLICATION, replicas_of, write_quorum
from morsr_mpi.storage.result_cache import ResultCache, check_key


class Basis(Enum):
    """What a read relied on."""

    DIGEST = "digest"
    MAJORITY = "majority"
    NOTHING = "nothing"
    """It failed: absent, or nothing that could be relied on."""


@dataclass(frozen=True, slots=True)
class StorePut:
    """Keep this result. writer: the rank that computed it; op: 0 where no answer is wanted."""

    op: int
    key: bytes
    writer: int
    result: bytes


@dataclass(frozen=True, slots=True)
class StoreKept:
    """Whether a put was done."""

    op: int
    kept: bool


@dataclass(frozen=True, slots=True)
class StoreGet:
    """Asks for a result."""

    op: int
    key: bytes


@dataclass(frozen=True, slots=True)
class StoreFound:
    """Answers: the result and who wrote it; None where it is not held."""

    op: int
    writer: int
    result: bytes | None


StoreMessage = StorePut | StoreKept | StoreGet | StoreFound


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a rank."""

    dest: int
    message: StoreMessage


@dataclass(frozen=True, slots=True)
class Written:
    """A write ended. kept: replicas that have it; quorum: whether they are enough."""

    key: bytes
    kept: int
    quorum: bool


@dataclass(frozen=True, slots=True)
class Read:
    """A read ended. basis: what it relied on; replicas: how many gave this result; repaired: how
    many were sent it because they lacked it or had another."""

    key: bytes
    result: bytes | None
    basis: Basis
    replicas: int
    repaired: int


Effect = Send | Written | Read


@dataclass(slots=True)
class _Write:
    key: bytes
    writer: int
    result: bytes
    waiting: set[int]
    quorum: int
    kept: int = 0
    at: float = 0.0
    tries: int = 1


@dataclass(slots=True)
class _Reading:
    key: bytes
    digest: bytes | None
    waiting: set[int]
    total: int
    answers: dict[int, tuple[int, bytes | None]] = field(default_factory=dict)
    at: float = 0.0
    tries: int = 1


@dataclass
class ReplicationStats:
    """What a store has done. hits, misses: reads by what they ended with; by_digest,
    by_majority: what hits relied on; invalidated: entries dropped with their writer; repaired,
    moved: results sent to replicas that lacked them, after a read or a loss."""

    hits: int = 0
    misses: int = 0
    by_digest: int = 0
    by_majority: int = 0
    invalidated: int = 0
    repaired: int = 0
    moved: int = 0


class ReplicatedStore:
    """One rank's part in the store (the paper's DistributedCQEStorage)."""

    def __init__(
        self,
        rank: int,
        hosts: Mapping[int, str],
        local: ResultCache,
        factor: int = REPLICATION,
    ) -> None:
        """hosts: the host of each living rank, this one included; local: where replicas are."""
        if rank not in hosts:
            raise InternalError(f"rank {rank} is not among the ranks of the store")
        self.rank = rank
        self.stats = ReplicationStats()
        self._hosts = dict(hosts)
        self._local = local
        self._factor = factor
        self._writers: dict[bytes, int] = {}
        self._excluded: set[int] = set()
        self._operations: dict[int, _Write | _Reading] = {}
        self._moves: deque[bytes] = deque()
        self._next = 1
        self._now = 0.0

    def replicas(self, key: bytes) -> list[int]:
        """Return the living ranks that keep a key."""
        return replicas_of(key, self._hosts, self._factor)

    @property
    def waiting(self) -> int:
        """Operations of this rank that have not ended, and entries to be copied elsewhere."""
        return len(self._operations) + len(self._moves)

    # --- what this rank wants ----------------------------------------------------------------
    def put(self, key: bytes, result: bytes, writer: int | None = None) -> list[Effect]:
        """Write a result to its replicas; `Written` follows when enough have it, or cannot."""
        check_key(key)
        author = self.rank if writer is None else writer
        ranks = self.replicas(key)
        write = _Write(key, author, result, set(ranks), write_quorum(len(ranks)), at=self._now)
        number = self._begin(write)
        out: list[Effect] = []
        for rank in ranks:
            if rank == self.rank:
                out += self._kept(number, rank, self._keep(key, author, result))
            else:
                out.append(Send(rank, StorePut(number, key, author, result)))
        return out

    def get(self, key: bytes, digest: bytes | None = None) -> list[Effect]:
        """Read a result; `Read` follows. digest: its SHA-256 where the ledger names it."""
        check_key(key)
        ranks = self.replicas(key)
        reading = _Reading(key, digest, set(ranks), len(ranks), at=self._now)
        number = self._begin(reading)
        out: list[Effect] = []
        if self.rank in ranks:
            out += self._answer(number, self.rank, *self._held(key))
        if number in self._operations:
            out += [Send(r, StoreGet(number, key)) for r in ranks if r != self.rank]
        return out

    # --- what is heard -----------------------------------------------------------------------
    def hear(self, sender: int, message: StoreMessage) -> list[Effect]:
        """Take in a message of a living rank; others' are ignored. Raises ProtocolError."""
        if sender not in self._hosts or sender in self._excluded:
            return []
        match message:
            case StorePut(op, key, writer, result):
                if len(key) != 32:
                    raise ProtocolError(f"rank {sender} wrote under a key that is none")
                kept = self._keep(key, writer, result)
                return [Send(sender, StoreKept(op, kept))] if op else []
            case StoreGet(op, key):
                if len(key) != 32:
                    raise ProtocolError(f"rank {sender} asked for a key that is none")
                return [Send(sender, StoreFound(op, *self._held(key)))]
            case StoreKept(op, kept):
                return self._kept(op, sender, kept)
            case StoreFound(op, writer, found):
                return self._answer(op, sender, writer, found)

    def tick(self, now: float) -> list[Effect]:
        """Time passed: ask again, give up, copy some of what a lost rank kept."""
        self._now = now
        out: list[Effect] = []
        for number, operation in list(self._operations.items()):
            if now - operation.at < STORE_WAIT_SECONDS:
                continue
            if operation.tries >= STORE_TRIES:
                out += self._end(number)
                continue
            operation.tries += 1
            operation.at = now
            for rank in sorted(operation.waiting):
                out.append(Send(rank, self._repeat(number, operation)))
        for _ in range(min(REREPLICATE_PER_TICK, len(self._moves))):
            out += self._move(self._moves.popleft())
        return out

    # --- membership --------------------------------------------------------------------------
    def shrink(self, living: Iterable[int]) -> list[Effect]:
        """Go on with fewer ranks: what the others kept is copied from who is left."""
        left = set(living)
        gone = set(self._hosts) - left
        if not gone:
            return []
        before = dict(self._hosts)
        for rank in gone:
            del self._hosts[rank]
        for key in self._writers:
            old = replicas_of(key, before, self._factor)
            if gone & set(old):
                holders = [rank for rank in old if rank in left]
                if holders and holders[0] == self.rank:
                    self._moves.append(key)
        out: list[Effect] = []
        for number, operation in list(self._operations.items()):
            operation.waiting -= gone
            if not operation.waiting:
                out += self._end(number)
        return out

    def exclude(self, rank: int, known: Mapping[bytes, bytes] | None = None) -> list[Effect]:
        """A rank is convicted: nothing that it wrote is kept, unless the ledger vouches for it.

        known: SHA-256 of results by key, of what was verified since.
        """
        self._excluded.add(rank)
        for key in [key for key, writer in self._writers.items() if writer == rank]:
            data = self._local.get(key)
            digest = (known or {}).get(key)
            if data is not None and digest is not None and sha256(data) == digest:
                self._writers[key] = self.rank  # this rank vouches for it from now on
                continue
            del self._writers[key]
            self._local.remove(key)
            self.stats.invalidated += 1
        return self.shrink(r for r in self._hosts if r != rank)

    # --- inside ------------------------------------------------------------------------------
    def _begin(self, operation: _Write | _Reading) -> int:
        if len(self._operations) >= MAX_STORE_OPERATIONS:
            raise InternalError("too many operations of the store at once")
        number, self._next = self._next, self._next + 1
        self._operations[number] = operation
        return number

    def _repeat(self, number: int, operation: _Write | _Reading) -> StoreMessage:
        if isinstance(operation, _Write):
            return StorePut(number, operation.key, operation.writer, operation.result)
        return StoreGet(number, operation.key)

    def _keep(self, key: bytes, writer: int, result: bytes) -> bool:
        """Keep a replica; the first stays: one that differs proves nothing by itself, so what a
        lying writer has left is outvoted by readers and goes when the writer is excluded."""
        if writer in self._excluded:
            return False
        if key in self._writers and self._local.get(key) is not None:
            return self._local.get(key) == result
        self._replace(key, writer, result)
        return True

    def _replace(self, key: bytes, writer: int, result: bytes) -> None:
        self._local.remove(key)
        self._local.put(key, result)
        self._writers[key] = writer

    def _held(self, key: bytes) -> tuple[int, bytes | None]:
        writer = self._writers.get(key)
        if writer is None:
            return 0, None
        found = self._local.get(key)
        if found is None:  # made room for others, or damaged
            del self._writers[key]
        return writer, found

    def _kept(self, number: int, sender: int, kept: bool) -> list[Effect]:
        write = self._operations.get(number)
        if not isinstance(write, _Write) or sender not in write.waiting:
            return []
        write.waiting.discard(sender)
        write.kept += kept
        return self._end(number) if not write.waiting else []

    def _answer(self, number: int, sender: int, writer: int, result: bytes | None) -> list[Effect]:
        reading = self._operations.get(number)
        if not isinstance(reading, _Reading) or sender not in reading.waiting:
            return []
        reading.waiting.discard(sender)
        vouched = result is not None and reading.digest is not None
        good = vouched and sha256(result or b"") == reading.digest
        if writer in self._excluded and not good:
            result = None
        reading.answers[sender] = (self.rank if writer in self._excluded else writer, result)
        if good:
            return self._end(number)
        return self._end(number) if not reading.waiting else []

    def _end(self, number: int) -> list[Effect]:
        operation = self._operations.pop(number)
        if isinstance(operation, _Write):
            enough = operation.kept >= operation.quorum
            return [Written(operation.key, operation.kept, enough)]
        return self._end_reading(operation)

    def _end_reading(self, reading: _Reading) -> list[Effect]:
        found = [(rank, w, r) for rank, (w, r) in reading.answers.items() if r is not None]
        result: bytes | None = None
        basis = Basis.NOTHING
        if reading.digest is not None:
            good = [r for _, _, r in found if sha256(r) == reading.digest]
            if good:
                result, basis = good[0], Basis.DIGEST
                self.stats.by_digest += 1
        elif found:
            common, count = Counter(r for _, _, r in found).most_common(1)[0]
            if count >= write_quorum(reading.total):
                result, basis = common, Basis.MAJORITY
                self.stats.by_majority += 1
        if result is None:
            self.stats.misses += 1
            return [Read(reading.key, None, Basis.NOTHING, 0, 0)]
        self.stats.hits += 1
        author = next(w for _, w, r in found if r == result)
        giving = sum(r == result for _, _, r in found)
        wrong = [rank for rank, (_, r) in reading.answers.items() if r != result]
        repairs: list[Effect] = []
        for rank in sorted(wrong):
            if rank == self.rank:
                self._replace(reading.key, author, result)
            else:
                repairs.append(Send(rank, StorePut(0, reading.key, author, result)))
        self.stats.repaired += len(wrong)
        return [Read(reading.key, result, basis, giving, len(wrong)), *repairs]

    def _move(self, key: bytes) -> list[Effect]:
        """Copy an entry to the ranks that keep it now."""
        writer, result = self._held(key)
        if result is None:
            return []
        others = [rank for rank in self.replicas(key) if rank != self.rank]
        self.stats.moved += len(others)
        return [Send(rank, StorePut(0, key, writer, result)) for rank in others]
