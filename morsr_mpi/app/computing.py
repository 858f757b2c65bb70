"""What computes the tasks of this process: the engine, and before it results that are known.

Known are results from before a loss, and those in the cache of the node (`--cache DIR`), where a
restart, a replay and later runs of the same problem find them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from morsr_mpi.app.filesystem import SHARED, file_system_type
from morsr_mpi.app.regrouping import Known, Remembering
from morsr_mpi.base.errors import UsageError
from morsr_mpi.base.ids import computation_id
from morsr_mpi.base.ports import RunLike
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.prepare import Prepared
from morsr_mpi.storage.result_cache import ResultCache


def open_cache(path: Path) -> ResultCache:
    """Open the cache of a node. Raises UsageError where that is impossible."""
    kind = file_system_type(path)
    if kind in SHARED:
        raise UsageError(
            f"the cache {path} is on {kind}, which hosts share; choose a directory on storage of "
            "each node, for example below $TMPDIR"
        )
    from morsr_mpi.adapters.lmdb_cache import LmdbCache

    return LmdbCache(path)


class Computing:
    """Makes explorers that share one cache."""

    def __init__(self, path: Path | None) -> None:
        """path: where the cache is; None for none."""
        self._path = path
        self._cache: ResultCache | None = None
        self._cached: list[Cached] = []
        self._tainted = False

    def explorers(
        self, problem: QuadraticProblem, prepared: Prepared, count: int
    ) -> list[Remembering]:
        """Return an explorer for each node of this process. Raises UsageError."""
        if self._cache is None and self._path is not None:
            self._cache = open_cache(self._path)
        plain = [Explorer(problem, prepared) for _ in range(count)]
        if self._cache is None:
            return [Remembering(explorer) for explorer in plain]
        self._cached = [Cached(e, self._cache, problem.digest) for e in plain]
        if self._tainted:
            self.taint()
        return [Remembering(cached, e) for cached, e in zip(self._cached, plain, strict=True)]

    @property
    def cache(self) -> ResultCache | None:
        """The cache, once there are explorers; None without one."""
        return self._cache

    def taint(self) -> None:
        """A convicted rank could write the cache: empty it, and compute everything from now on."""
        self._tainted = True
        for cached in self._cached:
            cached.cache = None
        if self._cache is not None:
            self._cache.clear()

    def close(self) -> None:
        """Store what waits and let go of the cache; a tainted one is left empty."""
        cache, self._cache = self._cache, None
        if cache is not None:
            if self._tainted:
                cache.clear()
            cache.close()


class Cached:
    """Computes tasks that are not in a cache, and puts their results there."""

    def __init__(self, explorer: Any, cache: ResultCache, problem: bytes) -> None:
        self._explorer = explorer
        self.cache: ResultCache | None = cache
        self._problem = problem

    def begin(self, task: Any) -> RunLike:
        """Start a task."""
        if self.cache is None:
            run: RunLike = self._explorer.begin(task)
            return run
        key = computation_id(self._problem, task.task_id)
        result = self.cache.get(key)
        if result is not None:
            return Known(result)
        return _Kept(self._explorer.begin(task), self.cache, key)


class _Kept:
    """A task being explored whose result goes to the cache."""

    def __init__(self, run: RunLike, cache: ResultCache, key: bytes) -> None:
        self._run, self._cache, self._key = run, cache, key

    @property
    def work(self) -> int:
        """Units spent."""
        return self._run.work

    def step(self, units: int) -> bool:
        """As the run."""
        return self._run.step(units)

    def result(self) -> bytes:
        """As the run, kept."""
        result = self._run.result()
        self._cache.put(self._key, result)
        return result
