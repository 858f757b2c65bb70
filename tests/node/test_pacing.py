"""What a rank has to say waits for company, and never while somebody could be waiting for it."""

from __future__ import annotations

import pytest

from morsr_mpi.base.config import (
    HOLD_SECONDS,
    HOLD_WITHOUT_LAG_SECONDS,
    MAX_HOLD_SECONDS,
    SLOT_BYTES,
)
from morsr_mpi.cluster.loads import LoadBook
from morsr_mpi.cluster.rebalance import rebalance
from morsr_mpi.node.orders import ChamberScheduler
from morsr_mpi.node.pacing import Pacer, hold_seconds
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.steering import Heartbeat

RESULT = MessageType.OPTIMIZATION_RESULT


def pacer(lag: int = 2, size: int = 2) -> Pacer:
    """A pacer at time 10 whose rank computes the oldest pulse, number 5."""
    found = Pacer(lag, hold_seconds(size, lag))
    found.now = 10.0
    return found


def test_a_result_waits_and_goes_after_the_longest_time() -> None:
    found = pacer()
    found.queued(RESULT, 100)
    found.work(5, 5, 4)
    assert not found.due()
    found.now += 0.9 * HOLD_SECONDS
    assert not found.due()
    found.now += 0.2 * HOLD_SECONDS
    assert found.due()
    assert not found.due(), "it has gone"


@pytest.mark.parametrize("kind", [MessageType.HEARTBEAT, MessageType.PULSE_PROPOSAL])
def test_what_nobody_waits_for_rides_along(kind: MessageType) -> None:
    found = pacer()
    found.queued(kind, 20)
    found.work(5, 5, 4)
    assert not found.due()
    found.queued(MessageType.CHAMBER_ASSIGNMENT, 50)
    assert found.due()


@pytest.mark.parametrize(
    "kind",
    [
        MessageType.CHAMBER_ASSIGNMENT,
        MessageType.TASK_REASSIGNMENT,
        MessageType.STOP_REQUEST,
        MessageType.DONE,
    ],
)
def test_orders_moves_and_the_end_go_at_once(kind: MessageType) -> None:
    found = pacer()
    found.queued(kind, 20)
    found.work(5, 5, 4)
    assert found.due()


def test_a_rank_without_work_keeps_nothing() -> None:
    found = pacer()
    found.queued(RESULT, 100)
    found.work(5, None, 4)
    assert found.due()


def test_the_last_pulse_of_the_lag_is_told_once() -> None:
    found = pacer(lag=2)
    found.queued(RESULT, 100)
    found.work(5, 6, 4)
    assert not found.due(), "others have two more pulses"
    found.work(5, 7, 4)
    assert found.due()
    found.queued(RESULT, 100)
    found.work(5, 7, 4)
    assert not found.due(), "results of that last pulse wait again"
    found.work(6, 8, 4)
    assert found.due()


def test_a_rank_seen_at_the_last_pulse_is_served() -> None:
    found = pacer(lag=2)
    found.queued(RESULT, 100)
    found.work(5, 5, 7)
    assert found.due()


def test_pressing_and_full_slots_go_at_once() -> None:
    found = pacer()
    found.queued(RESULT, 100)
    found.press()
    assert found.due()
    found.queued(RESULT, SLOT_BYTES // 2)
    assert found.due()


def test_pressing_for_nothing_leaves_nothing_behind() -> None:
    found = pacer()
    found.work(5, None, 4)
    assert not found.due()
    found.queued(RESULT, 100)
    found.work(6, 6, 4)
    assert not found.due()


def test_how_long_results_wait() -> None:
    assert hold_seconds(2, 0, free=True) == 0.0
    assert hold_seconds(4, 2, proven=True) == 0.0
    assert hold_seconds(64, 0) == HOLD_WITHOUT_LAG_SECONDS
    assert hold_seconds(2, 1) == HOLD_SECONDS
    assert hold_seconds(4, 2) > HOLD_SECONDS
    assert hold_seconds(10_000, 2) == MAX_HOLD_SECONDS


def test_free_mode_holds_nothing() -> None:
    found = Pacer(2, hold_seconds(2, 2, free=True))
    found.now = 10.0
    found.queued(RESULT, 100)
    found.work(5, 5, 4)
    assert found.due()


def test_a_rank_is_taken_to_go_on_while_it_keeps_results_to_itself() -> None:
    """Heard of long ago it has probably done more, but not more than it may keep to itself."""
    scheduler = ChamberScheduler((1000, 1000), 2, hold=0.1)
    for rank in range(2):
        scheduler.hear(rank, Heartbeat(0, 0, 0))
        scheduler.hear(rank, Heartbeat(100_000, 500, 1000))
        scheduler.heard(rank, 10.0)
    speed = scheduler.speeds[1]
    assert scheduler._ahead(10.0, ()) == [500.0, 500.0]
    scheduler.heard(0, 10.05)
    assert scheduler._ahead(10.05, ()) == pytest.approx([500.0, 500.0 + 0.05 * speed])
    assert scheduler._ahead(99.0, ()) == pytest.approx([500.0 + 0.1 * speed] * 2)
    assert scheduler._ahead(99.0, (1,))[1] == 500.0, "a silent rank computes nothing"


def test_a_rank_that_is_late_by_less_keeps_its_tasks() -> None:
    def moved(late: float) -> int:
        book = LoadBook(2)
        for index in range(4):
            book.add(0, (0, index), 1000)
        return len(rebalance(book, [100_000.0, 100_000.0], None, late))

    assert moved(0.008) > 0
    assert moved(0.05) == 0
