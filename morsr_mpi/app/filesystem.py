"""What kind of file system a directory is on, and what can go wrong there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

#: Shared between hosts: fine for run directories, with care for locks and for LMDB.
SHARED = frozenset({"nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb3", "glusterfs"})
#: Gone after a reboot.
VOLATILE = frozenset({"tmpfs", "ramfs"})


def existing_parent(path: Path) -> Path:
    """Return the path or its nearest ancestor that exists."""
    here = path.absolute()
    while not here.exists() and here != here.parent:
        here = here.parent
    return here


def file_system_type(path: Path, mounts: str | None = None) -> str:
    """Return the type of the file system a path is on, "" when that is not known.

    mounts: text in the form of /proc/self/mounts (default: that file).
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text()
        except OSError:
            return ""
    where = str(existing_parent(path).resolve())
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        # Blanks in mount points are written as \\040.
        point = fields[1].replace("\\040", " ")
        inside = where == point or where.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def locking_works(directory: Path) -> str:
    """Try a file lock as HDF5 takes it; return "" when it works, else why not."""
    try:
        with tempfile.NamedTemporaryFile(dir=existing_parent(directory)) as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        return exc.strerror or str(exc)
    return ""


def free_bytes(path: Path) -> int | None:
    """Return the bytes an ordinary user may still write there, None when that is not known."""
    with contextlib.suppress(OSError):
        status = os.statvfs(existing_parent(path))
        return status.f_bavail * status.f_frsize
    return None
