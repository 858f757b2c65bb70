"""What all HDF5 files of ours share: type and version, safe writing, errors of one line.

Reading trusts nothing: the type and the version are looked at first, shapes are checked
against limits before memory is asked for, and whatever h5py raises on a damaged file
becomes an InputError. Writing never touches an existing file until its successor is
complete: temporary file in the same directory, fsync, reopen and compare, rename, fsync
of the directory (a killed writer can leave an HDF5 file that nothing can rescue).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from morsr_mpi.adapters.hdf5_heaps import check_heaps
from morsr_mpi.base.config import BLOCK_BYTES
from morsr_mpi.base.errors import InputError
from morsr_mpi.base.version import __version__

#: Readable by HDF5 1.10 and newer, stock h5dump included ('latest' would not be), and with
#: checksums over all metadata, which 'earliest' lacks (docs/decisions/0003-formats.md).
LIBVER = ("v110", "v110")
#: Small datasets lie in the checksummed object header, which cannot hold more than 64 KiB.
_COMPACT_BYTES = 32768
#: What h5py raises on damaged, foreign or locked files.
_HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)

Pathlike = str | os.PathLike[str]


def one_line(exc: BaseException, limit: int = 160) -> str:
    """Return the text of an exception on one line of bounded length."""
    if isinstance(exc, OSError) and exc.strerror and exc.errno:
        text = exc.strerror
    else:
        text = str(exc.args[0]) if exc.args else type(exc).__name__
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _explain(path: Path, exc: BaseException) -> InputError:
    """Return the InputError for what h5py raised while reading a file."""
    text = str(exc)
    if "truncated file" in text:
        size = path.stat().st_size if path.exists() else 0
        return InputError(f"{path} is truncated ({size} bytes are there); copy or write it again")
    if "unable to lock file" in text.lower() or getattr(exc, "errno", None) == errno.EAGAIN:
        return InputError(
            f"{path} cannot be locked; if no other program writes it, set "
            "HDF5_USE_FILE_LOCKING=FALSE in the environment (shared file systems may need it)"
        )
    if isinstance(exc, MemoryError):
        return InputError(f"{path} does not fit into memory: {one_line(exc)}")
    return InputError(
        f"{path} cannot be read ({one_line(exc)}); it is damaged: copy or write it again"
    )


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever h5py raises inside into an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except _HDF5_ERRORS as exc:
        raise _explain(path, exc) from exc


def _check_is_hdf5(path: Path, filetype: str) -> None:
    """Raise InputError when the path is no readable HDF5 file, before h5py opens it."""
    if path.is_dir():
        raise InputError(f"{path} is a directory, not a {filetype} file")
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as exc:
        raise InputError(f"{path} cannot be opened: {one_line(exc)}") from exc
    if not head:
        raise InputError(f"{path} is empty; write it again")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is not an HDF5 file; a {filetype} file is needed")


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading, and look at its string heaps before a text is read from them.

    All errors, those of the body too, become InputError.
    """
    with reading(path), h5py.File(path, "r") as file:
        check_heaps(path)
        yield file


@contextlib.contextmanager
def open_checked(path: Pathlike, filetype: str, version: tuple[int, int]) -> Iterator[h5py.File]:
    """Open a file for reading after a check of `filetype` and `version`.

    A newer minor version only adds what may be ignored and is accepted; a newer major
    version is refused. All errors, those of the body too, become InputError.
    """
    where = Path(path)
    _check_is_hdf5(where, filetype)
    with open_file(where) as file:
        check_type(file, where, filetype, version)
        yield file


def check_type(file: h5py.File, path: Path, filetype: str, version: tuple[int, int]) -> None:
    """Raise InputError unless the root attributes name this file type in a known version."""
    found = read_text(file.attrs.get("filetype"))
    if found != filetype:
        what = f"a {found} file" if found else "no file of morsr (attribute filetype is missing)"
        raise InputError(f"{path} is {what}; a {filetype} file is needed")
    raw = np.asarray(file.attrs.get("version", ()))
    if raw.shape != (2,) or raw.dtype.kind not in "iu":
        raise InputError(f"{path} has no attribute version of two integers; write it again")
    major, minor = (int(x) for x in raw)
    if major > version[0]:
        raise InputError(
            f"{path} has format version {major}.{minor}; morsr {__version__} reads {filetype} "
            f"up to {version[0]}.x: use a newer morsr"
        )
    if major < 1 or minor < 0:
        raise InputError(f"{path} has the impossible format version {major}.{minor}")


def read_text(value: object) -> str | None:
    """Return an attribute or scalar as text, whether it was stored as str or bytes."""
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value[()]
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value) if isinstance(value, str) else None


def dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    """Return a dataset that is there and was written; raise InputError otherwise."""
    try:
        found = file[name]
    except KeyError as exc:
        if "doesn't exist" not in str(exc) and "not found" not in str(exc):
            raise  # the link is there, what it leads to is damaged
        found = None
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{path} has no dataset {name}; see docs/formats for what it must hold")
    if found.shape is None:
        raise InputError(f"{path}: dataset {name} is empty")
    if found.size and not _is_written(found):
        raise InputError(f"{path}: dataset {name} was never written completely; write it again")
    return found


def _is_written(found: h5py.Dataset) -> bool:
    """Return False when storage is missing, which HDF5 would silently read as zeros."""
    if found.chunks is None:
        return bool(found.id.get_storage_size() > 0)
    expected = 1
    for length, chunk in zip(found.shape, found.chunks, strict=True):
        expected *= -(-length // chunk)
    return bool(found.id.get_num_chunks() == expected)


def read_array(
    file: h5py.File, path: Path, name: str, dtype: Any, limits: tuple[int, ...]
) -> NDArray[Any]:
    """Return a dataset as a fresh C-contiguous array of `dtype`, read without a second copy.

    limits: largest length of each dimension (their number is checked too). Raises
    InputError for a missing dataset, another shape, or a type that would lose values.
    """
    found = dataset(file, path, name)
    shape = tuple(int(x) for x in found.shape)
    if len(shape) != len(limits) or any(a > b for a, b in zip(shape, limits, strict=False)):
        raise InputError(
            f"{path}: dataset {name} has shape {shape}; {len(limits)} dimensions of at most "
            f"{limits} are allowed"
        )
    if found.dtype.kind not in "fiu" or not np.can_cast(found.dtype, dtype, "safe"):
        raise InputError(
            f"{path}: dataset {name} holds {found.dtype}, {np.dtype(dtype).name} is needed"
        )
    out: NDArray[Any] = np.empty(shape, dtype=dtype)
    if out.size:
        found.read_direct(out)
    return out


def write_array(group: h5py.Group, name: str, array: NDArray[Any], stored: str) -> None:
    """Write an array with fixed chunks and filters that every HDF5 has; no time stamps.

    stored: little-endian type on disk. Chunks are whole rows of about BLOCK_BYTES, so
    the bytes of the dataset follow from its contents alone.
    """
    if not array.size:  # nothing to chunk
        write_small(group, name, array.astype(stored))
        return
    row = max(1, int(np.prod(array.shape[1:], dtype=np.int64)) * np.dtype(stored).itemsize)
    rows = min(array.shape[0], max(1, BLOCK_BYTES // row))
    group.create_dataset(
        name,
        data=array,
        dtype=np.dtype(stored),
        chunks=(rows, *array.shape[1:]),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
        fletcher32=True,
        track_times=False,
    )


def same_arrays(file: h5py.File, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise InputError unless the datasets hold these bits; compares block by block."""
    for name, array in arrays.items():
        found = dataset(file, path, name)
        rows = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
        equal = found.shape == array.shape and all(
            np.array_equal(found[i : i + rows], array[i : i + rows])
            for i in range(0, array.shape[0], rows)
        )
        if not equal:
            raise InputError(f"{path}: dataset {name} did not read back as written; check the disk")


def write_header(file: h5py.File, filetype: str, version: tuple[int, int]) -> None:
    """Write the root attributes every file of ours starts with."""
    write_text(file, "filetype", filetype)
    file.attrs["version"] = np.array(version, dtype="<i4")
    write_text(file, "software_version", __version__)


def write_text(file: h5py.File, name: str, text: str) -> None:
    """Write a root attribute that h5py reads back as str."""
    file.attrs[name] = text


def fixed_text(items: Sequence[str]) -> NDArray[np.bytes_]:
    """Return texts as fixed-length UTF-8 bytes, padded with zeros to the longest of them.

    Used for datasets: such text lies in the checksummed object header, not in a heap.
    """
    coded = [x.replace("\0", "").encode("utf-8", errors="replace") for x in items]
    length = max([1, *(len(x) for x in coded)])
    return np.array(coded, dtype=h5py.string_dtype("utf-8", length))


def write_small(group: h5py.Group, name: str, data: NDArray[Any]) -> None:
    """Write a scalar or a short array; inside the object header when it is small enough."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    if data.nbytes <= _COMPACT_BYTES:
        properties.set_layout(h5py.h5d.COMPACT)
    kind = h5py.h5t.py_create(data.dtype, logical=True)
    space = h5py.h5s.create_simple(data.shape) if data.ndim else h5py.h5s.create(h5py.h5s.SCALAR)
    made = h5py.h5d.create(group.id, name.encode("utf-8"), kind, space, properties)
    if data.size:
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(data).reshape(data.shape))


def write_atomically(
    path: Pathlike,
    fill: Callable[[h5py.File], None],
    verify: Callable[[Path], None],
    *,
    streamed: bool = False,
) -> None:
    """Write an HDF5 file so that at every moment the old or the new one is complete.

    fill writes into the open file; verify is called with the path of the finished
    temporary file and raises InputError when it does not read back. Raises InputError
    when the file system refuses. The file is composed in memory and written in one piece,
    because the library can crash when a file system fills up under it; streamed: files too
    large for that, which no run writes.
    """
    where = Path(path)
    temporary = where.with_name(f".{where.name}.{os.getpid()}.tmp")
    memory = {} if streamed else {"driver": "core", "backing_store": False}
    try:
        with h5py.File(temporary, "w", libver=LIBVER, track_order=False, **memory) as file:
            fill(file)
            file.flush()
            image = b"" if streamed else file.id.get_file_image()
        if not streamed:
            temporary.write_bytes(image)
        _fsync(temporary)
        verify(temporary)
        os.replace(temporary, where)
        _fsync(where.parent)
    except InputError:
        raise
    except (OSError, RuntimeError) as exc:
        raise InputError(f"cannot write {where}: {_why_not_written(where, exc)}") from exc
    finally:
        temporary.unlink(missing_ok=True)


def _why_not_written(path: Path, exc: BaseException) -> str:
    """Return the reason a file cannot be written, as briefly as the cause allows."""
    if not path.parent.is_dir():
        return f"the directory {path.parent} does not exist"
    code = getattr(exc, "errno", None)
    return os.strerror(code) if code else one_line(exc)


def _fsync(path: Path) -> None:
    """Force a file or directory to the disk; directories some file systems cannot sync."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as exc:
        if not path.is_dir() or exc.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
