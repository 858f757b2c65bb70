"""Factors of further tile orders, shared by the ranks of a node through files that they map.

Whoever needs an order first makes its factor, the others wait for it without blocking.  The files
are bounded in bytes: the ones used longest ago go first.  One that a rank is using stays
mapped there until it takes another.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

from morsr_mpi.adapters.shared_file import map_shared, write_shared
from morsr_mpi.base.config import FACTOR_CACHE_BYTES
from morsr_mpi.base.digest import DIGEST_BYTES
from morsr_mpi.search.factor import Factor
from morsr_mpi.search.orders import OrderName
from morsr_mpi.search.sharing import flatten_factor, rebuild_factor

#: Factors of this size are made by one rank of the node at a time: what that takes besides is
#: six times as much.
LARGE_BYTES = 16 << 20
#: How long a rank that has to wait sleeps before it looks after its messages.
WAIT_SECONDS = 0.002


class SharedFactors:
    """Store of one component's factors in the directory of this run (search.factor_store).

    factor_bytes: size of one; limit: bytes of all files of the node.
    """

    def __init__(
        self, directory: Path, part: int, factor_bytes: int, limit: int = FACTOR_CACHE_BYTES
    ) -> None:
        self._directory = directory
        self._part = part
        self._limit = limit
        self._held: OrderedDict[OrderName, Factor] = OrderedDict()
        self._large = factor_bytes >= LARGE_BYTES

    def get(self, name: OrderName, make: Callable[[], Factor]) -> Factor | None:
        """Return a factor; None while another rank makes it."""
        held = self._held.get(name)
        path = self._directory / f"factor-{self._part}-{name.kind}-{name.seed}"
        if held is None:
            held = self._map(path)
        if held is None:
            with self._only_maker(name) as only:
                if not only:
                    time.sleep(WAIT_SECONDS)
                    return None
                held = self._map(path) or self._make(path, make)
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        self._keep(name, held)
        return held

    @contextlib.contextmanager
    def _only_maker(self, name: OrderName) -> Iterator[bool]:
        """Give whether this rank alone may make a factor now: this one, or any where it is large.

        The lock ends with the process that holds it, however that ends.
        """
        which = "all" if self._large else f"{self._part}-{name.kind}-{name.seed}"
        lock = os.open(self._directory / f"making-{which}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(lock)

    def _map(self, path: Path) -> Factor | None:
        """Map the factor of another rank; None when there is none that is sound."""
        try:
            digest = path.with_suffix(".sha256").read_bytes()
            if len(digest) != DIGEST_BYTES:
                return None
            shared = map_shared(path, digest)
        except OSError:
            return None
        return rebuild_factor(shared.tree, shared.arrays)

    def _make(self, path: Path, make: Callable[[], Factor]) -> Factor:
        """Compute, publish when there is room, and return the shared one."""
        self._held.clear()  # room for what it takes besides
        factor = make()
        self._evict(factor.nbytes)
        flat = flatten_factor(factor)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # of a rank that died between the two files
        try:
            digest = write_shared(path, flat.tree, flat.arrays)
            new = path.with_suffix(".new")
            new.write_bytes(digest)
            os.rename(new, path.with_suffix(".sha256"))
        except OSError:
            return factor  # no room: this rank's own
        return self._map(path) or factor

    def _evict(self, size: int) -> None:
        """Remove the files used longest ago until one of this size fits under the limit."""
        found = []
        for path in self._directory.glob("factor-*.sha256"):
            data = path.with_suffix("")
            with contextlib.suppress(OSError):
                status = data.stat()
                found.append((status.st_mtime_ns, data.name, status.st_size))
        total = sum(item[2] for item in found)
        for _, name, bytes_freed in sorted(found):
            if total + size <= self._limit:
                return
            data = self._directory / name
            for path in (data.with_suffix(".sha256"), data):
                with contextlib.suppress(OSError):
                    path.unlink()
            total -= bytes_freed

    def _keep(self, name: OrderName, factor: Factor) -> None:
        """Hold on to it and let go of those whose files are gone: they take memory of the node."""
        self._held[name] = factor
        self._held.move_to_end(name)
        for other in list(self._held):
            gone = self._directory / f"factor-{self._part}-{other.kind}-{other.seed}.sha256"
            if other != name and not gone.exists():
                del self._held[other]
