"""Small files that others read while they are written again: whole, or as they were."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Put a whole file in the place of another; sync: on the disk too. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if sync:
        write_synced(draft, data)
    else:
        draft.write_bytes(data)
    os.replace(draft, path)


def write_synced(path: Path, data: bytes) -> None:
    """Write bytes and force them to the disk. Raises OSError."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
