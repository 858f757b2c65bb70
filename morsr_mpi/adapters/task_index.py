"""Index of task records by computation id: derived, outside `ledger/`, believed in nothing.

Sorted arrays in one file that is mapped, not read: first eight bytes of each id, number of the
segment, position of the record there. A look-up is a binary search; what it points to is
compared with the whole id by whoever asks. The head names every segment with its length, so an
index of another state of the directory is made anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.adapters.segment_file import MAGIC as SEGMENT_MAGIC
from morsr_mpi.adapters.segment_file import PREFIX
from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_RECORD_BYTES
from morsr_mpi.base.errors import TamperError
from morsr_mpi.provenance.tasks import RECORD_FRONT

MAGIC = b"morsri\x00\x01"
#: Arrays of the file in their order.
COLUMNS = (("keys", "<u8"), ("segments", "<u4"), ("positions", "<u8"))
_KEY_BYTES = 8
_ALIGN = 64


class TaskIndex:
    """Where the records of a computation are."""

    def __init__(
        self, paths: Sequence[Path], columns: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
    ) -> None:
        self._paths = list(paths)
        self._keys, self._segments, self._positions = columns

    def __len__(self) -> int:
        return int(self._keys.size)

    def find(self, computation: bytes) -> Iterator[tuple[Path, int]]:
        """Yield segment and position of each record that may be of this computation.

        computation: its id, or at least the first eight bytes of it.
        """
        key = np.uint64(int.from_bytes(computation[:_KEY_BYTES], "big"))
        at = int(np.searchsorted(self._keys, key))
        while at < len(self) and self._keys[at] == key:
            yield self._paths[int(self._segments[at])], int(self._positions[at])
            at += 1


def open_index(path: Path, segments: Sequence[Path]) -> TaskIndex:
    """Return the index of segments; made, and kept at `path` where that is possible.

    Raises TamperError for a segment that is none, OSError for one that cannot be read.
    """
    state = encode(tuple((part.name, part.stat().st_size) for part in segments))
    known = _load(path, state)
    if known is None:
        known = _build(segments)
        with contextlib.suppress(OSError):
            _save(path, state, known)
    return TaskIndex(segments, known)


Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def _build(segments: Sequence[Path]) -> Columns:
    keys, numbers, positions = [], [], []
    for number, path in enumerate(segments):
        own_keys, own_positions = _scan(path)
        keys.append(np.frombuffer(own_keys, dtype=">u8").astype("<u8"))
        positions.append(np.array(own_positions, dtype="<u8"))
        numbers.append(np.full(len(own_positions), number, dtype="<u4"))
    if not keys:
        return np.empty(0, "<u8"), np.empty(0, "<u4"), np.empty(0, "<u8")
    joined = np.concatenate(keys)
    order = np.argsort(joined, kind="stable")
    return joined[order], np.concatenate(numbers)[order], np.concatenate(positions)[order]


def _scan(path: Path) -> tuple[bytearray, list[int]]:
    """Return first bytes of the ids, and positions, of the records of a segment."""
    size = path.stat().st_size
    keys, positions = bytearray(), []
    if size < len(SEGMENT_MAGIC):
        raise TamperError(f"{path} is not a segment of this version (wrong first bytes)")
    data = np.memmap(path, dtype=np.uint8, mode="r")
    view = memoryview(data)  # type: ignore[arg-type]
    if bytes(view[: len(SEGMENT_MAGIC)]) != SEGMENT_MAGIC:
        raise TamperError(f"{path} is not a segment of this version (wrong first bytes)")
    at, front = len(SEGMENT_MAGIC), len(RECORD_FRONT)
    while at < size:
        length = int.from_bytes(view[at : at + PREFIX], "big")
        at += PREFIX
        if not 0 < length <= MAX_RECORD_BYTES or at + length > size:
            raise TamperError(f"{path} ends inside an item, at byte {at}")
        if view[at : at + front] == RECORD_FRONT:
            keys += view[at + front : at + front + _KEY_BYTES]
            positions.append(at)
        at += length
    return keys, positions


def _save(path: Path, state: bytes, columns: Columns) -> None:
    path.parent.mkdir(exist_ok=True)
    head = encode((1, columns[0].size, state))
    start = MAGIC + len(head).to_bytes(4, "big") + head
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with draft.open("wb") as file:
        file.write(start.ljust(-(-len(start) // _ALIGN) * _ALIGN, b"\0"))
        for column in columns:
            data = column.tobytes()
            file.write(data.ljust(-(-len(data) // _ALIGN) * _ALIGN, b"\0"))
    os.replace(draft, path)


def _load(path: Path, state: bytes) -> Columns | None:
    """Return the columns of an index that is there and of this state of the segments."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return None
            length = int.from_bytes(file.read(4), "big")
            if length > 1 << 26:
                return None
            match decode(file.read(length)):
                case (1, int(count), bytes(known)) if known == state and count >= 0:
                    pass
                case _:
                    return None
        at = -(-(len(MAGIC) + 4 + length) // _ALIGN) * _ALIGN
        columns: list[NDArray[Any]] = []
        for _, kind in COLUMNS:
            if count:
                columns.append(np.memmap(path, dtype=kind, mode="r", offset=at, shape=(count,)))
            else:
                columns.append(np.empty(0, kind))
            size = count * np.dtype(kind).itemsize
            at += -(-size // _ALIGN) * _ALIGN
    except (OSError, CanonicalError, ValueError):
        return None
    return columns[0], columns[1], columns[2]
