"""Which of our HDF5 files a file is, and the version of HDF5 in use."""

from __future__ import annotations

from pathlib import Path

import h5py

from morsr_mpi.adapters import hdf5_common as common
from morsr_mpi.base.errors import InputError


def kind_of_file(path: common.Pathlike) -> str:
    """Return the attribute filetype of a file of ours, such as "morsr-problem".

    Raises InputError for anything else.
    """
    where = Path(path)
    if not where.exists():
        raise InputError(f"{where} does not exist")
    if not where.is_file() or not h5py.is_hdf5(where):
        raise InputError(f"{where} is not an HDF5 file; a file of morsr is needed")
    with common.open_file(where) as file:
        found = common.read_text(file.attrs.get("filetype"))
    if not found or not found.startswith("morsr-"):
        raise InputError(f"{where} is no file of morsr (attribute filetype: {found or 'missing'})")
    return found


def hdf5_version() -> tuple[str, str]:
    """Return (version of HDF5, version of h5py)."""
    return str(h5py.version.hdf5_version), str(h5py.version.version)
