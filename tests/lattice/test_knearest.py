"""k nearest points: exact sets, canonical order, cursors, every CPU level."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morsr_mpi.base.errors import InputError, UsageError
from morsr_mpi.lattice import e8, points, reference


def tile(seed: int, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """A seeded metric and centre."""
    rng = np.random.default_rng(seed)
    U = np.triu(rng.uniform(-spread, spread, size=(8, 8)), 1) + np.diag(rng.uniform(0.5, 1.5, 8))
    return U, rng.normal(scale=3.0, size=8)


def brute(U: np.ndarray, centre: np.ndarray, limit: float) -> list[reference.Costed]:
    """Points of cost <= limit by testing a ball of E8 around the nearest point."""
    middle = e8.nearest(centre).astype(np.int64)
    # ||U e||^2 <= limit implies ||e||^2 <= limit / sigma_min^2; middle is within distance 1.
    radius = math.sqrt(limit) / np.linalg.svd(U, compute_uv=False)[-1] + 1
    found = []
    for norm in range(0, math.ceil(radius**2) + 1, 2):
        for p in points.points_by_norm(norm, implementation="kernel").astype(np.int64) + middle:
            e = [float(a) / 2 - float(b) for a, b in zip(p, centre, strict=True)]
            if np.sum((U @ np.array(e)) ** 2) < limit * 1.001:
                cost = reference.cost_of(U, e, 0, 0.0)
                if cost <= limit:
                    found.append((cost, tuple(int(a) for a in p)))
    return sorted(found)


def listed(result: e8.Neighbours) -> list[reference.Costed]:
    """A result as (cost, doubled) pairs."""
    return [
        (float(c), tuple(int(a) for a in p))
        for c, p in zip(result.cost, result.doubled, strict=True)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_against_brute_force(seed: int) -> None:
    U, centre = tile(seed, 0.3)
    expected = brute(U, centre, 1.6)
    assert len(expected) > 3
    found = e8.k_nearest(centre, 10_000, metric=U, limit=1.6)
    assert listed(found) == expected
    few = e8.k_nearest(centre, 3, metric=U)
    assert listed(few) == expected[:3]


@pytest.mark.parametrize("seed", range(3))
def test_kernel_equals_reference_to_the_bit(cpu_level: str, seed: int) -> None:
    U, centre = tile(seed + 100)
    for arguments in (
        {"k": 12},
        {"k": 1, "base": 0.37},
        {"k": 500, "limit": 2.0},
        {"k": 5, "base": 1.0, "limit": 1.0},
    ):
        kernel = e8.k_nearest(centre, metric=U, **arguments)
        twin = e8.k_nearest(centre, metric=U, implementation="reference", **arguments)
        assert kernel.doubled.tobytes() == twin.doubled.tobytes()
        assert kernel.cost.tobytes() == twin.cost.tobytes()


def test_levels_count_the_same_nodes() -> None:
    U, centre = tile(7)
    before = e8.cpu_level()
    seen = set()
    for level in e8.cpu_levels():
        e8.set_cpu_level(level)
        result = e8.k_nearest(centre, 200, metric=U)
        seen.add((result.nodes, result.doubled.tobytes(), result.cost.tobytes()))
    e8.set_cpu_level(before)
    assert len(seen) == 1


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1000])
def test_cursor_partitions_the_list(chunk: int) -> None:
    """Chunks of any size, one after the other, are the whole list; ties included."""
    for U, centre, limit in (
        (*tile(11), 2.5),
        (np.eye(8), np.zeros(8), 4.0),  # 1 + 240 + 2160 points, whole shells tied
        (np.eye(8), np.eye(8)[0], 3.0),
    ):
        if chunk < 5 and limit == 4.0:
            limit = 2.0
        whole = e8.k_nearest(centre, 100_000, metric=U, limit=limit)
        pieces: list[reference.Costed] = []
        after = None
        while True:
            part = e8.k_nearest(centre, chunk, metric=U, limit=limit, after=after)
            pieces += listed(part)
            if len(part.cost) < chunk:
                break
            after = (float(part.cost[-1]), part.doubled[-1])
        assert pieces == listed(whole)


def test_order_is_by_cost_then_doubled() -> None:
    result = listed(e8.k_nearest(np.zeros(8), 241))
    assert result == sorted(result)
    assert result[0] == (0.0, (0,) * 8)
    assert [p for _, p in result[1:]] == [tuple(r) for r in points.roots().tolist()]


@pytest.mark.parametrize("norm", range(14))
def test_theta_series(norm: int) -> None:
    expected = {0: 1, 2: 240, 4: 2160, 6: 6720, 8: 17520, 10: 30240, 12: 60480}.get(norm, 0)
    found = points.points_by_norm(norm)
    assert len(found) == expected == points.theta_coefficient(norm)
    if expected:
        assert np.all(np.sum(found.astype(np.int64) ** 2, axis=1) == 4 * norm)
        assert np.all(points.contains(found))
        assert np.array_equal(found, np.unique(found, axis=0))


def test_points_by_norm_twin() -> None:
    for norm in (0, 1, 2):
        twin = points.points_by_norm(norm, implementation="reference")
        assert np.array_equal(points.points_by_norm(norm), twin)


def test_batch_equals_single_calls() -> None:
    U, _ = tile(5)
    centres = np.random.default_rng(6).normal(size=(9, 8))
    batch = e8.k_nearest_batch(centres, 30, metric=U, limit=1.8)
    for i, centre in enumerate(centres):
        one = e8.k_nearest(centre, 30, metric=U, limit=1.8)
        n = batch.found[i]
        assert n == len(one.cost)
        assert np.array_equal(batch.doubled[i, :n], one.doubled)
        assert np.array_equal(batch.cost[i, :n], one.cost)
        assert np.all(np.isinf(batch.cost[i, n:]))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.05, 2.0),
    st.floats(1e-3, 1.0),
    st.integers(1, 40),
)
def test_property_nothing_is_lost(seed: int, spread: float, shrink: float, k: int) -> None:
    """The k-th list is the head of the complete list within its own last cost, and vice versa,
    also for badly shaped metrics."""
    U, centre = tile(seed, spread)
    U[3, 3] *= shrink
    few = e8.k_nearest(centre, k, metric=U)
    assert len(few.cost) == k
    everything = e8.k_nearest(centre, 1 << 15, metric=U, limit=float(few.cost[-1]))
    assert listed(everything)[:k] == listed(few)
    for cost, p in listed(few)[:5]:
        e = [a / 2 - float(c) for a, c in zip(p, centre, strict=True)]
        assert cost == reference.cost_of(U, e, 0, 0.0)


def test_bad_input() -> None:
    good = np.zeros(8)
    lower = np.eye(8)
    lower[5, 2] = 0.1
    flat = np.eye(8)
    flat[4, 4] = 0.0
    for metric in (lower, flat, np.eye(7), np.eye(8) * np.nan):
        with pytest.raises(InputError):
            e8.k_nearest(good, 3, metric=metric)
    for centre in (np.full(8, np.nan), np.full(8, 1e10), np.zeros((2, 8))):
        with pytest.raises(InputError):
            e8.k_nearest(centre, 3)
    for k in (0, -1, 1 << 30):
        with pytest.raises(UsageError):
            e8.k_nearest(good, k)
    with pytest.raises(InputError):
        e8.k_nearest(good, 3, limit=math.nan)
    with pytest.raises(InputError):
        e8.k_nearest(good, 3, after=(0.0, [0, 0]))
    skew = np.eye(8)
    skew[0, 7] = 1e300
    with pytest.raises(InputError, match="nearly singular"):
        e8.k_nearest(np.full(8, 0.3), 3, metric=skew)
    with pytest.raises(InputError):
        points.points_by_norm(80)
    assert len(e8.k_nearest(good, 3, limit=-1.0).cost) == 0
