"""Banded problems are recognised, whatever the numbering of their tiles, and searched in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instances import drive
from numpy.typing import NDArray

from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search import _engine
from morsr_mpi.search.bands import LEAST_TILES, band_of, band_order, bandwidth
from morsr_mpi.search.components import coupled_tiles
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.orders import BAND
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.ranking import ranking_of
from morsr_mpi.search.reference_beam import RankedTree
from morsr_mpi.search.state import Search
from morsr_mpi.search.tasks import COMPLETE, Task


def banded(m: int, width: int, seed: int) -> tuple[QuadraticProblem, NDArray[np.intp]]:
    """Tiles that couple to `width` neighbours, shuffled; and the tiles in their order."""
    rng = np.random.default_rng(seed)
    root = np.zeros((8 * m, 8 * m))
    for i in range(m):
        for j in range(max(0, i - width), i + 1):
            root[8 * i : 8 * i + 8, 8 * j : 8 * j + 8] = rng.standard_normal((8, 8))
    Q = root @ root.T + 0.1 * np.eye(8 * m)
    order = rng.permutation(m)
    places = (8 * order[:, None] + np.arange(8)).reshape(-1)
    shuffled = np.empty_like(Q)
    shuffled[np.ix_(places, places)] = (Q + Q.T) / 2
    return QuadraticProblem.create(shuffled, rng.uniform(-4, 4, (2, 8 * m))), order


@given(st.integers(1, 40), st.floats(0.0, 0.4), st.integers(0, 1000))
def test_an_order_of_any_graph_is_a_permutation_no_wider_than_the_natural_one(
    m: int, density: float, seed: int
) -> None:
    coupled = np.random.default_rng(seed).random((m, m)) < density
    coupled = coupled | coupled.T | np.eye(m, dtype=bool)
    order = band_order(coupled)
    assert sorted(order.tolist()) == list(range(m))
    assert bandwidth(coupled, order) <= bandwidth(coupled, np.arange(m, dtype=np.int32))


@pytest.mark.parametrize(("m", "width"), [(12, 1), (24, 1), (24, 2), (40, 5)])
def test_a_hidden_band_is_found(m: int, width: int) -> None:
    problem, order = banded(m, width, m + width)
    coupled = coupled_tiles(problem.Q)
    assert bandwidth(coupled, order.astype(np.int32)) == width
    assert width <= band_of(coupled) <= 2 * width
    if width == 1:
        found = band_order(coupled).tolist()
        assert found in (order.tolist(), order.tolist()[::-1]), "a path has two orders"


def test_full_and_small_problems_have_no_band() -> None:
    assert band_of(np.ones((40, 40), dtype=bool)) == 0
    path = np.abs(np.subtract.outer(np.arange(8), np.arange(8))) <= 1
    assert LEAST_TILES > 8
    assert band_of(path) == 0


def test_the_factor_in_the_order_of_the_band_is_banded() -> None:
    problem, _ = banded(16, 1, 3)
    part = prepare(problem).parts[0]
    assert part.band == 1
    factor = part.factor(BAND)
    assert factor is not None
    order = factor.order
    places = (8 * order[:, None] + np.arange(8)).reshape(-1)
    upper = np.linalg.cholesky(problem.Q[np.ix_(places, places)]).T
    beyond = np.triu(np.ones((16, 16)), 2).repeat(8, 0).repeat(8, 1) > 0
    assert np.abs(upper[beyond]).max() == 0.0


def test_beams_use_the_order_of_the_band() -> None:
    problem, _ = banded(16, 1, 5)
    kinds: set[object] = set()

    def watch(_: Search, __: int, tasks: tuple[Task, ...], ___: list[bytes]) -> None:
        for task in tasks:
            if task.kind == COMPLETE:
                kinds.update(beam[0] for beam in task.body if isinstance(beam, tuple))

    drive(problem, SearchOptions(work=60_000), watch=watch)
    assert "band" in kinds
    assert "diagonal" not in kinds


@pytest.mark.parametrize(
    ("m", "width", "seed", "beam_width"),
    [(12, 1, 1, 6), (12, 1, 2, 24), (13, 2, 3, 1), (13, 2, 3, 6), (16, 3, 4, 6)],
)
def test_a_beam_that_merges_agrees_with_its_twin(
    m: int, width: int, seed: int, beam_width: int
) -> None:
    problem, _ = banded(m, width, seed)
    part = prepare(problem).parts[0]
    factor = part.factor(BAND)
    assert factor is not None
    band = part.band_in(factor.order)
    assert band >= width
    ranking = ranking_of(factor, band)
    centre = np.ascontiguousarray(part.centres[0][ranking.places])
    beam = _engine.Beam(ranking.view, centre, beam_width, 8, 0.6, float("inf"))
    while not beam.step(100):
        pass
    found = np.empty(8 * m, dtype=np.int32)
    assert beam.best(found) is not None
    tree = RankedTree(problem.Q, factor.order, part.centres[0], factor.eigenvalues)
    expected = tree.beam(beam_width, 8, 0.6, float("inf"), band)
    assert expected is not None
    assert found.tolist() == np.concatenate([expected.pinned[j] for j in range(m)]).tolist()


def test_merging_finds_more_than_a_beam_four_times_as_wide() -> None:
    """Costs of narrow beams that merge, beside wider ones in the same order that do not."""
    narrow: list[float] = []
    wide: list[float] = []
    for seed in range(6):
        problem, _ = banded(32, 1, 50 + seed)
        part = prepare(problem).parts[0]
        factor = part.factor(BAND)
        assert factor is not None
        for band, width, costs in ((1, 64, narrow), (0, 256, wide)):
            ranking = ranking_of(factor, band)
            for centres in part.centres:
                centre = np.ascontiguousarray(centres[ranking.places])
                beam = _engine.Beam(ranking.view, centre, width, 8, 0.6, float("inf"))
                while not beam.step(1 << 20):
                    pass
                cost = beam.best(np.empty(256, dtype=np.int32))
                assert cost is not None
                costs.append(cost)
    assert np.mean(narrow) < np.mean(wide)
