"""Lattice points as a coded stream that is really written: what "bits per weight" counts.

A stream holds everything that is needed to get the weights back: shape, scale (float32) and the
points, tile by tile, coded by an adaptive model that starts from the same fixed counts for every
stream. Of each tile come: whether its coordinates are integers or half-integers, then the
magnitudes in unary, then signs. In E8 the coordinates of a tile sum to an even number: the last
one is coded knowing that, which saves a bit per tile. A stream carries no checksum: the file it
is stored in has one.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.app.rangecoder import Context, Decoder, Encoder
from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice.points import contains

#: Unary digits with a context of their own; longer magnitudes go on with an Elias gamma code.
UNARY = 12
#: Longest Elias gamma prefix that is read: magnitudes stay within int32.
MAX_GAMMA_BITS = 31
#: Most coordinates a stream may announce.
MAX_COORDINATES = 1 << 28
_HEADER = struct.Struct("<IIf")

#: Starting counts (stop, go on) of the unary digits, the shape of Gaussian weights coded at about
#: 2 bits; by kind: integers, half-integers, then the last coordinate of each (even, odd, half).
_START = ((10, 14), (19, 5), (22, 2), (23, 1))
_START_HALF = ((17, 7), (21, 3), (23, 1), (23, 1))
_START_LAST_EVEN = ((19, 5), (23, 1))
_START_LAST_ODD = ((23, 1),)
_STARTS = (_START, _START_HALF, _START_LAST_EVEN, _START_LAST_ODD, _START_HALF)
INTEGER, HALF, LAST_EVEN, LAST_ODD, LAST_HALF = range(5)


class _Model:
    """All contexts of one stream at their starting counts."""

    def __init__(self) -> None:
        self.coset = Context(8, 8)
        self.unary = [
            [Context(*start[min(digit, len(start) - 1)]) for digit in range(UNARY)]
            for start in _STARTS
        ]


def encode_points(doubled: NDArray[np.int32], scale: float) -> bytes:
    """Return the stream of points of E8^m: doubled int32 [rows, 8 m], scale a float32 value.

    Raises InputError when the scale is no float32 value or a tile is no point of E8.
    """
    if doubled.ndim != 2 or doubled.shape[1] % 8 or not 0 < doubled.size <= MAX_COORDINATES:
        raise InputError(f"cannot code points of shape {doubled.shape}; rows of whole E8 tiles")
    header = _HEADER.pack(*doubled.shape, scale)
    if _HEADER.unpack(header)[2] != scale:
        raise InputError(f"scale {scale!r} is not a float32 number; round it to one first")
    _check_tiles(doubled)
    encoder, model = Encoder(), _Model()
    for tile in doubled.reshape(-1, 8).tolist():
        _encode_tile(encoder, model, tile)
    return header + encoder.finish()


def decode_points(data: bytes) -> tuple[NDArray[np.int32], float]:
    """Return (doubled [rows, 8 m], scale) of a stream; raises InputError for damaged ones."""
    if len(data) < _HEADER.size:
        raise InputError("the coded stream is shorter than its header; it is truncated")
    rows, columns, scale = _HEADER.unpack_from(data)
    if columns % 8 or not 0 < rows * columns <= MAX_COORDINATES or not 0.0 < scale < np.inf:
        raise InputError("the header of the coded stream makes no sense; it is damaged")
    decoder, model = Decoder(data[_HEADER.size :]), _Model()
    tiles = [_decode_tile(decoder, model) for _ in range(rows * columns // 8)]
    return np.array(tiles, dtype=np.int32).reshape(rows, columns), float(scale)


def _check_tiles(doubled: NDArray[np.int32]) -> None:
    """Raise InputError unless every tile is a point of E8."""
    if not contains(doubled.reshape(-1, 8)).all():
        raise InputError("some tiles are not points of E8; nothing was coded")


def _encode_tile(encoder: Encoder, model: _Model, tile: list[int]) -> None:
    half = tile[0] & 1
    encoder.encode(half, model.coset)
    # floor(v): integers as they are, half-integers rounded down; its sum over a tile is even.
    floors = [(value - half) >> 1 for value in tile]
    parity = 0
    for place, floor in enumerate(floors):
        last = place == 7
        if half:
            magnitude = floor if floor >= 0 else -1 - floor
            _encode_unary(encoder, model, LAST_HALF if last else HALF, magnitude)
            if not last:
                encoder.encode_even(int(floor < 0))
        else:
            magnitude = abs(floor)
            if last:
                kind = LAST_ODD if parity else LAST_EVEN
                _encode_unary(encoder, model, kind, magnitude >> 1)
            else:
                _encode_unary(encoder, model, INTEGER, magnitude)
            if magnitude:
                encoder.encode_even(int(floor < 0))
        parity ^= floor & 1


def _decode_tile(decoder: Decoder, model: _Model) -> list[int]:
    half = decoder.decode(model.coset)
    tile: list[int] = []
    parity = 0
    for place in range(8):
        last = place == 7
        if half:
            magnitude = _decode_unary(decoder, model, LAST_HALF if last else HALF)
            # The floors magnitude and -1 - magnitude differ in parity: the sum decides the sign.
            negative = (magnitude ^ parity) & 1 if last else decoder.decode_even()
            floor = -1 - magnitude if negative else magnitude
        else:
            if last:
                kind = LAST_ODD if parity else LAST_EVEN
                magnitude = 2 * _decode_unary(decoder, model, kind) + parity
            else:
                magnitude = _decode_unary(decoder, model, INTEGER)
            floor = -magnitude if magnitude and decoder.decode_even() else magnitude
        parity ^= floor & 1
        tile.append(2 * floor + half)
    if not all(-(2**31) <= value < 2**31 for value in tile):
        raise InputError("a coordinate of the coded stream is out of range; it is damaged")
    return tile


def _encode_unary(encoder: Encoder, model: _Model, kind: int, value: int) -> None:
    contexts = model.unary[kind]
    for digit in range(UNARY):
        if value == digit:
            encoder.encode(0, contexts[digit])
            return
        encoder.encode(1, contexts[digit])
    rest = value - UNARY + 1
    bits = rest.bit_length() - 1
    for _ in range(bits):
        encoder.encode_even(1)
    encoder.encode_even(0)
    for position in range(bits - 1, -1, -1):
        encoder.encode_even((rest >> position) & 1)


def _decode_unary(decoder: Decoder, model: _Model, kind: int) -> int:
    contexts = model.unary[kind]
    for digit in range(UNARY):
        if not decoder.decode(contexts[digit]):
            return digit
    bits = 0
    while decoder.decode_even():
        bits += 1
        if bits > MAX_GAMMA_BITS:
            raise InputError("a number in the coded stream is too long; it is damaged")
    rest = 1
    for _ in range(bits):
        rest = (rest << 1) | decoder.decode_even()
    return rest + UNARY - 1
