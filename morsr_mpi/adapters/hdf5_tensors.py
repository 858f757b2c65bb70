"""HDF5 files as files of tensors: every dataset of numbers, by its path without the first slash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from morsr_mpi.adapters.hdf5_common import dataset, reading
from morsr_mpi.adapters.hdf5_heaps import check_heaps
from morsr_mpi.adapters.tensor_file import (
    DTYPES,
    TensorInfo,
    check_count,
    check_size,
    code_of,
    info_of,
)
from morsr_mpi.base.errors import InputError


class Hdf5File:
    """An open HDF5 file (a `TensorFile`). Links to other files are not followed."""

    def __init__(self, path: Path) -> None:
        """Raises InputError for a damaged file."""
        self.path = path
        self.tensors: dict[str, TensorInfo] = {}
        check_heaps(path)
        with reading(path):
            self._file = h5py.File(path, "r")
            found: list[str] = []
            self._file.visititems(
                lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None
            )
            check_count(len(found), path)
            for name in found:
                item = self._file[name]
                if item.external or item.is_virtual:
                    raise InputError(f"{path}: {name} lies in another file, which is not read")
                if item.dtype.kind in "fiub" and item.shape is not None:
                    info = TensorInfo(code_of(item.dtype, f"{path}: {name}"), item.shape)
                    check_size(info, f"{path}: {name}")
                    self.tensors[name] = info

    def blocks(self, name: str, rows: int) -> Iterator[NDArray[np.generic]]:
        """Yield a tensor in blocks of rows."""
        info = info_of(self, name)
        dtype = np.dtype(DTYPES[info.code])
        with reading(self.path):
            item = dataset(self._file, self.path, name)
            if not info.shape:
                yield np.asarray(item[()], dtype=dtype)
                return
            for first in range(0, info.shape[0], rows):
                yield np.asarray(item[first : first + rows], dtype=dtype)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
