"""Replicas of a job read again at a restart: right or absent, whatever some of them say."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.app.recovery import Reading
from morsr_mpi.app.replicas import ENTRIES, Replicas
from morsr_mpi.base.digest import sha256
from morsr_mpi.storage.placement import Place
from morsr_mpi.storage.replica_view import ReplicaView
from morsr_mpi.storage.replication import ReplicatedStore
from morsr_mpi.storage.result_cache import MemoryCache
from morsr_mpi.storage.store_messages import Send, StoreGet, StorePut

PROBLEM = sha256(b"problem")
RANKS = 4
TASKS = [sha256(i.to_bytes(4, "big")) for i in range(40)]


def value(task: bytes) -> bytes:
    return b"result of " + task


def open_all(caches: Sequence[MemoryCache], hosts: int = RANKS) -> list[Replicas]:
    places = {r: Place(f"h{r % hosts}", r.to_bytes(2, "big")) for r in range(len(caches))}
    views = [ReplicaView(cache, PROBLEM) for cache in caches]
    return [
        Replicas(ReplicatedStore(r, places, view), view, range(len(caches)))
        for r, view in enumerate(views)
    ]


def written() -> list[MemoryCache]:
    """The caches of a job that has committed every task once."""
    caches = [MemoryCache() for _ in range(RANKS)]
    taken = [(task, i % RANKS, value(task)) for i, task in enumerate(TASKS)]
    for replicas in open_all(caches):
        replicas.committed(taken)
    return caches


def read(caches: Sequence[MemoryCache], wanted: dict[int, list[bytes]]) -> list[dict[bytes, bytes]]:
    """Every rank of the next job reads what it wants; what each has found, by SHA-256."""
    network = MemoryNetwork(len(caches))

    def one(rank: int, replicas: Replicas) -> dict[bytes, bytes]:
        reading = Reading(network.transport(rank), SystemClock(), replicas)
        asks = [(task, sha256(value(task))) for task in wanted.get(rank, ())]
        return reading.read(asks)

    with ThreadPoolExecutor(len(caches)) as pool:
        return list(pool.map(one, range(len(caches)), open_all(caches)))


def spoil(caches: Sequence[MemoryCache], ranks: int) -> None:
    """Change what some replicas of every task hold."""
    stores = open_all(caches)
    for task in TASKS:
        for rank in stores[0].store.replicas(task)[:ranks]:
            ReplicaView(caches[rank], PROBLEM).remove(task)
            ReplicaView(caches[rank], PROBLEM).put(task, b"another result")


def test_every_result_is_in_three_caches() -> None:
    caches = written()
    views = [ReplicaView(cache, PROBLEM) for cache in caches]
    for task in TASKS:
        assert [view.get(task) for view in views].count(value(task)) == 3
        assert [view.get(task) for view in views].count(None) == 1


@pytest.mark.parametrize("bad", [0, 1, 2, 3])
def test_one_good_replica_is_enough_and_none_is_told(bad: int) -> None:
    caches = written()
    spoil(caches, bad)
    found = read(caches, {0: TASKS, 3: TASKS[:7]})
    expected = TASKS if bad < 3 else []
    assert found[0] == {sha256(value(task)): value(task) for task in expected}
    assert found[3] == {sha256(value(task)): value(task) for task in expected[:7]}


def test_a_rank_with_an_empty_cache_reads_all_and_a_lost_one_is_not_missed() -> None:
    caches = written()
    found = read([MemoryCache(), *caches[1:]], {0: TASKS})
    assert len(found[0]) == len(TASKS)
    # Fewer ranks, other numbers: what the placement does not find, asking all does.
    found = read([MemoryCache(), caches[2], caches[1]], {0: TASKS})
    assert len(found[0]) == len(TASKS)


def test_after_a_loss_what_it_kept_is_copied_by_ticks() -> None:
    caches = written()
    stores = open_all(caches)
    taken = [(task, i % RANKS, value(task)) for i, task in enumerate(TASKS)]
    for replicas in stores:
        replicas.committed(taken)
    members = (3, 0, 2)
    for rank in members:
        stores[rank].regroup(members, ())
    for step in range(len(TASKS)):
        for member, rank in enumerate(members):
            for send in stores[rank].tick(float(step)):
                assert isinstance(send.message, StorePut)
                assert stores[members[send.dest]].heard(member, send.message) == ()
    for task in TASKS:
        for rank in members:
            assert ReplicaView(caches[rank], PROBLEM).get(task) == value(task)
    assert sum(stores[rank].store.stats.moved for rank in members) > 0
    assert len(stores[0].account()) == len(ENTRIES)


def test_what_a_convict_wrote_goes_and_a_cache_it_shared_is_not_used() -> None:
    caches = written()
    stores = open_all(caches)
    taken = [(task, i % RANKS, value(task)) for i, task in enumerate(TASKS)]
    for replicas in stores:
        replicas.committed(taken)
    assert not stores[0].exclude({1})
    for i, task in enumerate(TASKS):
        if i % RANKS == 1:
            assert ReplicaView(caches[0], PROBLEM).get(task) is None
    assert caches[0].stored_bytes
    shared = MemoryCache()
    view = ReplicaView(shared, PROBLEM)
    places = {0: Place("h", b"one"), 1: Place("h", b"one"), 2: Place("g", b"two")}
    store = Replicas(ReplicatedStore(0, places, view), view, (0, 1, 2))
    store.committed(taken[:3])
    assert store.exclude({1})
    before = shared.stored_bytes
    store.committed(taken)
    assert shared.stored_bytes == before
    assert store.heard(2, StoreGet(1, TASKS[0])) == ()


def test_nonsense_is_not_answered() -> None:
    stores = open_all(written())
    assert stores[0].heard(1, StoreGet(1, b"short")) == ()
    (answer,) = stores[0].heard(1, StoreGet(7, TASKS[0]))
    assert isinstance(answer, Send)
    assert answer.dest == 1
