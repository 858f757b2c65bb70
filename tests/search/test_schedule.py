"""The schedule of beams: geometric, endless without repeating itself, steered by what has paid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.config import MAX_BEAM_ENTRIES
from morsr_mpi.base.errors import InternalError
from morsr_mpi.search.diversity import COUNTS, Diversity
from morsr_mpi.search.orders import near_order, random_order
from morsr_mpi.search.schedule import rung


@given(m=st.integers(2, 600), k=st.integers(1, 10_000), further=st.sampled_from(COUNTS))
def test_no_beam_is_run_twice_and_none_is_too_large(m: int, k: int, further: int) -> None:
    seen = set()
    for g in range(30):
        beams = rung(g, m, k, further)
        assert beams
        for beam in beams:
            assert beam.width == 1 or beam.width * 8 * m <= max(MAX_BEAM_ENTRIES, 128 * m)
            assert beam not in seen
            seen.add(beam)


@given(m=st.integers(2, 64), g=st.integers(1, 8))
def test_a_rung_has_twice_the_width_of_the_one_before(m: int, g: int) -> None:
    widths = {beam.width for beam in rung(g, m, 1, 8)}
    assert widths == {32 << g}


@given(m=st.integers(2, 600), further=st.sampled_from(COUNTS))
def test_a_band_takes_the_place_of_the_diagonal(m: int, further: int) -> None:
    for g in range(12):
        plain, banded = rung(g, m, 1, further), rung(g, m, 1, further, banded=True)
        assert [beam.fields()[2:] for beam in plain] == [beam.fields()[2:] for beam in banded]
        for one, other in zip(plain, banded, strict=True):
            assert other.order.kind == {"diagonal": "band"}.get(one.order.kind, one.order.kind)


def test_one_tile_needs_no_beam() -> None:
    assert [beam.width for beam in rung(0, 1, 5, 8)] == [1]
    assert rung(1, 1, 5, 8) == []


GOOD = ("vblast", 0, 32, 8, 0.8)
FURTHER = ("near", 3, 32, 8, 0.8)


def test_orders_are_added_while_they_pay_and_dropped_when_not() -> None:
    diversity = Diversity()
    for expected in (2, 4, 8, 8):
        diversity.note([GOOD, FURTHER], [2.0, 1.0])
        assert diversity.choose() == expected
    for expected in (4, 2, 1, 1):
        diversity.note([GOOD, FURTHER], [1.0, 2.0])
        assert diversity.choose() == expected


def test_without_both_kinds_nothing_is_learnt() -> None:
    diversity = Diversity()
    before = diversity.choose()
    diversity.note([GOOD], [1.0])
    assert diversity.choose() == before
    diversity.note([FURTHER], [float("inf")])
    assert diversity.choose() == before
    with pytest.raises(InternalError):
        diversity.note([GOOD], [])


@given(st.sampled_from(range(len(COUNTS))), st.floats(0.0, 1e9), st.sampled_from(COUNTS))
def test_the_record_of_orders_survives_the_state(level: int, value: float, count: int) -> None:
    diversity = Diversity(level, value, float("inf"), count)
    assert Diversity.from_fields(diversity.fields()) == diversity
    for wrong in ((9, 0.0, 0.0, 1), (0, 0.0, 0.0, 3), (0, 0.0), "no"):
        with pytest.raises(InternalError):
            Diversity.from_fields(wrong)


@given(m=st.integers(1, 200), seed=st.integers(0, 1 << 40))
def test_disturbed_orders_are_permutations_near_the_first(m: int, seed: int) -> None:
    first = random_order(m, 7)
    moved = near_order(first, seed)
    assert sorted(moved.tolist()) == list(range(m))
    place = {tile: position for position, tile in enumerate(first.tolist())}
    assert all(abs(place[tile] - i) <= m // 4 + 1 for i, tile in enumerate(moved.tolist()))
