"""Packed tiles and their twin: the same bytes, the same refusals, small where tiles are small."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.lattice import tilecode, tilecode_reference

_RANGES = st.sampled_from([0, 1, 3, 8, 1000, 2**31 - 1])
_TILE = st.one_of(
    _RANGES.flatmap(lambda most: st.lists(st.integers(-most - 1, most), min_size=8, max_size=8)),
    _RANGES.flatmap(
        lambda most: st.tuples(
            st.lists(
                st.integers(-(most // 2) - 1, (most - 1) // 2 if most else 0),
                min_size=8,
                max_size=8,
            ),
            st.integers(0, 1),
        ).map(lambda both: [2 * value + both[1] for value in both[0]])
    ),
)
_TILES = st.lists(_TILE, max_size=6).map(lambda tiles: b"".join(pack("<8i", *t) for t in tiles))


@given(_TILES)
def test_tiles_come_back_and_the_twin_writes_the_same(plain: bytes) -> None:
    packed = tilecode.pack_tiles(plain)
    assert packed == tilecode_reference.pack_tiles(plain)
    assert len(packed) <= len(plain) // 32 * tilecode.MOST_PACKED
    for unpack in (tilecode.unpack_tiles, tilecode_reference.unpack_tiles):
        assert unpack(packed, len(plain) // 32) == plain
        if plain:
            with pytest.raises(ValueError, match="too many"):
                unpack(packed, len(plain) // 32 - 1)


def _outcome(unpack: Callable[[bytes, int], bytes], packed: bytes) -> bytes | None:
    try:
        return unpack(packed, 64)
    except ValueError:
        return None


_NOISE = st.one_of(
    st.binary(max_size=40),
    st.tuples(_TILES, st.integers(0, 255), st.integers(0, 10**6), st.integers(0, 3)).map(
        lambda drawn: _damaged(*drawn)
    ),
)


def _damaged(plain: bytes, value: int, at: int, cut: int) -> bytes:
    raw = bytearray(tilecode.pack_tiles(plain))
    if raw:
        raw[at % len(raw)] = value
    return bytes(raw[: max(0, len(raw) - cut)])


@given(_NOISE)
def test_bytes_are_refused_by_both_or_are_the_one_form_of_their_tiles(packed: bytes) -> None:
    plain = _outcome(tilecode.unpack_tiles, packed)
    assert plain == _outcome(tilecode_reference.unpack_tiles, packed)
    assert plain is None or tilecode.pack_tiles(plain) == packed


def test_whole_tiles_only() -> None:
    for twin in (tilecode, tilecode_reference):
        with pytest.raises(ValueError, match="whole tiles"):
            twin.pack_tiles(b"x" * 33)


def test_points_near_the_centre_take_less_than_five_bytes_a_tile() -> None:
    rng = np.random.default_rng(3)
    doubled = 2 * rng.integers(-3, 4, (512, 8)) + rng.integers(0, 2, (512, 1))
    assert len(tilecode.pack_tiles(doubled.astype("<i4").tobytes())) < 5 * 512
