"""Arrays in a file that the ranks of a node map read-only: one copy in memory for all.

File: "morsrshm", version (uint32), length of the head (uint32), the head in canonical bytes, then
the arrays, each at a multiple of 4096 bytes.  Head: (tree, ((dtype, shape, offset, digests), …)),
with one SHA-256 for every megabyte of an array.  Lives as long as a run; no format for people.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import BLOCK_BYTES
from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.base.errors import InternalError

MAGIC = b"morsrshm" + struct.pack(">I", 1)
PAGE = 4096
#: Kinds of numbers that may be shared.
DTYPES = ("<f8", "<f4", "<i8", "<i4", "|u1", "|i1")

Array = NDArray[np.generic]


def write_shared(path: Path, tree: object, arrays: list[Array]) -> bytes:
    """Write a file and return the SHA-256 of its head, which covers everything in it.

    Raises OSError when there is no room for it; then nothing is left.
    """
    entries, offset = [], 0
    for array in arrays:
        kind = array.dtype.str
        if kind not in DTYPES or not array.flags.c_contiguous:
            raise InternalError(f"cannot share an array of {array.dtype}")
        digests = b"".join(_sha256(block) for block in _blocks(array))
        entries.append((kind, tuple(int(side) for side in array.shape), offset, digests))
        offset += -(-array.nbytes // PAGE) * PAGE
    head = encode((tree, tuple(entries)))
    start = _start(len(head))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # All of it at once: a full tmpfs would otherwise be a bus error later.
        os.posix_fallocate(descriptor, 0, max(1, start + offset))
        _write_at(descriptor, MAGIC + struct.pack(">I", len(head)) + head, 0)
        for array, entry in zip(arrays, entries, strict=True):
            at = start + entry[2]
            for block in _blocks(array):
                _write_at(descriptor, block, at)
                at += len(block)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)
    return sha256(head)


@dataclass
class SharedArrays:
    """A mapped file: arrays are read-only; their digests can be checked again at any time."""

    tree: object
    arrays: list[Array]
    nbytes: int
    _digests: list[bytes]

    def check(self) -> Iterator[None]:
        """Compare all blocks with their digests, one megabyte per step.

        Raises InternalError when memory that nobody may write has changed.
        """
        for index, (array, digests) in enumerate(zip(self.arrays, self._digests, strict=True)):
            for i, block in enumerate(_blocks(array)):
                if _sha256(block) != digests[DIGEST_BYTES * i : DIGEST_BYTES * (i + 1)]:
                    raise InternalError(
                        f"the memory that the ranks of this node share has changed (array {index}, "
                        f"block {i}): a hardware error or another process; start again elsewhere"
                    )
                yield


def map_shared(path: Path, digest: bytes) -> SharedArrays:
    """Map a file that has this digest, and check all of it.

    Raises OSError when it cannot be mapped, InternalError when it is not what was written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        whole = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    fixed = len(MAGIC) + 4
    size = struct.unpack_from(">I", whole, len(MAGIC))[0] if len(whole) >= fixed else 0
    head = whole[fixed : fixed + size]
    if whole[: len(MAGIC)] != MAGIC or sha256(head) != digest:
        raise InternalError(f"{path} is not what the other rank of this node has written")
    try:
        found = decode(head)
    except CanonicalError as exc:
        raise InternalError(f"{path}: {exc}") from None
    start = _start(size)
    arrays: list[Array] = []
    all_digests: list[bytes] = []
    match found:
        case (tree, tuple(entries)):
            for entry in entries:
                match entry:
                    case (str(kind), tuple(shape), int(offset), bytes(digests)):
                        count = int(np.prod([int(side) for side in shape], dtype=np.int64))
                        flat = np.frombuffer(whole, kind, count, start + offset)
                        arrays.append(flat.reshape(shape))
                        all_digests.append(digests)
                    case _:
                        raise InternalError(f"{path}: malformed entry")
        case _:
            raise InternalError(f"{path}: malformed head")
    shared = SharedArrays(tree, arrays, len(whole), all_digests)
    for _ in shared.check():
        pass
    return shared


def _start(head: int) -> int:
    return -(-(len(MAGIC) + 4 + head) // PAGE) * PAGE


def _sha256(block: memoryview) -> bytes:
    return hashlib.sha256(block).digest()


def _blocks(array: Array) -> Iterator[memoryview]:
    """Bytes of a contiguous array, a megabyte at a time."""
    data = array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
    for at in range(0, len(data), BLOCK_BYTES):
        yield data[at : at + BLOCK_BYTES]


def _write_at(descriptor: int, data: bytes | memoryview, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
