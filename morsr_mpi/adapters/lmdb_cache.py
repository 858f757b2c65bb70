"""The node-local result cache in LMDB: shared by the ranks of a node and by the runs after it.

Writes gather in memory and go to disk in batches, by a thread of their own. Three tables: `results`
(key → sequence number, checksum, result), `uses` (sequence number → key, oldest use first) and
`meta` (bytes taken, next sequence number), so that eviction needs no search. LMDB maps its file, so
the directory must be on storage of this node (docs/operations.md); it stays sound when a process is
killed at any time. Whatever goes wrong here costs computing time, never a run: the cache then
answers "absent".
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from struct import Struct
from typing import Any

import lmdb

from morsr_mpi.base.config import CACHE_BATCH_SECONDS, CACHE_BYTES, CACHE_PENDING_BYTES
from morsr_mpi.base.digest import DIGEST_BYTES
from morsr_mpi.base.errors import UsageError
from morsr_mpi.storage.result_cache import CacheStats, check_key, checksum, cost_of

_U64 = Struct(">Q")
_HEAD = 8 + DIGEST_BYTES
_TAKEN, _NEXT, _NAME = b"taken", b"next", b"name"
#: The file has room for this multiple of the bytes counted: pages are not always full.
_SLACK = 3
#: Ranks and readers that may have the cache open at once.
_READERS = 1024


class LmdbCache:
    """ResultCache over a directory of this node."""

    def __init__(self, path: Path, max_bytes: int = CACHE_BYTES) -> None:
        """Open the directory, made if absent. Raises UsageError when that is impossible."""
        self._max = max_bytes
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._env: Any = lmdb.open(
                str(path), map_size=_SLACK * max_bytes + (1 << 20), max_dbs=3, metasync=False,
                max_readers=_READERS, mode=0o600,
            )  # fmt: skip
            self._results, self._uses, self._meta = (
                self._env.open_db(name) for name in (b"results", b"uses", b"meta")
            )
            self.name = self._named()
        except (OSError, lmdb.Error) as exc:
            raise UsageError(
                f"the cache {path} cannot be opened ({exc}); choose a directory on storage of this "
                "node that you may write to, or remove a damaged one"
            ) from None
        self._pending: dict[bytes, bytes] = {}
        self._touched: set[bytes] = set()
        self._removed: set[bytes] = set()
        self._pending_bytes = 0
        self._changed = threading.Condition()
        self._flushing = self._closing = self._broken = False
        self._thread = threading.Thread(target=self._work, name="morsr-cache", daemon=True)
        self._thread.start()

    def _named(self) -> bytes:
        """Return the name of the cache; who opens it first gives it one."""
        with self._env.begin() as transaction:
            name = transaction.get(_NAME, db=self._meta)
        if name is None:
            with self._env.begin(write=True) as transaction:
                transaction.put(_NAME, os.urandom(16), db=self._meta, overwrite=False)
                name = transaction.get(_NAME, db=self._meta)
        return bytes(name)

    def get(self, key: bytes) -> bytes | None:
        """Return a result; counts as a use."""
        waiting = self._pending.get(check_key(key))
        if waiting is not None:
            return waiting
        if key in self._removed:
            return None
        try:
            with self._env.begin() as transaction:
                entry = transaction.get(key, db=self._results)
        except lmdb.Error:
            return None
        if entry is None:
            return None
        result = bytes(entry[_HEAD:])
        if entry[8:_HEAD] != checksum(key, result):
            return None
        self._touched.add(key)
        return result

    def put(self, key: bytes, result: bytes) -> bool:
        """Keep a result. Where the disk is too slow for what is put, some is not kept."""
        room = CACHE_PENDING_BYTES - self._pending_bytes
        if check_key(key) in self._pending:
            return True
        if cost_of(result) > min(self._max, room):
            return False
        with self._changed:
            self._pending[key] = result
            self._pending_bytes += cost_of(result)
        return True

    def clear(self) -> None:
        """Forget everything, on disk too."""
        with self._changed:
            self._pending.clear()
            self._removed.clear()
            self._touched.clear()
            self._pending_bytes = 0
        with contextlib.suppress(lmdb.Error):
            self._empty()

    def remove(self, key: bytes) -> None:
        """Forget a result; on disk with the next batch."""
        with self._changed:
            self._removed.add(check_key(key))
            waiting = self._pending.pop(key, None)
            if waiting is not None:
                self._pending_bytes -= cost_of(waiting)

    def flush(self) -> None:
        """Wait until everything put so far is stored, or the disk has refused it."""
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._flushing or self._broken)

    def close(self) -> None:
        """Store what waits and let go."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        # A stopped rank may hold the lock of the file: the run does not wait for it.
        self._thread.join(timeout=10.0)
        if not self._thread.is_alive():
            self._env.close()

    @property
    def stored_bytes(self) -> int:
        """Room counted."""
        return self.stats().bytes

    def stats(self) -> CacheStats:
        """Return how much there is on disk."""
        with self._env.begin() as transaction:
            entries = transaction.stat(self._results)["entries"]
            return CacheStats(entries, _number(transaction, self._meta, _TAKEN), self._max)

    # --- the thread ------------------------------------------------------------------------
    def _work(self) -> None:
        try:
            self._turns()
        finally:  # nobody waits for a thread that has ended
            with self._changed:
                self._broken = True
                self._changed.notify_all()

    def _turns(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._flushing or self._closing, timeout=CACHE_BATCH_SECONDS
                )
                closing, flushing = self._closing, self._flushing
                batch, touched = dict(self._pending), self._touched
                removed = set(self._removed)
                self._touched = set()
            if batch or touched or removed:
                self._store(batch, touched, removed)
            with self._changed:
                for key, result in batch.items():
                    if self._pending.get(key) is result:
                        del self._pending[key]
                        self._pending_bytes -= cost_of(result)
                self._removed -= removed
                if flushing:
                    self._flushing = False
                    self._changed.notify_all()
            if closing:
                return

    def _store(self, batch: dict[bytes, bytes], touched: set[bytes], removed: set[bytes]) -> None:
        """Write a batch; a file that is full in spite of all counting is emptied first."""
        with contextlib.suppress(lmdb.Error):
            self._env.reader_check()  # of readers that were killed
            try:
                self._write(dict(batch), touched, removed)
            except lmdb.MapFullError:
                self._empty()
                self._write(dict(batch), set(), set())

    def _empty(self) -> None:
        with self._env.begin(write=True) as transaction:
            for table in (self._results, self._uses):
                transaction.drop(table, delete=False)
        # The pages are free for the transaction after the next.
        with self._env.begin(write=True) as transaction:
            transaction.put(_TAKEN, _U64.pack(0), db=self._meta)

    def _write(self, batch: dict[bytes, bytes], touched: set[bytes], removed: set[bytes]) -> None:
        with self._env.begin(write=True) as transaction:
            taken = _number(transaction, self._meta, _TAKEN)
            number = _number(transaction, self._meta, _NEXT)
            for key in removed:
                taken -= self._drop(transaction, key)
            taken -= self._settle(transaction, batch)
            coming = sum(map(cost_of, batch.values()))
            taken -= self._evict(transaction, taken + coming - self._max)
            for key in touched:
                entry = transaction.get(key, db=self._results)
                if entry is not None:
                    transaction.delete(entry[:8], db=self._uses)
                    transaction.put(key, _U64.pack(number) + entry[8:], db=self._results)
                    transaction.put(_U64.pack(number), key, db=self._uses, append=True)
                    number += 1
            for key, result in batch.items():
                entry = _U64.pack(number) + checksum(key, result) + result
                transaction.put(key, entry, db=self._results)
                transaction.put(_U64.pack(number), key, db=self._uses, append=True)
                taken += cost_of(result)
                number += 1
            transaction.put(_TAKEN, _U64.pack(max(0, taken)), db=self._meta)
            transaction.put(_NEXT, _U64.pack(number), db=self._meta)

    def _settle(self, transaction: Any, batch: dict[bytes, bytes]) -> int:
        """Leave out of the batch what is there, and remove what is damaged; return its room."""
        gained = 0
        for key, result in list(batch.items()):
            old = transaction.get(key, db=self._results)
            if old is None:
                continue
            if old[8:] == checksum(key, result) + result:  # another rank of this node had it
                del batch[key]
                continue
            gained += self._drop(transaction, key)  # damaged
        return gained

    def _drop(self, transaction: Any, key: bytes) -> int:
        """Remove an entry if it is there; return its room."""
        old = transaction.pop(key, db=self._results)
        if old is None:
            return 0
        transaction.delete(old[:8], db=self._uses)
        return cost_of(old[_HEAD:])

    def _evict(self, transaction: Any, excess: int) -> int:
        """Remove what was not used for longest; return the room gained."""
        gained = 0
        if excess <= 0:
            return 0
        with transaction.cursor(db=self._uses) as uses:
            alive = uses.first()
            while alive and gained < excess:
                entry = transaction.pop(uses.value(), db=self._results)
                if entry is not None:
                    gained += cost_of(entry[_HEAD:])
                alive = uses.delete()
        return gained


def _number(transaction: Any, table: Any, name: bytes) -> int:
    found = transaction.get(name, db=table)
    return _U64.unpack(found)[0] if found is not None and len(found) == 8 else 0


def look(path: Path, *, check: bool) -> tuple[CacheStats, int]:
    """Return what a cache holds, without changing it, and how many entries are damaged.

    check: compare every entry with its checksum; else 0. Raises UsageError for a directory that is
    no cache.
    """
    damaged = 0
    try:
        with lmdb.open(str(path), max_dbs=3, readonly=True, max_readers=_READERS) as env:
            results, meta = env.open_db(b"results"), env.open_db(b"meta")
            with env.begin() as transaction:
                entries = transaction.stat(results)["entries"]
                taken = _number(transaction, meta, _TAKEN)
                if check:
                    for key, entry in transaction.cursor(db=results):
                        damaged += entry[8:_HEAD] != checksum(bytes(key), bytes(entry[_HEAD:]))
    except (OSError, lmdb.Error) as exc:
        raise UsageError(f"{path} is no result cache that can be read ({exc})") from None
    return CacheStats(entries, taken, 0), damaged
