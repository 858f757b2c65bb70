"""What a node's cache has of one problem, by task id: where the replicated store keeps its part.

What this node has computed and what it keeps as a replica have different keys. Only the first
may stand for computing, because whoever claims a result answers for it (`app/computing.py`); both
may be given to who knows the digest from the ledger.
"""

from __future__ import annotations

from morsr_mpi.base.digest import sha256
from morsr_mpi.base.ids import computation_id
from morsr_mpi.storage.result_cache import ResultCache

_TAG = b"morsr-replica"


class ReplicaView:
    """ResultCache port: keys are task ids; puts and removals concern replicas alone."""

    def __init__(self, cache: ResultCache, problem: bytes) -> None:
        self._cache = cache
        self._problem = problem
        self._front = _TAG + problem

    def get(self, key: bytes) -> bytes | None:
        """Return what was computed here, else a replica."""
        found = self._cache.get(computation_id(self._problem, key))
        return found if found is not None else self._cache.get(sha256(self._front + key))

    def put(self, key: bytes, result: bytes) -> bool:
        """Keep a replica."""
        return self._cache.put(sha256(self._front + key), result)

    def remove(self, key: bytes) -> None:
        """Forget a replica."""
        self._cache.remove(sha256(self._front + key))

    def flush(self) -> None:
        """As the cache."""
        self._cache.flush()

    def close(self) -> None:
        """The cache is another's to close."""

    def clear(self) -> None:
        """As the cache: everything in it."""
        self._cache.clear()

    @property
    def name(self) -> bytes:
        """As the cache."""
        return self._cache.name

    @property
    def stored_bytes(self) -> int:
        """As the cache."""
        return self._cache.stored_bytes
