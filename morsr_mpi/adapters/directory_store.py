"""Store in a directory of this node: one file per item, bounded, safe to kill at any time."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from morsr_mpi.base.digest import sha256
from morsr_mpi.storage.store import check_address, sound

#: Default bound of the directory.
DIRECTORY_STORE_BYTES = 1 << 30


class DirectoryStore:
    """Store port over files `ab/cdef…`; damaged files are dropped when they are read."""

    def __init__(self, path: Path, max_bytes: int = DIRECTORY_STORE_BYTES) -> None:
        """Open the directory, made if absent. max_bytes: bound on the sum of lengths."""
        self._path = path
        self._max_bytes = max_bytes
        path.mkdir(parents=True, exist_ok=True)
        found = []
        for folder in path.iterdir():
            if folder.is_dir() and len(folder.name) == 2:
                for file in folder.iterdir():
                    address = _address_of(file)
                    if address is None:  # a writer was killed here
                        file.unlink(missing_ok=True)
                    else:
                        status = file.stat()
                        found.append((status.st_mtime_ns, address, status.st_size))
        self._sizes = {address: size for _, address, size in sorted(found)}
        self._bytes = sum(self._sizes.values())
        self._make_room()

    def put(self, data: bytes) -> bytes:
        """Keep the bytes, dropping the oldest to make room; return their address."""
        address = sha256(data)
        if address in self._sizes or len(data) > self._max_bytes:
            return address
        file = self._file(address)
        file.parent.mkdir(exist_ok=True)
        temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(file)
        self._sizes[address] = len(data)
        self._bytes += len(data)
        self._make_room()
        return address

    def get(self, address: bytes) -> bytes | None:
        """Return the bytes, or None when absent or damaged (the damaged file is removed)."""
        if check_address(address) not in self._sizes:
            return None
        try:
            data = self._file(address).read_bytes()
        except OSError:
            data = b""
        if sound(address, data):
            self._sizes[address] = self._sizes.pop(address)
            return data
        self._drop(address)
        return None

    def __contains__(self, address: object) -> bool:
        return address in self._sizes

    @property
    def stored_bytes(self) -> int:
        """Bytes held, never more than the bound."""
        return self._bytes

    def _file(self, address: bytes) -> Path:
        name = address.hex()
        return self._path / name[:2] / name[2:]

    def _drop(self, address: bytes) -> None:
        self._bytes -= self._sizes.pop(address)
        with contextlib.suppress(OSError):
            self._file(address).unlink(missing_ok=True)

    def _make_room(self) -> None:
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._sizes)))


def _address_of(file: Path) -> bytes | None:
    """The address a file's name stands for; None for anything else."""
    try:
        address = bytes.fromhex(file.parent.name + file.name)
    except ValueError:
        return None
    return address if len(address) == 32 else None
