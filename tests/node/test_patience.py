"""How long others may be silent follows how seldom this rank looks at them."""

from __future__ import annotations

import pytest

from morsr_mpi.base.config import PATIENCE, PATIENCE_HALF_LIFE_SECONDS, TAKE_OVER_SECONDS
from morsr_mpi.node.events import Tick
from morsr_mpi.node.life import LifeSigns
from morsr_mpi.node.patience import Patience, allowed


def test_a_rank_that_looks_often_gives_others_the_plain_limit() -> None:
    patience = Patience()
    for step in range(100):
        patience.look(0.004 * step, 0.004 * step)
    assert patience.longest == pytest.approx(0.004)
    assert patience.allowed(0.2) == 0.2


def test_a_long_step_of_its_own_makes_it_patient_for_a_while() -> None:
    patience = Patience()
    patience.look(0.0, 0.0)
    assert patience.look(1.0, 0.9) == 1.0
    assert patience.allowed(0.2) == PATIENCE
    patience.look(1.0 + PATIENCE_HALF_LIFE_SECONDS, 0.9)
    assert patience.longest == pytest.approx(0.5)


def test_a_stop_of_the_process_says_nothing_of_the_others() -> None:
    patience = Patience()
    patience.look(0.0, 0.0)
    assert patience.look(5.0, 0.001) == 5.0
    assert patience.longest == 0.0


def test_what_another_rank_found_counts_and_the_time_until_then_does_not() -> None:
    patience = Patience()
    patience.look(0.0, 0.0)
    patience.learn(0.7)
    assert patience.look(9.0, 9.0) == 0.0
    assert (patience.longest, patience.milliseconds) == (0.7, 700)


def test_take_over_waits_as_long_as_the_measure_says() -> None:
    life = LifeSigns(0, 2, 0.0)
    for gap in (0.0, 0.3):
        for step in range(1, 200):
            now = 100.0 * gap + 0.01 * step
            life.tick(Tick(now, gap=gap))
            if step == 1:
                life.hear(1)
                heard = now
            elif now - heard < allowed(TAKE_OVER_SECONDS, gap):
                assert life.silent() == []
        assert life.silent() == [1]
