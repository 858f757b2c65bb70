"""Segments of task records on disk: one rank appends, anybody reads.

File layout (docs/formats/tasks.md): eight bytes of magic, then for each item its length as four
bytes, big-endian, and its bytes. A batch is handed to the kernel in one piece by a thread of its
own, so that a slow or full file system holds no rank up: a killed process loses what waits in that
thread at most.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from morsr_mpi.base.config import JOURNAL_BACKLOG_BYTES, JOURNAL_SYNC_SECONDS, MAX_RECORD_BYTES
from morsr_mpi.base.errors import InputError, TamperError

MAGIC = b"morsrt\x00\x01"
PREFIX = 4
#: Mode of a segment that its writer, or whoever settled it, has left complete.
COMPLETE = 0o444


class SegmentFile:
    """A segment being written.

    warn: told once, from the thread, when it cannot be written for now.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.path = path
        self._warn = warn
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0
        self._file = -1
        self._size = 0
        self._failed = ""
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="morsr-records", daemon=True)
        self._thread.start()
        self._put(MAGIC)

    def append(self, items: Sequence[bytes]) -> None:
        """Have items written, all or none.

        Raises InputError when what waits has grown beyond `config.JOURNAL_BACKLOG_BYTES`.
        """
        if self._waiting > JOURNAL_BACKLOG_BYTES:
            raise self._error()
        self._put(b"".join(len(item).to_bytes(PREFIX, "big") + item for item in items))

    def finish(self) -> None:
        """Begin to write and sync what waits, without waiting for it; `close` has to follow."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)

    def close(self) -> None:
        """Write and sync what waits, and let go. Raises InputError when that is impossible."""
        self.finish()
        self._thread.join()
        if self._failed:
            raise self._error()

    def _put(self, data: bytes) -> None:
        self._waiting += len(data)
        self._queue.put(data)

    def _error(self) -> InputError:
        return InputError(
            f"{self.path} cannot be written ({self._failed or 'the disk is too slow'}); make room "
            "on the disk, then --resume"
        )

    def _work(self) -> None:
        synced, dirty = time.monotonic(), False
        while True:
            try:
                data = self._queue.get(timeout=JOURNAL_SYNC_SECONDS if dirty else None)
            except queue.Empty:
                data = b""
            if data and not self._write(data):
                return
            dirty = dirty or bool(data)
            if dirty and (data is None or time.monotonic() - synced >= JOURNAL_SYNC_SECONDS):
                with contextlib.suppress(OSError):
                    os.fdatasync(self._file)
                synced, dirty = time.monotonic(), False
            if data is None:
                if self._file >= 0:
                    os.fchmod(self._file, COMPLETE)
                    os.close(self._file)
                return

    def _write(self, data: bytes) -> bool:
        """Write, again and again while the disk refuses; False when that is given up."""
        while True:
            try:
                self._try(data)
            except OSError as exc:
                if not self._failed:
                    self._warn(f"{self.path.name} not written for now: {exc.strerror or exc}")
                self._failed = exc.strerror or str(exc)
                if self._closing:
                    return False
                time.sleep(JOURNAL_SYNC_SECONDS)
                continue
            self._failed = ""
            self._waiting -= len(data)
            return True

    def _try(self, data: bytes) -> None:
        if self._file < 0:
            self.path.parent.mkdir(exist_ok=True)
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise
        self._size += len(data)


def read_items(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (position in the file, bytes) of each item.

    Raises TamperError when it is no segment or ends inside an item, OSError when it cannot be
    read.
    """
    with path.open("rb") as file, _mapped(file) as data:
        if data[: len(MAGIC)] != MAGIC:
            raise TamperError(f"{path} is not a segment of this version (wrong first bytes)")
        at, number, size = len(MAGIC), 0, len(data)
        while at < size:
            length = int.from_bytes(data[at : at + PREFIX], "big")
            begin, end = at + PREFIX, at + PREFIX + length
            if begin <= size and not 0 < length <= MAX_RECORD_BYTES:
                raise TamperError(f"{path}: item {number} claims {length} bytes")
            if end > size or begin > size:
                raise TamperError(f"{path} ends inside item {number}")
            yield begin, data[begin:end]
            at = end
            number += 1


def _mapped(file: BinaryIO) -> contextlib.AbstractContextManager[mmap.mmap | bytes]:
    """The content of a file, mapped; an empty one cannot be."""
    if os.fstat(file.fileno()).st_size == 0:
        return contextlib.nullcontext(b"")
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def read_item_at(file: BinaryIO, position: int) -> bytes:
    """Return the item at a position that `read_items` gave. Raises TamperError."""
    file.seek(position - PREFIX)
    head = file.read(PREFIX)
    length = int.from_bytes(head, "big")
    data = file.read(length) if len(head) == PREFIX and length <= MAX_RECORD_BYTES else b""
    if not data or len(data) < length:
        raise TamperError(f"{file.name} holds no item at byte {position}")
    return data


def settle(path: Path, is_end: Callable[[bytes], bool]) -> int:
    """Put a copy in the place of a segment whose writer is gone; return the bytes cut off.

    One that is complete stays as it is.
    Whatever follows the last item that ends a batch is left out, and a writer that is still alive
    somewhere writes into a file that is not in the directory any more. A file without any such
    item is removed.
    """
    if stat.S_IMODE(path.stat().st_mode) == COMPLETE:
        return 0
    sound = 0
    try:
        for position, data in read_items(path):
            if is_end(data):
                sound = position + len(data)
    except TamperError:
        pass
    size = path.stat().st_size
    if sound == 0:
        path.unlink()
        return size
    copy = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with path.open("rb") as source, copy.open("wb") as target:
        left = sound
        while left and (block := source.read(min(left, 1 << 20))):
            target.write(block)
            left -= len(block)
        target.flush()
        os.fchmod(target.fileno(), COMPLETE)
        os.fsync(target.fileno())
    os.replace(copy, path)
    return size - sound
