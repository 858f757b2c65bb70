"""The replicated store of a job on one rank (paper section 3.3): placed, written, asked, repaired.

The store counts ranks as the job does, the node as its group does; this is where one becomes the
other. Writing costs no message: every rank keeps its part of what is committed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from morsr_mpi.app.agree import Together
from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.storage.placement import Place
from morsr_mpi.storage.replica_view import ReplicaView
from morsr_mpi.storage.replication import ReplicatedStore
from morsr_mpi.storage.result_cache import MemoryCache, ResultCache
from morsr_mpi.storage.store_messages import Effect, Read, Send, StoreMessage

_IN_MEMORY = b"memory"
#: Entries of `/run` (docs/formats/result.md), one number for each rank.
ENTRIES = (
    "replicas_kept", "replicas_refused", "replicas_moved", "replicas_repaired",
    "replicas_invalidated", "replicas_read", "replica_copies", "replica_caches", "replica_hosts",
)  # fmt: skip


class Replicas:
    """One rank's store, from start to end of a job."""

    def __init__(self, store: ReplicatedStore, view: ReplicaView, members: Sequence[int]) -> None:
        """members: of the present group, by their numbers in the job."""
        self.store = store
        self.reads: list[Read] = []
        self._view = view
        self._places = {rank: store.place_of(rank) for rank in store.ranks}
        self._members = tuple(members)
        self._waiting: list[Effect] = []
        self._closed = False

    # --- what the loop tells -----------------------------------------------------------------
    def committed(self, taken: Sequence[tuple[bytes, int, bytes]]) -> None:
        """Keep this rank's part of a commit: task id, member whose result it is, result."""
        for task, giver, result in () if self._closed else taken:
            self.store.take(task, result, self._members[giver])

    def heard(self, sender: int, said: StoreMessage) -> tuple[Send, ...]:
        """Take in what the store of a member says; return the answers, none to nonsense."""
        if self._closed:
            return ()
        try:
            return self._out(self.store.hear(self._members[sender], said))
        except ProtocolError:
            return ()

    def tick(self, now: float) -> tuple[Send, ...]:
        """Time passed."""
        waiting, self._waiting = self._waiting, []
        return self._out([*waiting, *self.store.tick(now)])

    def local(self, task: bytes) -> bytes | None:
        """Return what this node has of a task."""
        return self._view.get(task)

    def get(self, task: bytes, digest: bytes) -> tuple[Send, ...]:
        """Read a result by the digest that the ledger has; `reads` gets how it ended."""
        return self._out(self.store.get(task, digest))

    def _out(self, effects: Iterable[Effect]) -> tuple[Send, ...]:
        places = {rank: member for member, rank in enumerate(self._members)}
        out = []
        for effect in effects:
            if isinstance(effect, Read):
                self.reads.append(effect)
            elif isinstance(effect, Send) and effect.dest in places:
                out.append(Send(places[effect.dest], effect.message))
        return tuple(out)

    # --- losses ------------------------------------------------------------------------------
    def regroup(self, members: Sequence[int], absent: Iterable[int]) -> None:
        """The ranks have formed a new group; who is absent may come back with what it keeps."""
        self._members = tuple(members)
        self._waiting += self.store.shrink({*members, *absent})

    def exclude(self, ranks: Iterable[int]) -> bool:
        """Ranks are convicted: what they wrote goes. Whether one of them could write the cache of
        this rank itself: then nothing in it is believed any more, and nothing is kept."""
        own = self._places[self.store.rank]
        for rank in sorted(ranks):
            if rank == self.store.rank or rank not in self._places:
                continue
            self._waiting += self.store.exclude(rank)
            self._closed = self._closed or self._places[rank].cache == own.cache
        return self._closed

    def account(self) -> tuple[int, ...]:
        """Return what `/run` has of it, in the order of `ENTRIES`."""
        store, stats = self.store, self.store.stats
        copies = min(store.factor, store.caches)
        return (
            stats.kept, stats.refused, stats.moved, stats.repaired, stats.invalidated,
            stats.by_digest, copies, store.caches, store.hosts,
        )  # fmt: skip


def open_replicas(
    together: Together, members: Sequence[int], cache: ResultCache | None, problem: bytes
) -> Replicas | None:
    """Return this rank's store; all ranks call it. None where no rank, or one alone, has a cache.

    A rank without a cache of its own, among others that have one, keeps replicas in memory.
    """
    name = cache.name if cache is not None else b""
    own = encode((os.uname().nodename, name))
    told = [_place(data, rank) for rank, data in enumerate(together.exchange(own))]
    if len(told) == 1 or not any(place.cache for place in told):
        return None
    places = {
        members[index]: place if place.cache else Place(place.host, _memory(index))
        for index, place in enumerate(told)
    }
    view = ReplicaView(cache if cache is not None else MemoryCache(), problem)
    store = ReplicatedStore(members[together.rank], places, view)
    return Replicas(store, view, members)


def _memory(index: int) -> bytes:
    return _IN_MEMORY + index.to_bytes(4, "big")


def _place(data: bytes, rank: int) -> Place:
    match decode(data):
        case (str(host), bytes(cache)):
            return Place(host, cache)
    raise InternalError(f"rank {rank} told no place of its cache")
