"""Quorum arithmetic for every membership that can occur."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.errors import InternalError
from morsr_mpi.consensus.quorum import max_faulty, quorum


@given(st.integers(1, 10**9))
def test_two_quorums_share_an_honest_member_and_the_honest_suffice(n: int) -> None:
    f, q = max_faulty(n), quorum(n)
    assert 3 * f + 1 <= n < 3 * (f + 1) + 1
    assert 2 * q - n >= f + 1
    assert q <= n - f
    assert 2 * (q - 1) - n < f + 1, "a smaller quorum would do"


def test_known_values() -> None:
    assert [(max_faulty(n), quorum(n)) for n in (1, 2, 3, 4, 7, 128)] == [
        (0, 1), (0, 2), (0, 2), (1, 3), (2, 5), (42, 86),
    ]  # fmt: skip


@pytest.mark.parametrize("n", [0, -3])
def test_no_members_no_quorum(n: int) -> None:
    with pytest.raises(InternalError):
        quorum(n)
