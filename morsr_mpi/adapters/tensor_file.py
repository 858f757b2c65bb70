"""Files that hold named tensors, whatever their format, and how they are opened.

`open_tensors` looks at the first bytes: safetensors, npz, HDF5, or a PyTorch state dict. What is
announced in a header is checked against limits and the length of the file before memory is asked
for. Tensors are read when they are wanted, one at a time, in blocks where they are long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.config import MAX_TENSOR_BYTES, MAX_TENSORS
from morsr_mpi.base.errors import InputError

#: Code of a type in safetensors -> the type of its little-endian bytes; bfloat16 has none in
#: NumPy: its bits are the upper half of a float32.
DTYPES: dict[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
#: Codes of the types that weights, Hessians and activations may have.
FLOATS = ("F64", "F32", "F16", "BF16")
_CODES = {np.dtype(text).str.lstrip("<|="): code for code, text in DTYPES.items() if code != "BF16"}


@dataclass(frozen=True)
class TensorInfo:
    """What a header says of a tensor. code: its type, one of `DTYPES`."""

    code: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for side in self.shape:
            size *= side
        return size

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * np.dtype(DTYPES[self.code]).itemsize


class TensorFile(Protocol):
    """An open file of named tensors. All methods raise InputError for damaged data."""

    path: Path

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Every tensor by name, in the order of the file."""

    def blocks(self, name: str, rows: int) -> Iterator[NDArray[np.generic]]:
        """Yield a tensor in blocks of so many rows along its first axis, in its stored type
        (bfloat16 as its bits)."""

    def close(self) -> None:
        """Let go of the file."""


def code_of(dtype: np.dtype[np.generic], what: str) -> str:
    """Return the code of a NumPy type. Raises InputError for one that tensors do not have."""
    code = _CODES.get(dtype.newbyteorder("=").str.lstrip("<>|="))
    if code is None:
        raise InputError(f"{what} has the type {dtype}, which no tensor may have")
    return code


def check_size(info: TensorInfo, what: str) -> None:
    """Raise InputError for a tensor beyond the limit."""
    if any(side < 0 for side in info.shape) or info.nbytes > MAX_TENSOR_BYTES:
        raise InputError(f"{what} has the shape {list(info.shape)}, more than any tensor may have")


def check_count(count: int, path: Path) -> None:
    """Raise InputError for more tensors than one file may have."""
    if count > MAX_TENSORS:
        raise InputError(f"{path} names {count} tensors; {MAX_TENSORS} is the limit")


def info_of(file: TensorFile, name: str) -> TensorInfo:
    """Return what is known of a tensor. Raises InputError where there is none of that name."""
    try:
        return file.tensors[name]
    except KeyError:
        raise InputError(f"{file.path} holds no tensor {name!r}") from None


def floats(array: NDArray[np.generic], code: str) -> NDArray[np.float64]:
    """Return elements as float64, exactly; array: as `TensorFile.blocks` yields it."""
    if code == "BF16":
        wide = array.astype("<u4") << np.uint32(16)
        return np.asarray(wide.view("<f4"), dtype=np.float64)
    return np.asarray(array, dtype=np.float64)


def float_blocks(file: TensorFile, name: str, rows: int) -> Iterator[NDArray[np.float64]]:
    """Yield a tensor of floats in blocks of rows, as float64.

    Raises InputError for another type, and for what is not finite.
    """
    info = info_of(file, name)
    if info.code not in FLOATS:
        raise InputError(f"{file.path}: {name} holds {info.code}, not floating-point numbers")
    first = 0
    for block in file.blocks(name, rows):
        found = floats(block, info.code)
        if not np.isfinite(found).all():
            at = [int(x) for x in np.argwhere(~np.isfinite(found))[0]]
            at[0] += first
            raise InputError(
                f"{file.path}: {name}{at} is not finite (indices from 0); every number must be"
            )
        first += len(found)
        yield found


def read_floats(file: TensorFile, name: str) -> NDArray[np.float64]:
    """Return a whole tensor of floats as float64 in row-major order. Raises InputError."""
    info = info_of(file, name)
    out = np.empty(info.shape, dtype=np.float64)
    row = max(1, info.size // max(1, info.shape[0] if info.shape else 1))
    first = 0
    for block in float_blocks(file, name, max(1, (1 << 20) // row)):
        out[first : first + len(block)] = block
        first += len(block)
    return out


def open_tensors(path: Path) -> TensorFile:
    """Open a file of tensors by its content. Raises InputError, one line, where it is none."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except IsADirectoryError:
        raise InputError(f"{path} is a directory, not a file of tensors") from None
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as exc:
        raise InputError(f"{path} cannot be opened: {exc.strerror or exc}") from None
    if not head:
        raise InputError(f"{path} is empty; write it again")
    if head[:4] == b"PK\x03\x04":
        from morsr_mpi.adapters import npz_tensors, torch_tensors

        if torch_tensors.is_torch(path):
            return torch_tensors.TorchFile(path)
        return npz_tensors.NpzFile(path)
    if head == b"\x89HDF\r\n\x1a\n":
        from morsr_mpi.adapters.hdf5_tensors import Hdf5File

        return Hdf5File(path)
    if head[:2] == b"\x80\x02":
        raise InputError(
            f"{path} is a pickle or a PyTorch file of before version 1.6, which is not read; "
            "load it with PyTorch and save it again, best as safetensors"
        )
    from morsr_mpi.adapters.safetensors_file import SafetensorsFile

    return SafetensorsFile(path)
