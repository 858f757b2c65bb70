"""Packed tiles: doubled coordinates in as few bits as each tile needs, one form for each value.

Near the centre of a search a tile takes 3 or 4 bytes, as int32 it takes 32, as float64 64.
The code is described in csrc/include/tile_code.h; its twin is `tilecode_reference`.
"""

from __future__ import annotations

from morsr_mpi.lattice import _tiles

#: Bytes of one tile: eight doubled coordinates as little-endian int32.
TILE_BYTES = 32
#: Most that one packed tile takes.
MOST_PACKED = 33


def pack_tiles(plain: bytes) -> bytes:
    """Pack tiles of 32 bytes in a row. Raises ValueError for a length that is no multiple."""
    if len(plain) % TILE_BYTES:
        raise ValueError(f"{len(plain)} bytes are not whole tiles")
    if not plain:
        return b""
    out = bytearray(len(plain) // TILE_BYTES * MOST_PACKED)
    size = _tiles.pack(plain, out)
    return bytes(out[:size])


def unpack_tiles(packed: bytes, most: int) -> bytes:
    """Return the tiles; raises ValueError for bytes pack_tiles did not write.

    most: tiles there may be; nothing is allocated for more.
    """
    if not packed:
        return b""
    count = _tiles.count(packed)
    if not 0 < count <= most:
        raise ValueError("packed tiles that are cut short or too many")
    plain = bytearray(TILE_BYTES * count)
    if _tiles.unpack(packed, plain) != 0:
        raise ValueError("packed tiles that are malformed")
    return bytes(plain)
