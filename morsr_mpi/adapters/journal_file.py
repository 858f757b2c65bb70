"""Journals: a file of length-prefixed records, and a list in memory.

File layout (docs/formats/journal.md): eight bytes of magic, then for each record its length
as four bytes, big-endian, and its bytes. The file is written by one rank only, unbuffered
towards the kernel per record, synced to disk at most every `config.JOURNAL_SYNC_SECONDS` and
when it is closed: a killed process loses nothing, a power cut at most that long.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from morsr_mpi.base.config import JOURNAL_SYNC_SECONDS, MAX_RECORD_BYTES
from morsr_mpi.base.errors import InternalError, TamperError

MAGIC = b"morsrj\x00\x01"
_PREFIX = 4


class MemoryJournal:
    """Journal port over a list."""

    def __init__(self) -> None:
        self._records: list[bytes] = []

    def append(self, record: bytes) -> None:
        """Add one record."""
        self._records.append(_checked(record))

    def records(self) -> list[bytes]:
        """All records."""
        return list(self._records)

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class FileJournal:
    """Journal port over a file."""

    def __init__(self, path: Path) -> None:
        """Open for appending; the file is made if absent, else read and checked for form.

        Raises TamperError when it is no journal or ends inside a record (`recover` can cut
        that off), OSError when it cannot be opened.
        """
        self._path = path
        new = not path.exists() or path.stat().st_size == 0
        if not new:
            read_records(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = os.fstat(self._file).st_size
        self._synced = time.monotonic()
        self._dirty = False
        if new:
            self._write(MAGIC)
            self.flush()
            _sync_directory(path.parent)

    def append(self, record: bytes) -> None:
        """Add one record; it is in the kernel's hands when this returns.

        Raises OSError when the file system refuses; then nothing of the record is left.
        """
        self._write(len(_checked(record)).to_bytes(_PREFIX, "big") + record)
        if time.monotonic() - self._synced >= JOURNAL_SYNC_SECONDS:
            self.flush()

    def records(self) -> list[bytes]:
        """All records in the file. Raises TamperError for a torn one."""
        return read_records(self._path)

    def flush(self) -> None:
        """Sync to disk."""
        if self._dirty:
            os.fdatasync(self._file)
            self._dirty = False
        self._synced = time.monotonic()

    def sync(self) -> None:
        """Sync to disk now, from any thread; what is appended meanwhile counts as not synced.

        Raises OSError when the file system refuses, or the file was closed meanwhile.
        """
        os.fdatasync(self._file)

    def close(self) -> None:
        """Sync and close."""
        self.flush()
        os.close(self._file)

    def let_go(self) -> None:
        """Close without syncing: the file is somebody else's now."""
        os.close(self._file)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)
        self._dirty = True


def read_records(path: Path) -> list[bytes]:
    """Return the records of a journal file.

    Raises TamperError when it is no journal or ends inside a record.
    """
    records, sound, size = _scan(path)
    if sound != size:
        raise TamperError(
            f"{path} ends inside record {len(records)}: {size - sound} bytes are left over"
        )
    return records


def recover(path: Path) -> int:
    """Cut off a record that a killed writer left unfinished; return the bytes removed.

    For resuming only: an audit must see the file as it is. Raises TamperError when the file
    is no journal.
    """
    _, sound, size = _scan(path)
    if sound != size:
        with path.open("r+b") as file:
            file.truncate(sound)
            os.fsync(file.fileno())
    return size - sound


def _scan(path: Path) -> tuple[list[bytes], int, int]:
    """Return complete records, the position after the last of them, and the file's size."""
    data = path.read_bytes()
    if data[: len(MAGIC)] != MAGIC:
        raise TamperError(f"{path} is not a journal of this version (wrong first bytes)")
    records: list[bytes] = []
    at = len(MAGIC)
    while at + _PREFIX <= len(data):
        length = int.from_bytes(data[at : at + _PREFIX], "big")
        if not 0 < length <= MAX_RECORD_BYTES:
            raise TamperError(f"{path}: record {len(records)} claims {length} bytes")
        end = at + _PREFIX + length
        if end > len(data):
            break
        records.append(data[at + _PREFIX : end])
        at = end
    return records, at, len(data)


def _checked(record: bytes) -> bytes:
    """The record; InternalError where its length is not storable."""
    if not 0 < len(record) <= MAX_RECORD_BYTES:
        raise InternalError(f"a journal record of {len(record)} bytes cannot be stored")
    return record


def _sync_directory(path: Path) -> None:
    """Make a new name durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
