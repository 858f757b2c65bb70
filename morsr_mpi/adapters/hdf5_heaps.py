"""A look at the string heaps of an HDF5 file before the HDF5 library trusts them.

The library follows the object sizes in a global heap collection (which holds the text
attributes h5py writes) without a checksum and without bounds: one wrong byte there makes
it crash or run forever, where the user should get one line. The layout is that of the HDF5
file format specification, section III.E.
"""

from __future__ import annotations

from pathlib import Path
from struct import Struct

from morsr_mpi.base.errors import InputError

#: Text attributes are written first; heaps behind this many bytes are left to the library.
SCAN_BYTES = 1 << 20

_SIGNATURE = b"GCOL\x01\x00\x00\x00"
_COLLECTION = Struct("<8sQ")
_OBJECT = Struct("<HHIQ")


def check_heaps(path: Path) -> None:
    """Raise InputError when a heap collection near the start of the file is damaged."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            data = file.read(SCAN_BYTES)
    except OSError as exc:
        raise InputError(f"{path} cannot be opened: {exc.strerror}") from exc
    at = data.find(_SIGNATURE)
    while at >= 0:
        if at % 8 == 0 and not _is_sound(data, at, size):
            raise InputError(
                f"{path} is damaged (its texts cannot be read): copy or write it again"
            )
        at = data.find(_SIGNATURE, at + 1)


def _is_sound(data: bytes, at: int, size: int) -> bool:
    """Return whether the objects of the collection at `at` fill it exactly."""
    if at + _COLLECTION.size > len(data):
        return True
    length: int = _COLLECTION.unpack_from(data, at)[1]
    end = at + length
    if length < 4096 or length % 8 or end > size:
        return False
    pos: int = at + _COLLECTION.size
    seen: set[int] = set()
    while end - pos >= _OBJECT.size:
        if pos + _OBJECT.size > len(data):
            return True
        index, _, _, held = _OBJECT.unpack_from(data, pos)
        if index == 0:  # the free space is the last object and counts its own head
            return bool(held == end - pos)
        if index in seen or held > end - pos - _OBJECT.size:
            return False
        seen.add(index)
        pos += _OBJECT.size + (held + 7) // 8 * 8
    return pos <= end
