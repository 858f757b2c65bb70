"""Who computes what: shares follow capacity, few tasks move, nothing is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.digest import digest_of
from morsr_mpi.base.errors import InternalError
from morsr_mpi.cluster.assignment import OVERLOADED, assign
from morsr_mpi.cluster.rendezvous import homes

IDS = [digest_of("task", i) for i in range(4000)]


def test_homes_share_by_capacity() -> None:
    found = homes(IDS, [1.0, 2.0, 0.0, 5.0])
    shares = [found.count(r) / len(IDS) for r in range(4)]
    assert shares == pytest.approx([1 / 8, 2 / 8, 0.0, 5 / 8], abs=0.03)


def test_a_rank_that_leaves_moves_only_its_own_tasks() -> None:
    before = homes(IDS, [1.0] * 5)
    after = homes(IDS, [1.0, 1.0, 0.0, 1.0, 1.0])
    assert all(a == b for a, b in zip(before, after, strict=True) if b == a or a != 2)
    assert 2 not in after


@given(
    st.lists(st.floats(0.0, 1e6), max_size=60),
    st.lists(st.floats(0.0, 8.0).filter(lambda c: c == 0.0 or c > 0.01), min_size=1, max_size=9),
)
def test_every_task_gets_a_rank_with_capacity(weights: list[float], caps: list[float]) -> None:
    ids = IDS[: len(weights)]
    if not any(caps):
        with pytest.raises(InternalError):
            assign(ids, weights, caps)
        return
    found = assign(ids, weights, caps)
    assert len(found) == len(ids)
    assert all(caps[rank] > 0.0 for rank in found)
    assert found == assign(ids, weights, caps)


def test_loads_stay_within_the_threshold() -> None:
    found = assign(IDS[:256], [1.0] * 256, [1.0] * 4)
    assert max(found.count(r) for r in range(4)) <= OVERLOADED * 64
    assert len(set(assign(IDS[:4], [1.0] * 4, [1.0] * 4))) == 4
