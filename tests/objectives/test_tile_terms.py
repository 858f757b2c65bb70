"""Tile terms: values agree with their twins, bounds hold, bad parameters are named."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice.e8 import k_nearest, nearest
from morsr_mpi.lattice.points import contains
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.terms import make_term, term_of_bytes
from morsr_mpi.objectives.tile_term import TileTerm
from morsr_mpi.search import _engine

TERMS = {
    "ball": {"kind": "ball", "radius2": 10},
    "small ball": {"kind": "ball", "radius2": 2.5},
    "box": {"kind": "box", "lower": -2, "upper": 1.5},
    "flat box": {"kind": "box", "lower": 0, "upper": 1},
    "shells": {"kind": "rate", "lambda": 0.3, "shells": [1.0, 4.0, 6.0, np.inf, 9.0, 2.0]},
    "coordinates": {
        "kind": "rate",
        "lambda": 0.2,
        "coordinates": [5.0, 4.0, 2.0, 1.0, 0.5, 1.0, 2.5, np.inf, 6.0],
        "first": -4,
    },
}


def term_of(name: str) -> TileTerm:
    term = make_term(TERMS[name])
    assert term is not None
    return term


def some_points(seed: int, count: int = 400, spread: float = 1.6) -> np.ndarray:
    return nearest(np.random.default_rng(seed).normal(0.0, spread, (count, 8)))


@pytest.mark.parametrize("name", TERMS)
def test_values_are_those_of_the_twin(name: str) -> None:
    term = term_of(name)
    points = np.concatenate([some_points(1), some_points(2, 100, 40.0)])
    assert term.values(points).tobytes() == term.reference_values(points).tobytes()
    assert np.isfinite(term.values(np.zeros(8, dtype=np.int32)))
    assert (term.values(points) >= 0.0).all()
    assert term.values(points.reshape(2, -1, 8)).shape == (2, len(points) // 2)


def test_a_ball_of_squared_radius_10_has_56881_points() -> None:
    points = term_of("ball").points(1 << 17)
    assert points is not None
    assert len(points) == 56_881
    assert contains(points).all()
    assert term_of("ball").points(1000) is None


@pytest.mark.parametrize("name", TERMS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), far=st.sampled_from([0.3, 1.0, 3.0, 9.0]))
def test_bounds_are_below_every_point(name: str, seed: int, far: float) -> None:
    """Brute force over the points near the centre and those near 0, where terms are small."""
    rng = np.random.default_rng(seed)
    term, unit = term_of(name), float(rng.uniform(0.3, 2.0))
    centre = rng.normal(0.0, far / 3.0, (1, 8))
    origin = nearest(rng.normal(0.0, far / 3.0, (1, 8)))
    weights = np.exp(rng.uniform(-2.0, 2.0, (1, 8)))
    part = np.empty(1)
    _engine.free_bound(weights.reshape(-1), centre.reshape(-1), part)
    bound = float(term.bound(centre, origin, weights, part, unit)[0])
    near = np.concatenate([k_nearest(centre[0], 4000).doubled, some_points(seed, 300) - origin])
    away = 0.5 * near - centre
    cost = (weights * away * away).sum(axis=1) + term.values(near + origin) / unit
    assert bound <= cost.min() * (1 + 1e-12)
    assert bound >= part[0] * (1 - 1e-9)


def test_bound_of_a_separable_term_is_attained() -> None:
    term = term_of("coordinates")
    rng = np.random.default_rng(3)
    values = np.arange(-4, 5)
    even, odd = values[values % 2 == 0], values[values % 2 != 0]
    points = np.array(
        [p for half in (even, odd) for p in product(half, repeat=8) if not sum(p) % 4]
    )
    for _ in range(3):
        centre, weights = rng.normal(0.0, 1.0, (1, 8)), np.exp(rng.uniform(-1.0, 1.0, (1, 8)))
        none = np.zeros((1, 8), dtype=np.int32)
        cost = (weights * (0.5 * points - centre) ** 2).sum(axis=1) + term.values(points) / 0.7
        bound = term.bound(centre, none, weights, np.zeros(1), 0.7)
        assert bound[0] == pytest.approx(cost.min(), rel=1e-12)


@pytest.mark.parametrize("name", TERMS)
def test_bytes_and_digests_hold_the_term(name: str) -> None:
    term = term_of(name)
    again = term_of_bytes(term.to_bytes())
    assert again is not None
    assert again.to_bytes() == term.to_bytes()
    points = some_points(5)
    assert again.values(points).tobytes() == term.values(points).tobytes()
    Q, target = np.eye(8), np.zeros(8)
    plain = QuadraticProblem.create(Q, target)
    assert QuadraticProblem.create(Q, target, 1.0, term).digest != plain.digest
    same = QuadraticProblem.create(Q, target, 1.0, TERMS[name])
    assert same.digest == QuadraticProblem.create(Q, target, 1.0, again).digest


def test_every_parameter_is_in_the_digest() -> None:
    digests = {
        QuadraticProblem.create(np.eye(8), np.zeros(8), 1.0, term).digest
        for term in (
            None,
            {"kind": "ball", "radius2": 10},
            {"kind": "ball", "radius2": 8},
            {"kind": "box", "lower": -1, "upper": 1},
            {"kind": "box", "lower": -1, "upper": 2},
            {"kind": "rate", "lambda": 1, "shells": [1, 2]},
            {"kind": "rate", "lambda": 2, "shells": [1, 2]},
            {"kind": "rate", "lambda": 1, "shells": [1, 3]},
            {"kind": "rate", "lambda": 1, "coordinates": [1, 3], "first": 0},
            {"kind": "rate", "lambda": 1, "coordinates": [1, 3], "first": -1},
        )
    }
    assert len(digests) == 10


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"kind": "sphere"}, "unknown tile term 'sphere'; known are"),
        ({"radius2": 10}, "a tile term is a mapping"),
        (7, "a tile term is a mapping"),
        ("ball", "ball needs the parameter radius2"),
        ({"kind": "ball", "radius": 3}, "ball has no parameter 'radius'"),
        ({"kind": "ball", "radius2": -1}, "ball: radius2 = -1.0"),
        ({"kind": "ball", "radius2": float("nan")}, "ball: radius2 is nan"),
        ({"kind": "ball", "radius2": "ten"}, "ball: radius2 = 'ten' is not a number"),
        ({"kind": "box", "lower": 1, "upper": 2}, "box: lower = 1.0"),
        ({"kind": "box", "lower": -1e9, "upper": 2}, "box: lower"),
        ({"kind": "rate", "lambda": -1, "shells": [1]}, "rate: lambda = -1.0 is negative"),
        ({"kind": "rate", "lambda": 1}, "rate needs bits"),
        ({"kind": "rate", "lambda": 1, "shells": [1], "first": 0}, "first goes with coordinates"),
        ({"kind": "rate", "lambda": 1, "shells": [-1]}, "rate: shells has an entry"),
        ({"kind": "rate", "lambda": 1, "shells": [np.inf, 1]}, "shells\\[0\\] must be finite"),
        ({"kind": "rate", "lambda": 1, "shells": [[1], [1, 2]]}, "shells is not an array"),
        ({"kind": "rate", "lambda": 1, "shells": []}, "shells has shape"),
        ({"kind": "rate", "lambda": 1, "coordinates": [1]}, "coordinates needs first"),
        ({"kind": "rate", "lambda": 1, "coordinates": [1], "first": 1}, "first = 1.0"),
        ({"kind": "rate", "lambda": 1, "coordinates": [1], "first": -1}, "first = -1.0"),
        ({"kind": "rate", "lambda": 1, "coordinates": [[1]] * 7, "first": 0}, "coordinates has"),
        ({"kind": "rate", "lambda": 1, "coordinates": [np.inf], "first": 0}, "coordinate 0"),
    ],
)
def test_bad_terms_are_named(term: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_term(term)  # type: ignore[arg-type]
    assert caught.value.exit_code == 65
