"""Twin of `tilecode`: slow, obvious, with Python's own integers."""

from __future__ import annotations

from struct import pack, unpack_from


def _zigzag(value: int) -> int:
    return -2 * value - 1 if value < 0 else 2 * value


def _unzigzag(code: int) -> int:
    return -(code // 2) - 1 if code % 2 else code // 2


def _pack_tile(values: tuple[int, ...]) -> bytes:
    parities = {value % 2 for value in values}
    mixed = len(parities) == 2
    parity = 0 if mixed else parities.pop()
    codes = [_zigzag(value if mixed else (value - parity) // 2) for value in values]
    width = max(codes).bit_length()
    bits = sum(code << (i * width) for i, code in enumerate(codes))
    return bytes([width + 64 * parity + 128 * mixed]) + bits.to_bytes(width, "little")


def pack_tiles(plain: bytes) -> bytes:
    """Pack tiles of 32 bytes in a row."""
    if len(plain) % 32:
        raise ValueError("not whole tiles")
    return b"".join(_pack_tile(unpack_from("<8i", plain, at)) for at in range(0, len(plain), 32))


def unpack_tiles(packed: bytes, most: int) -> bytes:
    """Return the tiles; raises ValueError for bytes pack_tiles did not write."""
    out, at = b"", 0
    while at < len(packed):
        width, parity, mixed = packed[at] % 64, packed[at] // 64 % 2, packed[at] // 128
        body = packed[at + 1 : at + 1 + width]
        bits = int.from_bytes(body, "little")
        codes = [bits >> (i * width) & (1 << width) - 1 for i in range(8)]
        values = [_unzigzag(code) if mixed else 2 * _unzigzag(code) + parity for code in codes]
        if not all(-(1 << 31) <= value < 1 << 31 for value in values):
            raise ValueError("out of range")
        tile = pack("<8i", *values)
        if _pack_tile(tuple(values)) != packed[at : at + 1 + width]:
            raise ValueError("not the form that is written")
        out += tile
        at += 1 + width
    if len(out) > 32 * most:
        raise ValueError("too many")
    return out
