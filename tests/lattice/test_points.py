"""Membership, basis, roots; Weyl chamber; Coxeter plane."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice import coxeter, e8, points, weyl


def test_membership() -> None:
    cube = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=8)), dtype=np.int8)
    inside = points.contains(cube)
    # Of these, E8 has the points of D8 in {-1, 0, 1}^8 and half of {+-1/2}^8.
    assert inside.sum() == (3**8 + 1) // 2 + 128
    assert np.array_equal(e8.distance2(cube / 2) == 0, inside)
    assert points.contains([2, 2, 0, 0, 0, 0, 0, 0])
    assert not points.contains([2, 0, 0, 0, 0, 0, 0, 0])
    for bad in (np.zeros(8), np.zeros(7, dtype=int)):
        with pytest.raises(InputError):
            points.contains(bad)


def test_basis() -> None:
    B = points.basis()
    assert np.all(points.contains(B))
    assert round(np.linalg.det(B)) == 256
    gram = B.astype(int) @ B.T.astype(int)
    assert np.all(gram % 4 == 0)
    assert np.all(np.diag(gram) % 8 == 0)
    with pytest.raises(ValueError, match="read-only"):
        B[0, 0] = 1


def test_roots() -> None:
    roots = points.roots().astype(int)
    assert roots.shape == (240, 8)
    products = roots @ roots.T // 4
    values, counts = np.unique(products[0], return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert counts.tolist() == [1, 56, 126, 56, 1]
    assert roots.tolist() == sorted(roots.tolist())


def test_to_points() -> None:
    assert points.to_points([1, -3], 0.5).tolist() == [0.25, -0.75]


def test_simple_roots_make_the_dynkin_diagram() -> None:
    s = weyl.simple_roots().astype(int)
    cartan = s @ s.T // 4
    edges = {(i, j) for i in range(8) for j in range(i) if cartan[i, j]}
    assert edges == {(2, 0), (3, 1), (3, 2), (4, 3), (5, 4), (6, 5), (7, 6)}
    assert np.all(np.diag(cartan) == 2)
    assert round(np.linalg.det(cartan)) == 1


def dominant(x: np.ndarray) -> np.ndarray:
    """Least inner product with a simple root."""
    return np.min(x @ (weyl.simple_roots() / 2).T, axis=-1)


def test_fold_lattice_points_exactly() -> None:
    x = points.points_by_norm(8)[::7] / 2
    folded = weyl.fold(x)
    twin = weyl.fold(x[:100], implementation="reference")
    assert np.array_equal(folded.vectors[:100], twin.vectors)
    assert np.array_equal(folded.words[:100], twin.words)
    assert np.all(dominant(folded.vectors) >= 0)
    # Norm 8 has two orbits: twice the roots, and the other 17280 points.
    assert len(np.unique(folded.vectors, axis=0)) == 2
    for v, word, image in zip(x[::50], folded.words[::50], folded.vectors[::50], strict=True):
        assert np.array_equal(weyl.replay(v, word), image)


def test_fold_random_vectors() -> None:
    x = np.random.default_rng(2).normal(size=(4000, 8))
    folded = weyl.fold(x)
    assert folded.lengths.max() <= weyl.MAX_WORD
    # The length counts the positive roots with negative product: 60 on average.
    assert 58 < folded.lengths.mean() < 62
    assert np.allclose(np.linalg.norm(folded.vectors, axis=1), np.linalg.norm(x, axis=1))
    negative = np.sum(x @ (points.roots() / 2).T < 0, axis=1)
    assert np.all(negative == 120)
    assert np.all(folded.words[np.arange(4000), folded.lengths] == weyl.NO_LETTER)
    # The chamber's most negative vector needs the longest word.
    inside = folded.vectors[0]
    assert weyl.fold(-inside).lengths == 120
    assert weyl.fold(inside).lengths == 0
    twin = weyl.fold(x[:60], implementation="reference")
    assert np.array_equal(twin.vectors, folded.vectors[:60])
    assert np.array_equal(twin.words, folded.words[:60])


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float64, (8,), elements=st.floats(-1e300, 1e300)))
def test_property_fold(x: np.ndarray) -> None:
    size = float(np.max(np.abs(x)))
    folded = weyl.fold(x)
    assert folded.lengths <= 120
    twin = weyl.fold(x, implementation="reference")
    assert folded.vectors.tobytes() == twin.vectors.tobytes()
    assert np.array_equal(folded.words, twin.words)
    if 1e-290 < size < 1e290:
        unit = x / size
        image = folded.vectors / size
        assert dominant(image) >= -1e-14
        assert np.allclose(weyl.replay(unit, folded.words), image, rtol=0, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.int64, (8,), elements=st.integers(-999, 999)),
    st.lists(st.integers(0, 7), max_size=60),
)
def test_property_orbits_fold_to_one_vector(x: np.ndarray, word: list[int]) -> None:
    moved = weyl.replay(x.astype(float), word)
    assert np.array_equal(weyl.fold(moved).vectors, weyl.fold(x).vectors)


def test_fold_shapes() -> None:
    folded = weyl.fold(np.zeros((2, 3, 8)))
    assert folded.vectors.shape == (2, 3, 8)
    assert folded.words.shape == (2, 3, 120)
    assert folded.lengths.shape == (2, 3)
    assert weyl.fold(np.zeros((0, 8))).vectors.shape == (0, 8)
    for bad in (np.full(8, np.nan), np.full(8, 1e308), np.zeros(9)):
        with pytest.raises(InputError):
            weyl.fold(bad)


def test_coxeter_element() -> None:
    C = coxeter.coxeter_element()
    powers = [np.linalg.matrix_power(C, k) for k in range(1, 31)]
    assert np.array_equal(powers[-1], np.eye(8))
    assert not any(np.array_equal(p, np.eye(8)) for p in powers[:-1])
    image = points.roots() @ C.T
    assert np.array_equal(np.unique(image, axis=0), np.unique(points.roots(), axis=0))


def test_coxeter_plane() -> None:
    P, plane, C = coxeter.coxeter_projector(), coxeter.coxeter_plane(), coxeter.coxeter_element()
    assert np.array_equal(P, P.T)
    assert np.allclose(P @ P, P, atol=1e-14)
    assert np.trace(P) == pytest.approx(2, abs=1e-13)
    assert np.allclose(plane.T @ plane, P, atol=1e-14)
    assert np.allclose(P @ C, C @ P, atol=1e-14)
    angle = 2 * np.pi / 30
    turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert np.allclose(plane @ C @ plane.T, turn, atol=1e-14)
    radii = np.hypot(*coxeter.project(points.to_points(points.roots())).T)
    rings, counts = np.unique(np.round(radii, 9), return_counts=True)
    assert len(rings) == 8
    assert set(counts) == {30}
    with pytest.raises(InputError):
        coxeter.project(np.zeros(7))
