"""What a problem may consist of: every refusal is one line that names the culprit."""

from __future__ import annotations

import hashlib
import struct
import tracemalloc
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morsr_mpi.base.config import SYMMETRY_TOLERANCE
from morsr_mpi.base.errors import EXIT_DATA, InputError, InternalError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import Solution, SolveResult


def matrix(n: int = 16, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a random symmetric positive definite matrix."""
    a = np.random.default_rng(seed).standard_normal((n, n))
    return a @ a.T + np.eye(n)


def with_entry(i: int, j: int, value: float, both: bool = False) -> Any:
    Q = matrix()
    Q[i, j] = value
    if both:
        Q[j, i] = value
    return Q


T = np.zeros(16)

BAD: list[tuple[str, Any, Any, Any, str]] = [
    (
        "asymmetric",
        with_entry(2, 5, 99.0),
        T,
        1.0,
        r"not symmetric: Q\[2, 5\] = 99.0 but Q\[5, 2\]",
    ),
    ("nan in Q", with_entry(3, 4, np.nan, True), T, 1.0, r"Q\[3, 4\] is nan"),
    ("inf in Q", with_entry(7, 7, np.inf), T, 1.0, r"Q\[7, 7\] is inf"),
    ("nan in target", matrix(), np.r_[T[:9], np.nan, T[:6]], 1.0, r"target\[9\] is nan"),
    ("inf in targets", matrix(), np.array([T, T - np.inf]), 1.0, r"target\[1, 0\] is -inf"),
    ("not square", matrix()[:8], T, 1.0, r"shape \(8, 16\)"),
    ("vector as Q", T, T, 1.0, r"shape \(16,\)"),
    ("n not of 8", np.eye(12), np.zeros(12), 1.0, "n = 12 is not a positive multiple of 8"),
    ("n = 0", np.zeros((0, 0)), np.zeros(0), 1.0, "n = 0"),
    ("short target", matrix(), np.zeros(8), 1.0, r"target has shape \(8,\)"),
    ("transposed targets", matrix(), np.zeros((16, 2)), 1.0, r"shape \(16, 2\)"),
    ("three dimensions", matrix(), np.zeros((1, 1, 16)), 1.0, r"shape \(1, 1, 16\)"),
    ("scalar target", matrix(), 3.0, 1.0, "target has shape"),
    ("no target", matrix(), np.zeros((0, 16)), 1.0, "0 targets"),
    ("zero scale", matrix(), T, 0.0, "scale = 0.0"),
    ("negative scale", matrix(), T, -1, "scale = -1.0"),
    ("nan scale", matrix(), T, float("nan"), "scale = nan"),
    ("infinite scale", matrix(), T, float("inf"), "scale = inf"),
    ("text scale", matrix(), T, "big", "scale must be a positive number"),
    ("far target", matrix(), T + 2.0**29, 1.0, "target 0 is too far out"),
    ("far for the scale", matrix(), np.array([T, T + 1.0]), 1e-10, "target 1 is too far out"),
    ("beyond float", matrix(), T + 1e300, 1e-60, r"= inf must stay below 2\*\*28"),
    ("complex", matrix() * 1j, T, 1.0, "Q is not a rectangular array of real numbers"),
    ("ragged", [[1.0], [1.0, 2.0]], T, 1.0, "Q is not a rectangular array"),
    ("text", matrix(), ["x"] * 16, 1.0, "target is not a rectangular array of real numbers"),
]


@pytest.mark.parametrize(
    ("Q", "target", "scale", "says"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_refused(Q: Any, target: Any, scale: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        QuadraticProblem.create(Q, target, scale)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == EXIT_DATA


def test_asymmetry_far_from_the_diagonal_names_the_first_entry() -> None:
    Q = np.eye(1024)
    Q[900, 1000] = Q[1000, 901] = Q[800, 20] = 1.0
    with pytest.raises(InputError, match=r"Q\[20, 800\] = 0.0 but Q\[800, 20\] = 1.0"):
        QuadraticProblem.create(Q, np.zeros(1024))


def test_accepts_what_it_should() -> None:
    Q = matrix()
    before = Q.copy()
    p = QuadraticProblem.create(Q, T)
    assert (p.n, p.m, p.k, p.scale) == (16, 2, 1, 1.0)
    assert p.targets.shape == (1, 16)
    assert p.Q is not Q
    np.testing.assert_array_equal(Q, before)
    assert not p.Q.flags.writeable
    assert not p.targets.flags.writeable
    ints = QuadraticProblem.create(2 * np.eye(8, dtype=int), [[0] * 8, [1] * 8], np.float32(0.5))
    assert ints.k == 2
    assert type(ints.scale) is float
    almost = T + np.nextafter(2.0**27, 0.0)
    assert QuadraticProblem.create(Q, almost).targets[0, 0] == almost[0]
    fortran = QuadraticProblem.create(np.asfortranarray(Q), T)
    assert fortran.digest == p.digest


@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 24, 400]))
@settings(max_examples=20, deadline=None)
def test_rounding_asymmetry_is_averaged_away(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((n, n))
    Q = Q + Q.T
    Q[np.diag_indices(n)] = 4.0
    off = np.triu(rng.uniform(-1.0, 1.0, (n, n)), 1) * 0.99 * 4.0 * SYMMETRY_TOLERANCE
    p = QuadraticProblem.create(Q + off, np.zeros(n))
    np.testing.assert_array_equal(p.Q, p.Q.T)
    np.testing.assert_allclose(p.Q, Q + (off + off.T) / 2, rtol=0, atol=1e-15)
    assert QuadraticProblem.create(p.Q, np.zeros(n)).digest == p.digest


def test_digest_is_the_documented_one() -> None:
    """docs/formats/problem.md, written again from the words there."""
    Q, t = matrix(seed=3), np.arange(32.0).reshape(2, 16)
    p = QuadraticProblem.create(Q, t, 0.25)
    header = cbor2.dumps(["morsr-problem", 1, 16, 2, 0.25, []])
    body = struct.pack("<256d", *p.Q.ravel()) + struct.pack("<32d", *t.ravel())
    assert p.digest == hashlib.sha256(header + body).digest()


def test_digest_tells_problems_apart() -> None:
    Q = matrix()
    base = QuadraticProblem.create(Q, T, 1.0).digest
    Q2 = Q.copy()
    Q2[1, 1] = np.nextafter(Q2[1, 1], np.inf)
    others = [
        QuadraticProblem.create(Q2, T, 1.0).digest,
        QuadraticProblem.create(Q, T + 1, 1.0).digest,
        QuadraticProblem.create(Q, T, 2.0).digest,
        QuadraticProblem.create(Q, np.array([T, T]), 1.0).digest,
    ]
    assert len({base, *others}) == 5
    assert QuadraticProblem.create(Q, -T, 1.0).digest == base  # -0.0 is 0.0
    assert QuadraticProblem.create(Q, T[None], 1.0).digest == base  # [n] is [1, n]


def test_checks_need_no_second_copy() -> None:
    n = 1024
    Q, t = np.eye(n), np.zeros(n)
    tracemalloc.start()
    try:
        assert QuadraticProblem.adopt(Q, t, 1.0).digest
        assert tracemalloc.get_traced_memory()[1] < Q.nbytes
    finally:
        tracemalloc.stop()


def solution(k: int = 2, n: int = 8) -> Solution:
    return Solution(
        np.ones((k, n), dtype=np.int32) * 2,
        np.full(k, 1.5),
        np.full(k, 1.0),
        np.ones(k, dtype=np.uint8),
        np.full(k, 7, dtype=np.int64),
    )


def test_solution_digest_covers_every_field() -> None:
    base = solution()
    digests = {base.digest()}
    for name, array in base.arrays().items():
        changed = array.copy()
        changed.flat[-1] = 0
        digests.add(Solution(**{**base.arrays(), name: changed}).digest())
    assert len(digests) == 6
    assert solution().digest() == base.digest()
    assert solution(1, 16).digest() != base.digest()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("doubled", np.ones((2, 8))),
        ("objective", np.ones((2, 1))),
        ("certified", np.ones(3, dtype=np.uint8)),
        ("work", np.ones(2, dtype=np.int32)),
    ],
)
def test_solution_refuses_wrong_arrays(name: str, array: Any) -> None:
    with pytest.raises(InternalError, match=name):
        Solution(**{**solution().arrays(), name: array})


def test_result_json() -> None:
    result = SolveResult.of(solution(), tolerance=1e-9, ranks=4, failures=["x"], fingerprint="f")
    assert result.to_json() == {
        "objective": [1.5, 1.5],
        "lower_bound": [1.0, 1.0],
        "certified": [True, True],
        "work": [7, 7],
        "tolerance": 1e-9,
        "ranks": 4,
        "wall_seconds": 0.0,
        "failures": ["x"],
        "restarts": 0,
        "fingerprint": "f",
        "run_dir": None,
    }
    np.testing.assert_array_equal(result.points(0.5), np.full((2, 8), 0.5))
    assert result.solution.digest() == solution().digest()


@pytest.mark.parametrize("scale", [1e-170, 1e-61, 1e61, 1e300])
def test_scales_far_from_one_are_refused(scale: float) -> None:
    with pytest.raises(InputError, match="choose other units"):
        QuadraticProblem.create(np.eye(8), np.zeros(8), scale)


@pytest.mark.parametrize("factor", [1e-300, 1e-101, 1e101, 1e307])
def test_diagonals_far_from_one_are_refused(factor: float) -> None:
    with pytest.raises(InputError, match="multiply Q by a constant"):
        QuadraticProblem.create(np.eye(8) * factor, np.zeros(8))
