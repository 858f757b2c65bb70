"""The replicated store under loss, damage, liars and deaths: right or an error, never wrong."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morsr_mpi.base.config import STORE_WAIT_SECONDS
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.storage.placement import (
    REPLICATION,
    Place,
    group_of,
    ranking,
    replicas_of,
    write_quorum,
)
from morsr_mpi.storage.replication import ReplicatedStore
from morsr_mpi.storage.result_cache import MemoryCache
from morsr_mpi.storage.store_messages import (
    Basis,
    Effect,
    Read,
    Send,
    StoreFound,
    StoreGet,
    StoreKept,
    StorePut,
    Written,
)


def key(i: int) -> bytes:
    return sha256(b"key" + i.to_bytes(4, "big"))


def value(i: int) -> bytes:
    return sha256(b"value" + i.to_bytes(4, "big")) * (1 + i % 5)


def where(size: int, hosts: int) -> dict[int, Place]:
    """Ranks dealt out over hosts, each with a cache of its own."""
    return {r: Place(f"h{r % hosts}", r.to_bytes(2, "big")) for r in range(size)}


class World:
    """Stores joined by a network that may lose, delay, double and reorder.

    lies: for each rank, how it changes what it says of a result.
    """

    def __init__(
        self, size: int, seed: int = 0, hosts: int | None = None, loss: float = 0.0
    ) -> None:
        self.random = random.Random(seed)
        places = where(size, hosts or size)
        self.caches = {rank: MemoryCache(1 << 24) for rank in places}
        self.stores = {r: ReplicatedStore(r, places, self.caches[r]) for r in places}
        self.loss = loss
        self.dead: set[int] = set()
        self.lies: dict[int, str] = {}
        self.wire: list[tuple[int, int, object]] = []
        self.ended: list[tuple[int, Written | Read]] = []
        self.sent: Counter[str] = Counter()
        self.now = 0.0

    def do(self, rank: int, effects: list[Effect]) -> None:
        for effect in effects:
            if not isinstance(effect, Send):
                self.ended.append((rank, effect))
                continue
            self.sent[type(effect.message).__name__] += 1
            message = self._lie(rank, effect.message)
            for _ in range(2 if self.random.random() < self.loss / 3 else 1):
                if self.random.random() >= self.loss:
                    self.wire.append((rank, effect.dest, message))

    def _lie(self, rank: int, message: object) -> object:
        kind = self.lies.get(rank)
        if kind is None or not isinstance(message, StoreFound):
            return message
        if kind == "silent":
            return replace(message, result=None)
        noise = b"alike" if kind == "alike" else bytes([rank])
        return replace(message, result=b"wrong" + noise)

    def settle(self, ticks: int = 60) -> list[tuple[int, Written | Read]]:
        """Run until nothing is under way; return what has ended."""
        for _ in range(ticks):
            while self.wire:
                at = self.random.randrange(len(self.wire))
                source, dest, message = self.wire.pop(at)
                if dest not in self.dead and source not in self.dead:
                    self.do(dest, self.stores[dest].hear(source, message))  # type: ignore[arg-type]
            self.now += STORE_WAIT_SECONDS
            for rank, store in self.stores.items():
                if rank not in self.dead:
                    self.do(rank, store.tick(self.now))
            living = [s for r, s in self.stores.items() if r not in self.dead]
            if not self.wire and not any(store.waiting for store in living):
                break
        ended, self.ended = self.ended, []
        return ended

    def kill(self, rank: int) -> None:
        self.dead.add(rank)
        living = [r for r in self.stores if r not in self.dead]
        for other in living:
            self.do(other, self.stores[other].shrink(living))

    def holders(self, k: bytes) -> set[int]:
        living = (r for r in self.stores if r not in self.dead)
        return {r for r in living if self.stores[r]._held(k)[1] is not None}


def write(world: World, count: int, writer: int = 0) -> None:
    for i in range(count):
        world.do(writer, world.stores[writer].put(key(i), value(i)))
    ended = [e for _, e in world.settle() if isinstance(e, Written)]
    assert len(ended) == count
    assert all(e.quorum for e in ended)


def read(world: World, rank: int, i: int, digest: bool) -> Read:
    world.do(rank, world.stores[rank].get(key(i), sha256(value(i)) if digest else None))
    (found,) = [e for r, e in world.settle() if r == rank and isinstance(e, Read)]
    return found


# --- where replicas are ----------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 1000))
def test_replicas_are_on_different_hosts_where_there_are(size: int, hosts: int, i: int) -> None:
    places = where(size, hosts)
    chosen = replicas_of(group_of(key(i)), places)
    assert len(set(chosen)) == len(chosen) == min(REPLICATION, size)
    named = {place.host for place in places.values()}
    assert len({places[r].host for r in chosen}) == min(REPLICATION, len(named))


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 1000), st.data())
def test_copies_in_one_cache_are_one_copy(
    size: int, caches: int, i: int, data: st.DataObject
) -> None:
    names = [data.draw(st.integers(0, caches - 1)) for _ in range(size)]
    places = {r: Place("host", bytes([name])) for r, name in enumerate(names)}
    chosen = replicas_of(group_of(key(i)), places)
    assert len({places[r].cache for r in chosen}) == len(chosen) == min(3, len(set(names)))
    # Other ranks over the same caches: the same caches keep it.
    other = {r: places[s] for r, s in enumerate(data.draw(st.permutations(range(size))))}
    again = replicas_of(group_of(key(i)), other)
    assert [other[r].cache for r in again] == [places[r].cache for r in chosen]


@given(st.integers(4, 30), st.integers(0, 500), st.data())
def test_only_what_a_lost_rank_kept_moves(size: int, i: int, data: st.DataObject) -> None:
    places = where(size, size)
    gone = data.draw(st.integers(0, size - 1))
    before = replicas_of(group_of(key(i)), places)
    after = replicas_of(group_of(key(i)), {r: p for r, p in places.items() if r != gone})
    assert [r for r in before if r != gone] == [r for r in after if r in before]
    assert (set(after) == set(before)) == (gone not in before)


def test_replicas_spread_evenly() -> None:
    counts = Counter(ranking(group_of(key(i)), where(8, 8))[0] for i in range(4000))
    assert max(counts.values()) < 1.4 * min(counts.values())
    assert [write_quorum(n) for n in (1, 2, 3, 5)] == [1, 2, 2, 3]


# --- writes and reads ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_what_is_written_is_read_everywhere_and_the_basis_is_said(size: int) -> None:
    world = World(size)
    write(world, 5)
    for i in range(5):
        assert len(world.holders(key(i))) == min(3, size)
        for rank in range(size):
            found = read(world, rank, i, digest=True)
            assert (found.result, found.basis) == (value(i), Basis.DIGEST)
            found = read(world, rank, i, digest=False)
            assert (found.result, found.basis) == (value(i), Basis.MAJORITY)
            assert found.replicas == min(3, size)
    assert read(world, 0, 99, digest=False).basis is Basis.NOTHING


KINDS = ["silent", "differs", "damaged"]


def spoil(world: World, k: bytes, rank: int, kind: str) -> None:
    if kind == "damaged":  # on its disk, without its knowing
        world.caches[rank]._items[k] = b"damaged" + bytes([rank])
    else:
        world.lies[rank] = kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [1, 2, 3])
@pytest.mark.parametrize("digest", [True, False])
def test_bad_replicas_never_make_a_read_wrong(kind: str, bad: int, digest: bool) -> None:
    for i in range(12):
        world = World(6, seed=i)
        write(world, i + 1)
        for rank in world.stores[0].replicas(key(i))[:bad]:
            spoil(world, key(i), rank, kind)
        reader = next(r for r in range(6) if r not in world.stores[0].replicas(key(i)))
        found = read(world, reader, i, digest)
        assert found.result in (value(i), None)
        enough = bad < 3 if digest else bad < 2
        assert (found.result == value(i)) == enough
        assert (found.basis is Basis.NOTHING) != enough


def test_two_that_lie_alike_need_the_ledger() -> None:
    world = World(6)
    write(world, 1)
    for rank in world.stores[0].replicas(key(0))[:2]:
        world.lies[rank] = "alike"
    reader = next(r for r in range(6) if r not in world.stores[0].replicas(key(0)))
    assert read(world, reader, 0, digest=True).result == value(0)
    assert read(world, reader, 0, digest=False).result != value(0), "why runs read by digest"


def test_a_read_repairs_what_is_missing() -> None:
    world = World(5)
    write(world, 1)
    victim = world.stores[0].replicas(key(0))[1]
    world.caches[victim].remove(key(0))
    assert victim not in world.holders(key(0))
    reader = next(r for r in range(5) if r not in world.stores[0].replicas(key(0)))
    assert read(world, reader, 0, digest=False).repaired == 1
    assert victim in world.holders(key(0))
    assert world.stores[reader].stats.repaired == 1


def test_a_write_without_a_quorum_says_so() -> None:
    world = World(3)
    world.loss = 1.0
    world.do(0, world.stores[0].put(key(0), value(0)))
    (ended,) = [e for _, e in world.settle() if isinstance(e, Written)]
    assert (ended.kept, ended.quorum) == (1, False)


# --- losses and convictions ------------------------------------------------------------------


def test_what_a_lost_rank_kept_is_copied_in_the_background() -> None:
    world = World(7)
    write(world, 60)
    before = {i: world.holders(key(i)) for i in range(60)}
    world.kill(3)
    assert any(len(world.holders(key(i))) == 2 for i in range(60))
    world.settle()
    for i in range(60):
        assert len(world.holders(key(i))) == 3
        if 3 not in before[i]:
            assert world.holders(key(i)) == before[i], "nothing else moves"
    moved = sum(store.stats.moved for r, store in world.stores.items() if r != 3)
    assert moved <= 2 * sum(3 in held for held in before.values())
    for victim in (0, 5):
        world.kill(victim)
        world.settle()
    for i in range(60):
        assert len(world.holders(key(i))) == 3
        assert read(world, 1, i, digest=True).result == value(i)


def test_what_an_excluded_rank_wrote_is_forgotten_unless_the_ledger_vouches_for_it() -> None:
    world = World(5)
    write(world, 10, writer=0)
    for i in range(10, 20):
        world.do(4, world.stores[4].put(key(i), value(i)))
    world.settle()
    vouched = {key(12): sha256(value(12)), key(13): sha256(b"another")}
    for rank in range(4):
        world.do(rank, world.stores[rank].exclude(4, vouched))
    world.dead.add(4)
    world.settle()
    for i in range(20):
        found = read(world, 1, i, digest=False)
        assert (found.result == value(i)) == (i < 10 or i == 12)
    assert world.caches[1].get(key(15)) is None
    # What it still says is not heard.
    assert world.stores[1].hear(4, StorePut(7, key(50), 4, b"x")) == []
    assert world.stores[1].hear(0, StorePut(0, key(51), 4, b"x")) == []
    assert not world.holders(key(51))


@given(st.integers(0, 10**6), st.integers(4, 9), st.sampled_from([0.0, 0.1, 0.3]))
@settings(max_examples=40)
def test_random_worlds(seed: int, size: int, loss: float) -> None:
    """Writes, reads, deaths and one liar in any order; every read is right or an error."""
    world = World(size, seed, hosts=1 + seed % size, loss=loss)
    draw = random.Random(seed)
    world.lies[draw.randrange(size)] = draw.choice(["silent", "differs"])
    written: set[int] = set()
    for _ in range(40):
        rank = draw.choice([r for r in range(size) if r not in world.dead])
        i = draw.randrange(12)
        store = world.stores[rank]
        action = draw.random()
        if action < 0.4:
            world.do(rank, store.put(key(i), value(i)))
            written.add(i)
        elif action < 0.9:
            world.do(rank, store.get(key(i), sha256(value(i)) if action < 0.65 else None))
        elif len(world.dead) < size - 3 and action > 0.96:
            world.kill(rank)
        if draw.random() < 0.5:
            for _, ended in world.settle(3):
                check(ended, written)
    world.loss = 0.0
    for _, ended in world.settle():
        check(ended, written)
    living = [store for r, store in world.stores.items() if r not in world.dead]
    assert not any(store.waiting for store in living), "once all is well everything ends"


def check(ended: Written | Read, written: set[int]) -> None:
    if isinstance(ended, Read) and ended.result is not None:
        i = next(i for i in range(12) if key(i) == ended.key)
        assert i in written
        assert ended.result == value(i)
        assert ended.basis is not Basis.NOTHING


def test_what_makes_no_sense_is_refused() -> None:
    store = ReplicatedStore(0, where(2, 2), MemoryCache())
    for message in (StorePut(1, b"short", 1, b""), StoreGet(1, b"short")):
        with pytest.raises(ProtocolError):
            store.hear(1, message)
    assert store.hear(1, StoreKept(99, True)) == []
    assert store.hear(1, StoreFound(99, 1, b"x")) == []
    assert store.hear(7, StoreGet(1, key(0))) == [], "not a rank of the store"
    with pytest.raises(InternalError):
        ReplicatedStore(3, where(1, 1), MemoryCache())
