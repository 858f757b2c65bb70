"""Nearest points: kernel against twin against brute force, and the rule for ties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from morsr_mpi.base.errors import InputError, UsageError
from morsr_mpi.lattice import e8, points, weyl


def vectors(seed: int, n: int, dtype: type = np.float64) -> np.ndarray:
    """Random vectors, many of them on or near ties."""
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=2.0, size=(n, 8))
    x[1::4] = np.rint(4 * x[1::4]) / 4
    x[2::4] = np.rint(2 * x[2::4]) / 2
    x[3::8] = np.rint(6 * x[3::8]) / 6
    x[5::64] *= 1e4
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 7, 8, 15, 16, 17, 40, 4000])
def test_kernel_equals_reference_to_the_bit(cpu_level: str, dtype: type, n: int) -> None:
    x = vectors(n, n, dtype)
    kernel, kernel_distance = e8.nearest_with_distance(x)
    twin, twin_distance = e8.nearest_with_distance(x, implementation="reference")
    assert np.array_equal(kernel, twin)
    assert kernel_distance.dtype == twin_distance.dtype == dtype
    assert kernel_distance.tobytes() == twin_distance.tobytes()
    assert e8.distance2(x).tobytes() == twin_distance.tobytes()
    assert np.all(points.contains(kernel))


def test_unaligned_and_strided_input(cpu_level: str) -> None:
    x = vectors(1, 101)
    raw = np.zeros(x.nbytes + 8, dtype=np.uint8)
    odd = raw[4:-4].view(np.float64).reshape(x.shape)
    odd[:] = x
    assert not odd.flags.aligned
    expected = e8.nearest(x, implementation="reference")
    assert np.array_equal(e8.nearest(odd), expected)
    assert np.array_equal(e8.nearest(np.asfortranarray(x)), expected)
    assert np.array_equal(e8.nearest(x[::3]), expected[::3])
    assert np.array_equal(e8.nearest(x.reshape(101, 1, 8))[:, 0], expected)
    assert np.array_equal(e8.nearest(x[5]), expected[5])


def test_against_brute_force() -> None:
    """The points with entries in {-3/2..3/2} hold the nearest to any vector in [-1/2, 1/2]^8."""
    candidates = np.array(
        [p for c in ((-2, 0, 2), (-3, -1, 1, 3)) for p in itertools.product(c, repeat=8)],
        dtype=np.int8,
    )
    candidates = candidates[points.contains(candidates)] / 2
    norms = np.sum(candidates**2, axis=1)
    x = np.random.default_rng(3).uniform(-0.5, 0.5, size=(60, 8))
    best = np.min(norms - 2 * x @ candidates.T, axis=1) + np.sum(x**2, axis=1)
    doubled, distance = e8.nearest_with_distance(x)
    assert np.allclose(distance, best, rtol=0, atol=1e-12)
    assert np.allclose(np.sum((x - doubled / 2) ** 2, axis=1), best, rtol=0, atol=1e-12)


def test_voronoi_cell() -> None:
    """A vector decodes to 0 exactly when no root is nearer: <x, r> <= 1 for all 240."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(5000, 8))
    x *= rng.uniform(0.5, 1.2, size=(5000, 1)) / np.linalg.norm(x, axis=1, keepdims=True)
    worst = np.max(x @ (points.roots() / 2).T, axis=1)
    clear = np.abs(worst - 1) > 1e-9
    inside = np.all(e8.nearest(x) == 0, axis=1)
    assert np.array_equal(inside[clear], worst[clear] < 1)
    assert 0.1 < inside.mean() < 0.9


def test_holes_and_covering_radius() -> None:
    deep = np.eye(8)[0]
    shallow = np.array([5 / 6] + [1 / 6] * 7)
    assert e8.distance2(deep) == 1.0
    assert e8.distance2(shallow) == pytest.approx(8 / 9, abs=1e-15)
    for hole, count in ((deep, 16), (shallow, 9)):
        around = e8.k_nearest(hole, 40)
        assert np.sum(around.cost < around.cost[0] + 1e-9) == count
    sample = e8.distance2(np.random.default_rng(5).uniform(-4, 4, size=(200_000, 8)))
    assert sample.max() <= 1.0
    # Second moment per dimension 929 / 12960; the sampling error is about 5e-5.
    assert sample.mean() / 8 == pytest.approx(929 / 12960, abs=3e-4)


def test_tie_rule() -> None:
    """The cases the decision record describes, written out."""
    for x, p in (
        ([0.5] + [0.0] * 7, [0] * 8),  # half to even
        ([1.0] + [0.0] * 7, [4] + [0] * 7),  # odd, d = 0 everywhere: the first one goes up
        ([0.5, 0.5] + [0.0] * 6, [0] * 8),
        ([1.5, 0.0] + [0.0] * 6, [4] + [0] * 7),
        ([0.25] * 8, [0] * 8),  # both cosets at 1/2: whole numbers win
        ([1.0, 0.0, 0.0] + [0.25] * 5, [2, 0, 0, 2, 0, 0, 0, 0]),  # first of the largest |d|
        ([0.0, 0.0, -0.75] + [0.25] * 5, [0] * 8),  # and toward the sign of d
    ):
        for implementation in ("kernel", "reference"):
            assert e8.nearest(x, implementation=implementation).tolist() == p, x


finite = hnp.arrays(np.float64, (3, 8), elements=st.floats(-1e6, 1e6))
lattice_points = hnp.arrays(np.int64, (8,), elements=st.integers(-1000, 1000)).map(
    lambda c: c @ points.basis().astype(np.int64)
)


@settings(max_examples=150, deadline=None)
@given(finite)
def test_property_twin_and_bounds(x: np.ndarray) -> None:
    doubled, distance = e8.nearest_with_distance(x)
    twin, twin_distance = e8.nearest_with_distance(x, implementation="reference")
    assert np.array_equal(doubled, twin)
    assert distance.tobytes() == twin_distance.tobytes()
    assert np.all(distance <= 1.0 + 1e-12)
    assert np.all(points.contains(doubled))
    # idempotent
    again, zero = e8.nearest_with_distance(doubled / 2)
    assert np.array_equal(again, doubled)
    assert not np.any(zero)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.int64, (8,), elements=st.integers(-4096, 4096)), lattice_points)
def test_property_translation(numerators: np.ndarray, shift: np.ndarray) -> None:
    """Distances do not change under translation by E8 (exact for dyadic vectors)."""
    x = numerators / 1024
    assert e8.distance2(x) == e8.distance2(x + shift / 2)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.int64, (8,), elements=st.integers(-4096, 4096)),
    st.lists(st.integers(0, 7), max_size=40),
)
def test_property_weyl_invariance(numerators: np.ndarray, word: list[int]) -> None:
    x = numerators / 1024
    moved = weyl.replay(x, word)
    assert e8.distance2(moved) == pytest.approx(float(e8.distance2(x)), abs=1e-12)


@pytest.mark.parametrize("implementation", ["kernel", "reference"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e10])
def test_refuses_what_it_cannot_decode(
    cpu_level: str, implementation: str, dtype: type, bad: float
) -> None:
    for row in (0, 19, 20):
        x = np.zeros((21, 8), dtype=dtype)
        x[row, 5] = bad
        with pytest.raises(InputError, match="not finite or longer"):
            e8.nearest(x, implementation=implementation)
        with pytest.raises(InputError, match="not finite or longer"):
            e8.distance2(x, implementation=implementation)


def test_range_limits_are_decoded_exactly(cpu_level: str) -> None:
    for dtype, limit in ((np.float64, 2**29), (np.float32, 2**20)):
        x = np.zeros((2, 8), dtype=dtype)
        x[0, 3], x[1, 3] = limit, -limit
        doubled, distance = e8.nearest_with_distance(x)
        assert np.array_equal(doubled[:, 3], [2 * limit, -2 * limit])
        assert not np.any(distance)


def test_shapes_and_dtypes() -> None:
    assert e8.nearest(np.zeros((0, 8))).shape == (0, 8)
    assert e8.distance2(np.zeros((2, 0, 8))).shape == (2, 0)
    assert e8.nearest([1, 1, 0, 0, 0, 0, 0, 0]).tolist() == [2, 2, 0, 0, 0, 0, 0, 0]
    assert e8.distance2(np.zeros(8, dtype=np.float32)).dtype == np.float32
    for bad in (np.zeros(7), np.zeros((8, 7)), 3.0, np.zeros(8, dtype=complex), ["a"] * 8):
        with pytest.raises(InputError):
            e8.nearest(bad)
    with pytest.raises(UsageError):
        e8.nearest(np.zeros(8), implementation="fast")
    with pytest.raises(UsageError):
        e8.set_cpu_level("sse9")
