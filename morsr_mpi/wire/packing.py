"""Compression of what travels: one byte that says how, then the bytes (paper section 5.3).

`00` plain; `01` four bytes of plain length, big-endian, and one LZ4 block. What LZ4 writes
differs between its versions, so packed bytes are never what a result's digest is taken of;
plain bytes are. Nothing is allocated on a claim: the plain length is checked against the
caller's limit and against what LZ4 can reach from that many bytes before it is believed.
"""

from __future__ import annotations

import lz4.block

from morsr_mpi.base.config import COMPRESS_ABOVE_BYTES

_PLAIN = b"\0"
_LZ4 = b"\1"
_HEAD = 5
#: An LZ4 block grows by this factor at most: a byte of match length stands for 255 bytes.
_MAX_GROWTH = 255


def pack(data: bytes) -> bytes:
    """Return the packed bytes: compressed if that saves a sixteenth, else one byte longer."""
    if len(data) >= COMPRESS_ABOVE_BYTES:
        block: bytes = lz4.block.compress(data, store_size=False)
        if len(block) + _HEAD <= len(data) - len(data) // 16:
            return _LZ4 + len(data).to_bytes(4, "big") + block
    return _PLAIN + data


def plain(data: bytes) -> bytes:
    """Return the packed bytes of what is not worth a try."""
    return _PLAIN + data


def unpacked_bytes(packed: bytes) -> int:
    """Return the plain length that packed bytes claim, without unpacking.

    Raises ValueError for a claim that cannot be true, or that `pack` would not make.
    """
    if packed[:1] == _PLAIN:
        return len(packed) - 1
    if packed[:1] != _LZ4 or len(packed) < _HEAD:
        raise ValueError("packed bytes of an unknown kind")
    size = int.from_bytes(packed[1:_HEAD], "big")
    if not len(packed) < size <= _MAX_GROWTH * (len(packed) - _HEAD):
        raise ValueError("packed bytes that claim an impossible length")
    return size


def unpack(packed: bytes, limit: int) -> bytes:
    """Return the plain bytes. Raises ValueError for more than `limit` of them, or damage."""
    size = unpacked_bytes(packed)
    if size > limit:
        raise ValueError(f"packed bytes that unpack to more than {limit}")
    if packed[:1] == _PLAIN:
        return packed[1:]
    try:
        data: bytes = lz4.block.decompress(packed[_HEAD:], uncompressed_size=size)
    except lz4.block.LZ4BlockError:
        raise ValueError("packed bytes that are damaged") from None
    if len(data) != size:
        raise ValueError("packed bytes of another length than they say")
    return data


def unpack_all(packed: tuple[bytes, ...], limit: int) -> tuple[bytes, ...]:
    """Return the plain bytes of each; raises ValueError for more than `limit` in all."""
    total = 0
    for data in packed:
        total += len(data) - 1 if data[:1] == _PLAIN else unpacked_bytes(data)
    if total > limit:
        raise ValueError(f"packed bytes that unpack to more than {limit}")
    return tuple([data[1:] if data[:1] == _PLAIN else unpack(data, limit) for data in packed])
