"""Algorithm 3.1: tasks move from overloaded to underloaded ranks, none is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.cluster.assignment import OVERLOADED
from morsr_mpi.cluster.loads import LoadBook
from morsr_mpi.cluster.rebalance import UNDERLOADED, back_up, rebalance
from morsr_mpi.cluster.speeds import SpeedBook


def book(tasks: list[tuple[int, int, float]], ranks: int) -> LoadBook:
    """tasks: (rank, pulse, weight)."""
    found = LoadBook(ranks)
    for index, (rank, pulse, weight) in enumerate(tasks):
        found.add(rank % ranks, (pulse, index), weight)
    return found


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 2), st.floats(1.0, 1e6)),
        min_size=1,
        max_size=60,
    ),
    st.lists(st.sampled_from([0.0, 1e5, 1e6, 3e6]), min_size=2, max_size=6),
)
def test_every_task_keeps_exactly_one_rank(
    tasks: list[tuple[int, int, float]], speeds: list[float]
) -> None:
    found = book(tasks, len(speeds))
    before = [found.total(r) for r in range(len(speeds))]
    moves = rebalance(found, speeds)
    for index, (_, pulse, _) in enumerate(tasks):
        assert len(found.holders((pulse, index))) == 1
    assert sum(found.total(r) for r in range(len(speeds))) == pytest.approx(sum(before))
    if any(speeds):
        for rank, speed in enumerate(speeds):
            if not speed:
                assert found.idle(rank), "a silent rank loses everything"
        assert all(speeds[move.target] > 0.0 for move in moves)
    else:
        assert not moves
    for move in moves:
        assert move.target in found.holders(move.key) or any(
            later.key == move.key and later.source == move.target for later in moves
        )


def test_loads_come_within_the_thresholds() -> None:
    found = book([(0, 0, 1000.0)] * 200, 4)
    moves = rebalance(found, [1e6] * 4)
    assert moves
    for rank in range(4):
        assert UNDERLOADED * 50_000 <= found.total(rank) <= OVERLOADED * 50_000
    assert not rebalance(found, [1e6] * 4), "what is balanced stays where it is"


def test_what_has_begun_stays_and_trifles_are_not_moved() -> None:
    found = book([(0, 0, 1e6)], 2)
    assert not rebalance(found, [1e6, 1e6])
    trifles = book([(0, 0, 10.0)] * 50, 2)
    assert not rebalance(trifles, [1e6, 1e6])


def test_a_rank_held_up_by_a_heavy_task_gets_less_of_the_next_pulse() -> None:
    tasks = [(0, 0, 200_000.0)] + [(1, 0, 10_000.0)] * 5
    tasks += [(r, 1, 10_000.0) for r in (0, 1) for _ in range(10)]
    found = book(tasks, 2)
    assert rebalance(found, [1e6, 1e6])
    assert found.load(0, 1) < found.load(1, 1)
    assert found.load(0, 0) == 200_000.0


def test_what_a_slow_rank_has_begun_is_backed_up_once() -> None:
    found = book([(0, 0, 1e6)], 3)
    assert not back_up(found, [1e6, 1e6, 1e6], [0.0] * 3, [1, 2])
    (move,) = back_up(found, [2e5, 1e6, 1e6], [0.0] * 3, [1, 2])
    assert move.copied
    assert found.holders((0, 0)) == (0, move.target)
    assert not back_up(found, [2e5, 1e6, 1e6], [0.0] * 3, [1, 2])
    found.finish((0, 0))
    assert found.idle(0)
    assert found.idle(move.target)


def test_speeds_follow_what_ranks_report() -> None:
    speeds = SpeedBook([1000, 1000, 0])
    for beat in range(1, 9):
        speeds.hear(0, 500_000 * beat, 7, 500 * beat)
        speeds.hear(1, 250_000 * beat, 0, 500 * beat)
    speeds.hear(0, 10, 0, 5)
    assert speeds.speeds[0] == pytest.approx(1e6)
    assert speeds.speeds[1] == pytest.approx(5e5)
    assert speeds.speeds[2] == 0.0
    assert speeds.spent[0] == 7.0
    assert speeds.learn()
    assert speeds.shares[0] == pytest.approx(2 * speeds.shares[1], rel=0.01)
    assert speeds.shares[2] == 0
    assert not speeds.learn(), "within the thresholds nothing changes"
