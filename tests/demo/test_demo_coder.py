"""The range coder and the coded stream of lattice points: exact, small, safe to decode."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morsr_mpi.app.entropy import decode_points, encode_points
from morsr_mpi.app.rangecoder import Context, Decoder, Encoder
from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice.e8 import nearest


def coded(bits: list[int], contexts: int) -> bytes:
    encoder, model = Encoder(), [Context() for _ in range(contexts)]
    for place, bit in enumerate(bits):
        if place % (contexts + 1) == contexts:
            encoder.encode_even(bit)
        else:
            encoder.encode(bit, model[place % (contexts + 1)])
    return encoder.finish()


def decoded(data: bytes, count: int, contexts: int) -> list[int]:
    decoder, model = Decoder(data), [Context() for _ in range(contexts)]
    out = []
    for place in range(count):
        if place % (contexts + 1) == contexts:
            out.append(decoder.decode_even())
        else:
            out.append(decoder.decode(model[place % (contexts + 1)]))
    return out


@given(st.lists(st.integers(0, 1), max_size=300), st.integers(1, 4))
def test_decisions_come_back(bits: list[int], contexts: int) -> None:
    assert decoded(coded(bits, contexts), len(bits), contexts) == bits


@pytest.mark.parametrize("share", [0.0, 0.001, 0.03, 0.5, 0.97, 0.999, 1.0])
def test_long_runs_come_back_and_reach_the_entropy(share: float) -> None:
    generator = random.Random(5)
    bits = [int(generator.random() < share) for _ in range(20_000)]
    data = coded(bits, 1)
    assert decoded(data, len(bits), 1) == bits
    ones = min(max(share, 1e-9), 1 - 1e-9)
    entropy = -ones * math.log2(ones) - (1 - ones) * math.log2(1 - ones)
    # Half of the decisions have a context, half are coded as they are.
    expected = len(bits) / 2 * (1 + entropy)
    assert 8 * len(data) <= 1.02 * expected + 200 or share in (0.0, 1.0)


@pytest.mark.parametrize("bit", [0, 1])
def test_carries_run_through_many_bytes(bit: int) -> None:
    # Decisions against an extreme expectation push `low` up to where carries ripple.
    for tail in range(40):
        bits = [bit] * 600 + [1 - bit] * tail + [bit] * 7
        assert decoded(coded(bits, 2), len(bits), 2) == bits


def points(seed: int, tiles: int, spread: float) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(seed))
    return nearest(generator.standard_normal((tiles, 8)) * spread)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.floats(0.0, 1e4))
def test_points_come_back(seed: int, tiles: int, spread: float) -> None:
    doubled = points(seed, tiles, spread).reshape(1, -1)
    again, scale = decode_points(encode_points(doubled, 0.75))
    assert scale == 0.75
    np.testing.assert_array_equal(again, doubled)


def test_extreme_coordinates_come_back() -> None:
    doubled = np.zeros((2, 16), dtype=np.int32)
    doubled[0, :2] = 2**31 - 2, -(2**31) + 2
    doubled[1, 8:] = 2**31 - 1
    doubled[1, 15] -= 4
    again, _ = decode_points(encode_points(doubled, 1.0))
    np.testing.assert_array_equal(again, doubled)


def test_rate_is_near_two_bits_for_gaussian_weights() -> None:
    doubled = points(1, 4000, 1 / 1.033).reshape(100, -1)
    assert 1.9 < 8 * len(encode_points(doubled, 1.0)) / doubled.size < 2.1


def test_rate_is_not_above_the_entropy_of_independent_coordinates() -> None:
    doubled = points(2, 4000, 1.0)
    _, counts = np.unique(doubled, return_counts=True)
    share = counts / doubled.size
    independent = -float(np.sum(share * np.log2(share)))
    assert 8 * len(encode_points(doubled.reshape(1, -1), 1.0)) / doubled.size < independent


def test_what_is_no_lattice_point_is_refused() -> None:
    doubled = np.zeros((1, 8), dtype=np.int32)
    for bad in ([1, 0, 0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 3]):
        doubled[0] = bad
        with pytest.raises(InputError, match="not points of E8"):
            encode_points(doubled, 1.0)


def test_shape_and_scale_are_checked() -> None:
    with pytest.raises(InputError, match="whole E8 tiles"):
        encode_points(np.zeros((1, 7), dtype=np.int32), 1.0)
    with pytest.raises(InputError, match="float32"):
        encode_points(np.zeros((1, 8), dtype=np.int32), 0.1)


@pytest.mark.parametrize(
    "header",
    [b"", b"\1\0\0\0", bytes(12), b"\1\0\0\0\7\0\0\0\0\0\x80\x3f", b"\xff" * 12],
)
def test_damaged_headers_are_refused(header: bytes) -> None:
    with pytest.raises(InputError):
        decode_points(header)


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    stream = b"\x02\0\0\0\x10\0\0\0\0\0\x80\x3f" + data
    try:
        doubled, _ = decode_points(stream)
    except InputError:
        return
    assert doubled.shape == (2, 16)
    again, _ = decode_points(encode_points(doubled, 1.0))
    np.testing.assert_array_equal(again, doubled)
