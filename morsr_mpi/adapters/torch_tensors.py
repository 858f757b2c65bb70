"""PyTorch state dicts (`torch.save` since 1.6), read without PyTorch and without running code.

Such a file is a zip archive: a pickle that says how tensors lie in storages, and the bytes of each
storage. A pickle is a program; ours may call five functions, all defined here, which build views of
storages and nothing else. Whatever else it names is refused by name. No bytes of a storage are
read before a tensor is wanted.
"""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.adapters.tensor_file import DTYPES, TensorInfo, check_count, check_size, info_of
from morsr_mpi.base.config import MAX_PICKLE_BYTES
from morsr_mpi.base.errors import InputError

_STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
_ERRORS = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
    *(MemoryError, OverflowError, UnicodeDecodeError, AssertionError),
)


@dataclass(frozen=True)
class _Storage:
    """Bytes of a member of the archive: its key, type and number of elements."""

    key: str
    code: str
    size: int


@dataclass(frozen=True)
class _View:
    """A tensor: part of a storage, by offset, shape and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Names(dict[Any, Any]):
    """What an OrderedDict becomes: attributes that a pickle sets on it are ignored."""

    def __setstate__(self, state: object) -> None:
        """Ignore the state (`_metadata` of a module)."""


def _rebuild_tensor(
    storage: object, offset: object, shape: object, strides: object, *_: object
) -> _View:
    """Stand in for torch._utils._rebuild_tensor_v2."""
    if not isinstance(storage, _Storage) or type(offset) is not int or offset < 0:
        raise ValueError("a tensor that is part of no storage")
    if not (isinstance(shape, tuple) and isinstance(strides, tuple)):
        raise ValueError("a tensor without a shape")
    sides = (*shape, *strides)
    if len(shape) != len(strides) or any(type(x) is not int or x < 0 for x in sides):
        raise ValueError("a tensor whose shape makes no sense")
    last = offset + sum((a - 1) * b for a, b in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.size:
        raise ValueError("a tensor that goes beyond its storage")
    return _View(storage, offset, shape, strides)


def _rebuild_parameter(data: object, *_: object) -> object:
    """Stand in for torch._utils._rebuild_parameter."""
    return data


def _names() -> _Names:
    """Stand in for collections.OrderedDict."""
    return _Names()


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _names,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): code for name, code in _STORAGES.items()},
}


class _Reader(pickle.Unpickler):
    """Runs a pickle that may name nothing but `_ALLOWED`."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in. Raises InputError for any other name: it could be code."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise InputError(
                f"the pickle names {module}.{name}"[:200] + ", which is not run; save the tensors "
                "alone (state_dict), best as safetensors"
            ) from None

    def persistent_load(self, pid: object) -> _Storage:
        """Return the storage that a pickle refers to."""
        match pid:
            case ("storage", str(code), str(key), str(_), int(size)) if code in DTYPES:
                check_size(TensorInfo(code, (size,)), f"storage {key}")
                return _Storage(key, code, size)
        raise ValueError("a reference that is no storage")


def is_torch(path: Path) -> bool:
    """Whether a zip archive is one of PyTorch's. Raises InputError where it is no archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except _ERRORS as exc:
        raise InputError(f"{path} is a damaged zip archive: {exc}") from None


class TorchFile:
    """An open state dict (a `TensorFile`). numbers: what stands there beside tensors, by name."""

    def __init__(self, path: Path) -> None:
        """Raises InputError for a damaged file and a pickle that names anything but tensors."""
        self.path = path
        self.tensors: dict[str, TensorInfo] = {}
        self.numbers: dict[str, float] = {}
        self._views: dict[str, _View] = {}
        try:
            self._zip = zipfile.ZipFile(path)
            member = next(n for n in self._zip.namelist() if n.endswith("/data.pkl"))
            self._root = member[: -len("data.pkl")]
            if self._zip.getinfo(member).file_size > MAX_PICKLE_BYTES:
                raise ValueError(f"a pickle of more than {MAX_PICKLE_BYTES} bytes")
            order = self._root + "byteorder"
            if order in self._zip.namelist() and self._zip.read(order) != b"little":
                raise ValueError("its bytes are in big-endian order")
            self._take(_Reader(io.BytesIO(self._zip.read(member))).load(), "")
        except InputError as exc:
            raise InputError(f"{path}: {exc}") from None
        except (*_ERRORS, StopIteration) as exc:
            raise self._damaged(exc) from None

    def _damaged(self, exc: BaseException) -> InputError:
        text = " ".join(str(exc).split())[:200]
        return InputError(f"{self.path} is no sound PyTorch file: {text or type(exc).__name__}")

    def _take(self, found: object, prefix: str, depth: int = 0) -> None:
        """Take the tensors of nested dictionaries in, their names joined by dots."""
        if not isinstance(found, Mapping) or depth > 3:
            raise ValueError("it holds no dictionary of tensors")
        check_count(len(self.tensors) + len(found), self.path)
        for key, value in found.items():
            name = f"{prefix}{key}"
            if isinstance(value, _View):
                info = TensorInfo(value.storage.code, value.shape)
                check_size(info, name)
                self.tensors[name], self._views[name] = info, value
            elif isinstance(value, Mapping):
                self._take(value, f"{name}.", depth + 1)
            elif isinstance(value, int | float):
                self.numbers[name] = float(value)

    def blocks(self, name: str, rows: int) -> Iterator[NDArray[np.generic]]:
        """Yield a tensor in blocks of rows."""
        whole = self._whole(name)
        if not whole.shape:
            yield whole
            return
        for first in range(0, whole.shape[0], rows):
            yield np.ascontiguousarray(whole[first : first + rows])

    def _whole(self, name: str) -> NDArray[np.generic]:
        info = info_of(self, name)
        view = self._views[name]
        storage = view.storage
        dtype = np.dtype(DTYPES[storage.code])
        try:
            member = self._zip.getinfo(f"{self._root}data/{storage.key}")
            if member.file_size != storage.size * dtype.itemsize:
                raise ValueError(f"storage {storage.key} has {member.file_size} bytes")
            flat = np.frombuffer(self._zip.read(member), dtype)
        except _ERRORS as exc:
            raise self._damaged(exc) from None
        strides = tuple(step * dtype.itemsize for step in view.strides)
        if not info.size:
            return np.empty(info.shape, dtype)
        return np.lib.stride_tricks.as_strided(
            flat[view.offset :], info.shape, strides, writeable=False
        )

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
