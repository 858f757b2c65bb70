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

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from morsr_mpi.base.config import (
    MAX_REPLICA_BYTES,
    MAX_STORE_OPERATIONS,
    MAX_TRACKED_REPLICAS,
    REREPLICATE_PER_TICK,
    STORE_TRIES,
    STORE_WAIT_SECONDS,
)
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.storage.placement import (
    REPLICATION,
    Place,
    group_of,
    replicas_of,
    write_quorum,
)
from morsr_mpi.storage.result_cache import ResultCache, check_key
from morsr_mpi.storage.store_messages import (
    NOBODY,
    Basis,
    Effect,
    Read,
    ReplicationStats,
    Send,
    StoreFound,
    StoreGet,
    StoreKept,
    StoreMessage,
    StorePut,
    Written,
)


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
    others: tuple[int, ...] = ()
    answers: dict[int, tuple[int, bytes | None]] = field(default_factory=dict)
    at: float = 0.0
    tries: int = 1


class ReplicatedStore:
    """One rank's part in the store (the paper's DistributedCQEStorage)."""

    def __init__(
        self,
        rank: int,
        places: Mapping[int, Place],
        local: ResultCache,
        factor: int = REPLICATION,
    ) -> None:
        """places: of each living rank with a cache; local: where replicas are."""
        if rank not in places:
            raise InternalError(f"rank {rank} is not among the ranks of the store")
        self.rank = rank
        self.stats = ReplicationStats()
        self._places = dict(places)
        self._local = local
        self.factor = factor
        self._where: dict[int, tuple[int, ...]] = {}
        self._writers: OrderedDict[bytes, int] = OrderedDict()
        self._excluded: set[int] = set()
        self._operations: dict[int, _Write | _Reading] = {}
        self._moves: deque[bytes] = deque()
        self._next = 1
        self._now = 0.0

    def replicas(self, key: bytes) -> tuple[int, ...]:
        """Return the living ranks that keep a key."""
        group = group_of(key)
        found = self._where.get(group)
        if found is None:
            found = self._where[group] = replicas_of(group, self._places, self.factor)
        return found

    def place_of(self, rank: int) -> Place:
        """Return where a living rank keeps results."""
        return self._places[rank]

    @property
    def ranks(self) -> list[int]:
        """The living ranks of the store."""
        return sorted(self._places)

    @property
    def caches(self) -> int:
        """Different caches: no more copies than these."""
        return len({place.cache for place in self._places.values()})

    @property
    def hosts(self) -> int:
        """Different hosts."""
        return len({place.host for place in self._places.values()})

    @property
    def waiting(self) -> int:
        """Operations of this rank that have not ended, and entries to be copied elsewhere."""
        return len(self._operations) + len(self._moves)

    @property
    def full(self) -> bool:
        """Whether no further operation may begin now."""
        return len(self._operations) >= MAX_STORE_OPERATIONS

    # --- what this rank wants ----------------------------------------------------------------
    def take(self, key: bytes, result: bytes, writer: int) -> None:
        """Keep a replica of what all ranks have committed, if it is this rank's to keep.

        Every rank has the result already, so that a write costs no message; what the ranks
        committed last stands. All of them say in their slots how far they have committed.
        """
        if self.rank not in self.replicas(key) or len(result) > MAX_REPLICA_BYTES:
            return
        if writer == self.rank and self._local.get(key) == result:
            kept = True  # computed here, and in the cache for that
        else:
            if self._writers.get(key, writer) != writer:  # committed anew, after a conviction
                self._local.remove(key)
            kept = self._local.put(key, result)
        if not kept:
            self.stats.refused += 1
            return
        self._track(key, writer)
        self.stats.kept += 1

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
        """Read a result; `Read` follows. digest: its SHA-256 where the ledger names it.

        With a digest it does not matter who answers: where no replica is good, all are asked.
        """
        check_key(key)
        ranks = self.replicas(key)
        others = self._others(ranks) if digest is not None else ()
        reading = _Reading(key, digest, set(ranks), len(ranks), others, at=self._now)
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
        if sender not in self._places or sender in self._excluded:
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
                if isinstance(operation, _Write) or not operation.others:
                    out += self._end(number)
                    continue
                operation.waiting, operation.others = set(operation.others), ()
                operation.tries = 0
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
        gone = set(self._places) - left
        if not gone:
            return []
        for key in self._writers:
            old = self.replicas(key)
            if gone & set(old):
                holders = [rank for rank in old if rank in left]
                if holders and holders[0] == self.rank:
                    self._moves.append(key)
        self._where.clear()
        for rank in gone:
            del self._places[rank]
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
        return self.shrink(r for r in self._places if r != rank)

    # --- inside ------------------------------------------------------------------------------
    def _others(self, ranks: Iterable[int]) -> tuple[int, ...]:
        return tuple(rank for rank in self._places if rank not in (*ranks, self.rank))

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
        if writer in self._excluded or len(result) > MAX_REPLICA_BYTES:
            return False
        known = self._local.get(key)
        if known is None:
            self._replace(key, writer, result)
            return True
        if key not in self._writers:
            self._track(key, writer if known == result else NOBODY)
        return known == result

    def _replace(self, key: bytes, writer: int, result: bytes) -> None:
        self._local.remove(key)
        self._local.put(key, result)
        self._track(key, writer)

    def _track(self, key: bytes, writer: int) -> None:
        """Remember who wrote an entry; of the oldest this rank forgets it."""
        self._writers[key] = writer
        while len(self._writers) > MAX_TRACKED_REPLICAS:
            self._writers.popitem(last=False)

    def _held(self, key: bytes) -> tuple[int, bytes | None]:
        found = self._local.get(key)
        if found is None:  # never here, made room for others, or damaged
            self._writers.pop(key, None)
        elif len(found) > MAX_REPLICA_BYTES:
            found = None
        return self._writers.get(key, NOBODY), found

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
        if good or not (reading.waiting or reading.others):
            return self._end(number)
        if reading.waiting:
            return []
        reading.waiting, reading.others = set(reading.others), ()
        return [Send(rank, StoreGet(number, reading.key)) for rank in sorted(reading.waiting)]

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
        keepers = self.replicas(reading.key)
        wrong = [r for r, (_, said) in reading.answers.items() if said != result and r in keepers]
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
