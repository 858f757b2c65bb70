"""The journal of a job: its chief writes it, every rank remembers the newest records.

Should the chief die, the next one goes on with the file. A disk that is full does not end the
run: records wait in memory and are written when there is room again.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from morsr_mpi.adapters.journal_file import FileJournal, read_records, recover
from morsr_mpi.app.fence import Fence
from morsr_mpi.base.config import JOURNAL_BACKLOG_BYTES, JOURNAL_SYNC_SECONDS, RECENT_RECORDS
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InputError, InternalError
from morsr_mpi.provenance.bodies import Body, Epoch, Pulse, Rollback, Seal, Stop, parse
from morsr_mpi.provenance.chain import Chain, ChainPoint
from morsr_mpi.provenance.records import decode_record
from morsr_mpi.provenance.steps import Step

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM)


class JobJournal:
    """Journal port of every rank. Only a chief has a file; `open` and `resign` change that."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """warn: told once when records cannot be written."""
        self.recent: deque[bytes] = deque(maxlen=RECENT_RECORDS)
        self._warn = warn
        self._file: FileJournal | None = None
        self._fence: Fence | None = None
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._try_at = 0.0
        #: Whether the last attempt to write failed; a backlog alone may be an append under way.
        self._full = False

    def open(self, file: FileJournal, fence: Fence) -> None:
        """Begin to write."""
        self._file, self._fence = file, fence

    def resign(self) -> None:
        """Stop writing without touching the file: somebody else has it now."""
        if self._file is not None:
            self._file.let_go()
        self._file = self._fence = None
        self._backlog.clear()
        self._backlog_bytes = 0
        self._full = False

    def append(self, record: bytes) -> None:
        """Remember a record, and write it as chief. Raises FencedError, InputError."""
        self.recent.append(record)
        if self._file is None:
            return
        assert self._fence is not None
        self._fence.check()
        self._backlog.append(record)
        self._backlog_bytes += len(record)
        if len(self._backlog) == 1 or time.monotonic() >= self._try_at:
            self._write()

    def records(self) -> list[bytes]:
        """All records of the file, or what is remembered without one."""
        return self._file.records() if self._file is not None else list(self.recent)

    def flush(self) -> None:
        """Write what waits and make it durable. Raises InputError when that is impossible."""
        if self._file is None:
            return
        self._write()
        if self._backlog:
            raise InputError(
                "the journal cannot be written to its end; make room on the disk, then --resume"
            )
        self._file.flush()

    def sync(self) -> None:
        """Make everything appended durable; from any thread. Raises OSError, InputError."""
        file = self._file
        if self._full:
            raise InputError("the journal waits for room on the disk")
        if file is not None:
            file.sync()

    def close(self) -> None:
        """Flush and close the file."""
        if self._file is not None:
            self.flush()
            self._file.close()
            self._file = None

    def _write(self) -> None:
        assert self._file is not None
        try:
            while self._backlog:
                self._file.append(self._backlog[0])
                self._backlog_bytes -= len(self._backlog.popleft())
            self._full = False
        except OSError as exc:
            if exc.errno not in _FULL or self._backlog_bytes > JOURNAL_BACKLOG_BYTES:
                raise InputError(
                    f"the journal cannot be written ({exc.strerror or exc}); make room on the "
                    "disk, then --resume"
                ) from exc
            self._full = True
            self._try_at = time.monotonic() + JOURNAL_SYNC_SECONDS
            self._warn(f"journal not written for now: {exc.strerror or exc}")


def take_over(
    path: Path, recent: Iterable[bytes], committed: int
) -> tuple[FileJournal, ChainPoint, Body | None]:
    """Go on with another chief's journal, in a copy of its own; return where it stands.

    recent: records this rank remembers, from which pulses below `committed` that the other did
    not write any more are added. The third value is the last record's body. Raises
    InternalError when records are missing, TamperError for a damaged file.
    """
    copy = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if path.exists():
        recover(path)
        try:
            shutil.copyfile(path, copy)
            os.replace(copy, path)
        finally:
            copy.unlink(missing_ok=True)  # of a disk that is full
    journal = FileJournal(path)
    records = read_records(path)
    if not records:
        return journal, ChainPoint(), None
    point = ChainPoint(len(records), sha256(records[-1]), sha256(records[0]))
    last = _body(records, len(records) - 1)
    chain = Chain(point)
    next_pulse = _next_pulse(records)
    remembered = pulses_of(recent)
    for number in range(next_pulse, committed):
        if number not in remembered:
            raise InternalError(f"the journal ends before pulse {next_pulse}: {number} is missing")
        last = remembered[number]
        journal.append(chain.append(last))
    journal.flush()
    return journal, chain.point, last


def finish_exactly(path: Path, recent: Iterable[bytes]) -> tuple[FileJournal, Body]:
    """Go on with a journal whose records all ranks have agreed on, to its end.

    The search is over; only records that the lost chief did not write any more are added.
    Raises as `take_over`.
    """
    journal, point, last = take_over(path, (), 0)
    assert last is not None
    count, head = point.count, point.head
    for data in recent:
        record = decode_record(data, count)
        if record.index == count:
            if record.previous != head:
                raise InternalError(f"journal record {count} is not linked to the file's last")
            journal.append(data)
            count, head, last = count + 1, record.digest, parse(record)
    journal.flush()
    return journal, last


def ends_in_seal(path: Path) -> bool:
    """Whether a journal is that of a finished run. Raises TamperError for a damaged one."""
    if not path.exists():
        return False
    records = read_records(path)
    return bool(records) and isinstance(_body(records, len(records) - 1), Seal)


def _next_pulse(records: list[bytes]) -> int:
    """Return the number of the pulse that may follow."""
    for position in range(len(records) - 1, -1, -1):
        match _body(records, position):
            case Pulse(pulse=number) | Step(pulse=number):
                return number + 1
            case Rollback(committed=number):
                return number
            case Epoch(committed=number) | Stop(committed=number) | Seal(committed=number):
                return number
    return 0


def _body(records: list[bytes], position: int) -> Body:
    return parse(decode_record(records[position], position))


def pulses_of(records: Iterable[bytes]) -> dict[int, Pulse | Step]:
    """Return the records of pulses or steps among these, by pulse; of several the last."""
    bodies = (parse(decode_record(record, 0)) for record in records)
    return {body.pulse: body for body in bodies if isinstance(body, Pulse | Step)}
