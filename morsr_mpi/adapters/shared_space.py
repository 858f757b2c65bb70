"""A directory in a node's shared memory that lives as long as some rank of the run does.

Every rank holds a shared lock on its file `alive`; the kernel lets go of it when a process ends,
however it ends.  Who gets the lock for itself alone may remove the directory: the last rank
of the run at its end, or any later run that finds a directory of which nobody is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

#: Overrides where to look for shared memory.
VARIABLE = "MORSR_SHARED_DIR"
NAME = re.compile(r"morsr-(\d+)-[0-9a-f]{16}")
#: A directory without its lock file is being made; later it is a leftover.
YOUNG_SECONDS = 60.0


def candidates() -> list[Path]:
    """Directories to try in turn: shared memory, then the node's own temporary files."""
    chosen = os.environ.get(VARIABLE)
    found = [Path(chosen)] if chosen else [Path("/dev/shm"), Path(tempfile.gettempdir())]
    return [path for path in found if path.is_dir() and os.access(path, os.W_OK | os.X_OK)]


def node_identity() -> tuple[object, ...]:
    """What ranks have in common exactly when they see the same memory and directories.

    The kernel's boot id, the user, and device and inode of each candidate directory; empty when
    there is nothing to share.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        seen = tuple((s.st_dev, s.st_ino) for s in (os.stat(path) for path in candidates()))
    except OSError:
        return ()
    return (boot, os.getuid(), *(number for pair in seen for number in pair)) if seen else ()


class SharedSpace:
    """This rank's membership in such a directory."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def create(cls, parent: Path) -> SharedSpace:
        """Make a directory for this run. Raises OSError."""
        path = parent / f"morsr-{os.getuid()}-{os.urandom(8).hex()}"
        path.mkdir(mode=0o700)
        # Locked before it has its name: nobody can find it unlocked.
        lock = os.open(path / "alive.new", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_SH)
        os.rename(path / "alive.new", path / "alive")
        return cls(path, lock)

    @classmethod
    def join(cls, path: Path) -> SharedSpace:
        """Take part in the directory of another rank. Raises OSError."""
        lock = os.open(path / "alive", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_SH)
        if os.fstat(lock).st_nlink == 0:  # removed in between
            os.close(lock)
            raise FileNotFoundError(f"{path} is gone")
        return cls(path, lock)

    def close(self) -> None:
        """Leave; the last one removes the directory. Maps stay usable."""
        if self._lock is None:
            return
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = None


def remove_stale(parent: Path) -> int:
    """Remove the directories of this user's runs of which no process is left; return how many."""
    removed = 0
    for path in sorted(parent.iterdir()):
        name = NAME.fullmatch(path.name)
        if name is None or int(name.group(1)) != os.getuid() or path.is_symlink():
            continue
        with contextlib.suppress(OSError):
            removed += _remove_if_stale(path)
    return removed


def _remove_if_stale(path: Path) -> int:
    if path.stat().st_uid != os.getuid():
        return 0
    try:
        lock = os.open(path / "alive", os.O_RDWR)
    except FileNotFoundError:
        if time.time() - path.stat().st_mtime < YOUNG_SECONDS:
            return 0
        shutil.rmtree(path)
        return 1
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
        return 1
    finally:
        os.close(lock)
