"""safetensors files: read through a memory map, written tensor by tensor.

The `safetensors` package judges the header (its length, overlapping or missing bytes, types); what
it accepts is read here from a map of the file, because its NumPy interface has no bfloat16 and
copies whole tensors. The writer never holds more than one tensor.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from morsr_mpi.adapters.tensor_file import DTYPES, TensorInfo, check_count, check_size, info_of
from morsr_mpi.base.config import MAX_TENSOR_HEADER_BYTES
from morsr_mpi.base.errors import InputError


class SafetensorsFile:
    """An open safetensors file (a `TensorFile`). metadata: its text entries."""

    def __init__(self, path: Path) -> None:
        """Raises InputError for a file that is malformed in any way."""
        self.path = path
        self.tensors: dict[str, TensorInfo] = {}
        self.metadata: dict[str, str] = {}
        self._starts: dict[str, int] = {}
        try:
            with safe_open(path, framework="numpy") as checked:
                names = set(checked.keys())
            with open(path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (SafetensorError, OSError, ValueError, OverflowError, MemoryError) as exc:
            text = " ".join(str(exc).split())[:200]
            raise InputError(f"{path} is no sound safetensors file: {text}") from None
        self._read_header()
        if set(self.tensors) != names:
            raise InputError(
                f"{path} is no sound safetensors file: its header can be read in two ways"
            )

    def _read_header(self) -> None:
        path = self.path
        (size,) = struct.unpack_from("<Q", self._map)
        if size > min(MAX_TENSOR_HEADER_BYTES, len(self._map) - 8):
            raise InputError(f"{path} is no sound safetensors file: a header of {size} bytes")
        try:
            entries = json.loads(self._map[8 : 8 + size], object_pairs_hook=_unique)
            check_count(len(entries), path)
            self.metadata = entries.pop("__metadata__", {})
            for name, entry in entries.items():
                begin, end = entry["data_offsets"]
                info = TensorInfo(str(entry["dtype"]), tuple(int(x) for x in entry["shape"]))
                if info.code not in DTYPES:
                    raise InputError(f"{path}: {name} has the type {info.code}, which is not read")
                check_size(info, f"{path}: {name}")
                if not 0 <= begin <= end <= len(self._map) - 8 - size or end - begin != info.nbytes:
                    raise InputError(f"{path}: the bytes of {name} lie outside the file")
                self.tensors[name] = info
                self._starts[name] = 8 + size + begin
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
            raise InputError(f"{path} is no sound safetensors file: header: {exc}") from None

    def blocks(self, name: str, rows: int) -> Iterator[NDArray[np.generic]]:
        """Yield a tensor in blocks of rows, straight from the map."""
        whole = self.view(name)
        if not whole.shape:
            yield whole
            return
        for first in range(0, whole.shape[0], rows):
            yield whole[first : first + rows]

    def view(self, name: str) -> NDArray[np.generic]:
        """Return a tensor as an array over the map, read-only (bfloat16 as its bits)."""
        info = info_of(self, name)
        flat: NDArray[np.generic] = np.frombuffer(
            self._map, dtype=DTYPES[info.code], count=info.size, offset=self._starts[name]
        )
        return flat.reshape(info.shape)

    def close(self) -> None:
        """Let go of the map, as soon as no array uses it."""
        del self._map


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def write_safetensors(
    path: Path,
    tensors: Mapping[str, TensorInfo],
    data: Iterable[tuple[str, Iterable[NDArray[np.generic]]]],
    metadata: Mapping[str, str],
) -> None:
    """Write a file whole or not at all.

    data: for every tensor, in the order of `tensors`, blocks of its elements in its type. Raises
    InputError where the file system refuses, or the blocks are not what was announced.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, info in tensors.items():
        header[name] = {
            "dtype": info.code,
            "shape": list(info.shape),
            "data_offsets": [at, at + info.nbytes],
        }
        at += info.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    written = 0
    try:
        with open(temporary, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for (name, blocks), expected in zip(data, tensors, strict=True):
                if name != expected:
                    raise InputError(f"{path}: {name} came where {expected} was announced")
                for block in blocks:
                    file.write(np.ascontiguousarray(block, DTYPES[tensors[name].code]).data)
                    written += block.nbytes
            if written != at:
                raise InputError(f"{path}: {written} bytes of data, {at} were announced")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as exc:
        raise InputError(f"cannot write {path}: {exc.strerror or exc}") from None
    finally:
        temporary.unlink(missing_ok=True)
