"""NumPy archives (.npz) as files of tensors, read as streams without unpacking them first."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from morsr_mpi.adapters.tensor_file import (
    DTYPES,
    TensorInfo,
    check_count,
    check_size,
    code_of,
    info_of,
)
from morsr_mpi.base.errors import InputError

_ERRORS = (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)
#: What the text of an array's header may be long; a few dozen characters are usual.
_MAX_HEADER = 10_000


class NpzFile:
    """An open archive (a `TensorFile`)."""

    def __init__(self, path: Path) -> None:
        """Raises InputError for what is no archive of plain arrays."""
        self.path = path
        self.tensors: dict[str, TensorInfo] = {}
        self._columns: dict[str, bool] = {}  # whether in column-major order
        self._swapped: dict[str, bool] = {}
        try:
            self._zip = zipfile.ZipFile(path)
            members = [m for m in self._zip.infolist() if m.filename.endswith(".npy")]
            check_count(len(members), path)
            for member in members:
                self._add(member)
        except _ERRORS as exc:
            raise self._damaged(exc) from None
        except (RuntimeError, MemoryError, SyntaxError) as exc:
            raise self._damaged(exc) from None

    def _damaged(self, exc: BaseException) -> InputError:
        text = " ".join(str(exc).split())[:200]
        return InputError(f"{self.path} is no sound npz archive: {text or type(exc).__name__}")

    def _add(self, member: zipfile.ZipInfo) -> None:
        name = member.filename[: -len(".npy")]
        with self._zip.open(member) as stream:
            shape, by_columns, dtype = _header(stream)
            start = stream.tell()
        what = f"{self.path}: {name}"
        if dtype.hasobject:
            raise InputError(f"{what} holds Python objects, which are not read")
        info = TensorInfo(code_of(dtype, what), shape)
        check_size(info, what)
        if member.file_size != start + info.nbytes:
            raise InputError(f"{what} has {member.file_size - start} bytes for {list(shape)}")
        self.tensors[name] = info
        self._columns[name] = by_columns
        self._swapped[name] = dtype.byteorder == ">"

    def blocks(self, name: str, rows: int) -> Iterator[NDArray[np.generic]]:
        """Yield a tensor in blocks of rows; one in column-major order is read whole first."""
        info = info_of(self, name)
        dtype = np.dtype(DTYPES[info.code])
        stored = dtype.newbyteorder(">") if self._swapped[name] else dtype
        length = info.shape[0] if info.shape else 1
        rest = info.shape[1:]
        width = max(1, info.size // max(1, length)) * dtype.itemsize if info.size else 0
        try:
            with self._zip.open(f"{name}.npy") as stream:
                _header(stream)
                if self._columns[name] or not info.shape:
                    data = _exactly(stream, info.nbytes)
                    order = np.frombuffer(data, stored).reshape(info.shape[::-1]).T
                    for first in range(0, length, rows):
                        yield (order[first : first + rows] if info.shape else order).astype(dtype)
                    return
                for first in range(0, length, rows):
                    count = min(rows, length - first)
                    block = np.frombuffer(_exactly(stream, count * width), stored)
                    yield block.reshape(count, *rest).astype(dtype, copy=False)
        except (*_ERRORS, RuntimeError, MemoryError) as exc:
            raise self._damaged(exc) from None

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Read the header of an array: shape, whether column-major, type."""
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream, max_header_size=_MAX_HEADER)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream, max_header_size=_MAX_HEADER)
    raise ValueError(f"array format {version}")


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise ValueError("it is truncated")
    return data
