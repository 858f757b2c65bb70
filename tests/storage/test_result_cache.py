"""The result cache: one contract, in memory and in LMDB; damage, limits, several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morsr_mpi.adapters.lmdb_cache import LmdbCache
from morsr_mpi.base.config import CACHE_ENTRY_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, UsageError
from morsr_mpi.storage.result_cache import MemoryCache, ResultCache

Make = Callable[[int], ResultCache]


def key(i: int) -> bytes:
    return sha256(i.to_bytes(4, "big"))


@pytest.fixture(params=["memory", "lmdb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[ResultCache] = []

    def cache(limit: int) -> ResultCache:
        found: ResultCache
        found = MemoryCache(limit) if request.param == "memory" else LmdbCache(tmp_path, limit)
        made.append(found)
        return found

    yield cache
    for one in made:
        one.close()


def test_what_is_put_is_there_at_once_and_after_a_flush(make: Make) -> None:
    cache = make(1 << 20)
    assert cache.get(key(1)) is None
    for i, result in enumerate((b"", b"a", b"x" * 5000)):
        cache.put(key(i), result)
        assert cache.get(key(i)) == result
    cache.flush()
    assert [cache.get(key(i)) for i in range(3)] == [b"", b"a", b"x" * 5000]
    with pytest.raises(InternalError):
        cache.get(b"short")


def test_what_is_removed_is_gone_and_can_come_back(make: Make) -> None:
    cache = make(1 << 20)
    cache.put(key(1), b"one")
    cache.remove(key(1))
    assert cache.get(key(1)) is None
    cache.put(key(1), b"two")
    cache.flush()
    assert cache.get(key(1)) == b"two"
    cache.remove(key(1))
    cache.remove(key(2))
    assert cache.get(key(1)) is None
    cache.flush()
    assert cache.get(key(1)) is None
    assert cache.stored_bytes == 0


def test_the_bound_holds_and_what_is_used_stays(make: Make) -> None:
    entry = 1000 + CACHE_ENTRY_BYTES
    cache = make(5 * entry)
    for i in range(5):
        cache.put(key(i), bytes([i]) * 1000)
    cache.flush()
    assert cache.get(key(0)) is not None
    cache.flush()
    cache.put(key(5), b"5" * 1000)
    cache.flush()
    assert [cache.get(key(i)) is not None for i in range(6)] == [True, False, *[True] * 4]
    for i in range(6, 40):
        cache.put(key(i), b"n" * 1000)
        cache.flush()
        assert cache.stored_bytes <= 5 * entry
    cache.put(key(99), b"y" * (5 * entry))
    assert cache.get(key(99)) is None, "larger than the bound"


@given(steps=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40))
@settings(max_examples=15)
def test_lmdb_does_as_memory_does(
    steps: list[tuple[int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    limit = 4 * (100 + CACHE_ENTRY_BYTES)
    slow, fast = MemoryCache(limit), LmdbCache(tmp_path_factory.mktemp("c"), limit)
    for i, put in steps:
        for cache in (slow, fast):
            if put:
                cache.put(key(i), bytes([i]) * 100)
            else:
                cache.get(key(i))
            cache.flush()
        held = {i for i in range(10) if key(i) in slow._items}
        assert fast.stats().entries == len(held)
        assert fast.stored_bytes == slow.stored_bytes
    fast.close()


def test_another_process_sees_it_and_a_later_run_too(tmp_path: Path) -> None:
    cache = LmdbCache(tmp_path)
    cache.put(key(1), b"result")
    cache.flush()
    code = (
        "import sys; from pathlib import Path\n"
        "from morsr_mpi.adapters.lmdb_cache import LmdbCache\n"
        f"cache = LmdbCache(Path({str(tmp_path)!r}))\n"
        f"assert cache.get(bytes.fromhex('{key(1).hex()}')) == b'result'\n"
        f"cache.put(bytes.fromhex('{key(2).hex()}'), b'other')\n"
        "cache.close()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert cache.get(key(2)) == b"other"
    cache.close()
    again = LmdbCache(tmp_path)
    assert (again.get(key(1)), again.get(key(2))) == (b"result", b"other")
    assert again.stats().entries == 2
    again.close()


def test_a_killed_writer_leaves_a_sound_cache(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path\n"
        "from morsr_mpi.adapters.lmdb_cache import LmdbCache\n"
        "from morsr_mpi.base.digest import sha256\n"
        f"cache = LmdbCache(Path({str(tmp_path)!r}))\n"
        "for i in range(2000):\n"
        "    cache.put(sha256(i.to_bytes(4, 'big')), bytes(500))\n"
        "    if i == 1000: cache.flush()\n"
        "    if i == 1500: cache._flushing = True\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    cache = LmdbCache(tmp_path)
    assert all(cache.get(key(i)) == bytes(500) for i in range(1000))
    cache.put(key(5000), b"more")
    cache.flush()
    assert cache.get(key(5000)) == b"more"
    cache.close()


def test_a_damaged_entry_is_absent_and_can_be_replaced(tmp_path: Path) -> None:
    cache = LmdbCache(tmp_path)
    cache.put(key(1), b"result")
    cache.put(key(2), b"second")
    cache.flush()
    with cache._env.begin(write=True) as transaction:
        entry = bytearray(transaction.get(key(1), db=cache._results))
        entry[-1] ^= 1
        transaction.put(key(1), bytes(entry), db=cache._results)
        # Another's entry under this key is damage too.
        transaction.put(key(3), transaction.get(key(2), db=cache._results), db=cache._results)
    assert cache.get(key(1)) is None
    assert cache.get(key(3)) is None
    cache.put(key(1), b"result")
    cache.flush()
    assert cache.get(key(1)) == b"result"
    cache.close()


def test_a_file_that_is_full_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages can be fuller of holes than was counted on."""
    monkeypatch.setattr("morsr_mpi.adapters.lmdb_cache._SLACK", 1)
    cache = LmdbCache(tmp_path, 1 << 20)
    for i in range(3000):
        cache.put(key(i), os.urandom(2100))
        if i % 50 == 49:
            cache.flush()
    assert cache.get(key(2999)) is not None
    cache.close()


def test_no_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be opened"):
        LmdbCache(tmp_path / "file")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "data.mdb").write_bytes(b"x" * 10000)
    with pytest.raises(UsageError, match="cannot be opened"):
        LmdbCache(tmp_path / "d")
    assert lmdb.version()
