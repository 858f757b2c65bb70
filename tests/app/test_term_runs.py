"""Runs under a tile term: any number of ranks, files, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import morsr_mpi
from morsr_mpi.base.errors import InputError, UsageError


def problem(kind: dict[str, object], n: int = 24) -> morsr_mpi.Problem:
    rng = np.random.default_rng(4)
    rows = rng.normal(0.0, 1.0, (n, n))
    Q = rows @ rows.T / n + 0.3 * np.eye(n)
    return morsr_mpi.Problem(Q, rng.normal(0.0, 1.6, (2, n)), 0.9, tile_term=kind)


@pytest.mark.parametrize(
    "kind",
    [
        {"kind": "ball", "radius2": 4},
        {"kind": "rate", "lambda": 0.1, "shells": [1, 5, 8, 9, 10]},
    ],
)
def test_any_number_of_ranks_gives_the_same_bits(tmp_path: Path, kind: dict[str, object]) -> None:
    path = tmp_path / "problem.h5"
    problem(kind).save(path)
    loaded = morsr_mpi.Problem.load(path)
    one = morsr_mpi.solve(loaded, work=60_000)
    three = morsr_mpi.solve(loaded, work=60_000, ranks=3)
    assert one.solution.to_bytes() == three.solution.to_bytes()
    assert loaded.term is not None
    assert np.isfinite(loaded.term.values(one.doubled.reshape(-1, 8))).all()
    assert (one.lower_bound <= one.objective).all()


def test_bad_terms_are_refused_with_exit_65() -> None:
    with pytest.raises(InputError, match="unknown tile term 'cube'") as caught:
        morsr_mpi.solve(np.eye(8), np.zeros(8), tile_term={"kind": "cube"})
    assert caught.value.exit_code == 65
    with pytest.raises(UsageError, match="takes no tile_term"):
        morsr_mpi.solve(problem({"kind": "ball", "radius2": 4}), tile_term="ball")
