"""Results by the content address of what they are computed from (paper sections 3.1, 3.3).

The key is the id of a computation, which covers problem, parameters, cutoff and algorithm version;
the bytes are those of its result. A cache is local to a node and belongs to whoever runs there: it
is trusted as this node's own computing is, and like that it is outvoted where it is wrong. A
checksum finds what a disk has damaged. `ResultCache` is the port, MemoryCache its twin in memory.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from morsr_mpi.base.config import CACHE_ENTRY_BYTES, MEMORY_STORE_BYTES
from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.base.errors import InternalError


class ResultCache(Protocol):
    """Bounded; anything may be gone later. What is put is seen by `get` at once."""

    def get(self, key: bytes) -> bytes | None:
        """Return the result of a computation, None when absent or damaged."""

    def put(self, key: bytes, result: bytes) -> bool:
        """Keep a result, what was not used for longest makes room; False where there is none."""

    def remove(self, key: bytes) -> None:
        """Forget a result: it is not to be found any more."""

    def clear(self) -> None:
        """Forget everything."""

    def flush(self) -> None:
        """Have everything put so far stored."""

    def close(self) -> None:
        """Flush and let go; no call may follow."""

    @property
    def name(self) -> bytes:
        """Tells this cache from all others for as long as it is kept; empty if it is not kept."""

    @property
    def stored_bytes(self) -> int:
        """Room taken, never more than the bound."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache holds. entries; bytes: room taken; limit: its bound."""

    entries: int
    bytes: int
    limit: int


def check_key(key: bytes) -> bytes:
    """Return the key. Raises InternalError for anything but 32 bytes."""
    if type(key) is not bytes or len(key) != DIGEST_BYTES:
        raise InternalError(f"the id of a computation has {DIGEST_BYTES} bytes")
    return key


def checksum(key: bytes, result: bytes) -> bytes:
    """What is stored beside a result: of the key too, so that entries cannot change places."""
    return sha256(key + result)


def cost_of(result: bytes) -> int:
    """Room an entry is counted with."""
    return len(result) + CACHE_ENTRY_BYTES


class MemoryCache:
    """The cache where a node has no storage of its own; the paper's ContentAddressedCache."""

    def __init__(self, max_bytes: int = MEMORY_STORE_BYTES) -> None:
        self._max = max_bytes
        self._items: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """Return a result; counts as a use."""
        found = self._items.get(check_key(key))
        if found is not None:
            self._items.move_to_end(key)
        return found

    def put(self, key: bytes, result: bytes) -> bool:
        """Keep a result."""
        if check_key(key) in self._items:
            return True
        if cost_of(result) > self._max:
            return False
        self._items[key] = result
        self._bytes += cost_of(result)
        while self._bytes > self._max:
            _, gone = self._items.popitem(last=False)
            self._bytes -= cost_of(gone)
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
        self._bytes = 0

    def remove(self, key: bytes) -> None:
        """Forget a result."""
        gone = self._items.pop(check_key(key), None)
        if gone is not None:
            self._bytes -= cost_of(gone)

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    @property
    def name(self) -> bytes:
        """None: memory is not kept."""
        return b""

    @property
    def stored_bytes(self) -> int:
        """Room taken."""
        return self._bytes
