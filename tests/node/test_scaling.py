"""Algorithm 8.1 with what "consistently" means: thresholds, hysteresis, bounds, pauses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.errors import UsageError
from morsr_mpi.cluster.scaling import Autoscaler, Load, ScalingPolicy

POLICY = ScalingPolicy(hold=30.0, cool_down=100.0, least=2, most=12)
BUSY, IDLE, CALM = (0.95, 0.8), (0.1, 0.2), (0.6, 0.6)


def decide(scaler: Autoscaler, size: int, *looks: tuple[float, float, float]) -> list[int]:
    """Sizes decided on; looks are (time, cpu, memory) at this size."""
    found = []
    for at, cpu, memory in looks:
        decision = scaler.observe(Load(at, size, cpu, memory))
        if decision is not None:
            assert decision.before == size
            found.append(decision.after)
    return found


def test_the_papers_thresholds_and_factors_are_the_defaults() -> None:
    policy = ScalingPolicy()
    assert (policy.cpu_up, policy.memory_up) == (0.8, 0.75)
    assert (policy.cpu_down, policy.memory_down) == (0.3, 0.4)
    assert [policy.larger(n) for n in (1, 2, 4, 10, 60)] == [2, 3, 6, 15, 64]
    assert [policy.smaller(n) for n in (1, 2, 4, 10, 60)] == [1, 1, 3, 7, 42]


def test_a_load_has_to_last() -> None:
    assert decide(Autoscaler(POLICY), 4, (0, *BUSY), (29, *BUSY)) == []
    assert decide(Autoscaler(POLICY), 4, (0, *BUSY), (29, *BUSY), (30, *BUSY)) == [6]
    assert decide(Autoscaler(POLICY), 4, (0, *BUSY), (20, *CALM), (31, *BUSY), (60, *BUSY)) == []
    assert decide(Autoscaler(POLICY), 10, (0, *IDLE), (30, *IDLE)) == [7]


def test_both_processors_and_memory_have_to_be_beyond() -> None:
    for cpu, memory in ((0.95, 0.5), (0.5, 0.9), (0.1, 0.9), (0.9, 0.1)):
        assert decide(Autoscaler(POLICY), 4, (0, cpu, memory), (99, cpu, memory)) == []


def test_a_load_that_hovers_around_a_threshold_does_not_start_the_wait_again() -> None:
    hovers = [(float(t), 0.81 if t % 2 else 0.77, 0.8) for t in range(1, 32)]
    assert decide(Autoscaler(POLICY), 4, *hovers) == [6]
    falls = [(float(t), 0.81 if t % 2 else 0.74, 0.8) for t in range(1, 90)]
    assert decide(Autoscaler(POLICY), 4, *falls) == []


def test_after_a_decision_there_is_a_pause() -> None:
    scaler = Autoscaler(POLICY)
    looks = [(float(t), *BUSY) for t in range(0, 131, 5)]
    assert decide(scaler, 4, *looks) == [6, 6], "at 30 s, and when the pause is over"
    assert decide(scaler, 6, (131.0, *BUSY)) == []


def test_at_a_bound_nothing_is_decided() -> None:
    assert decide(Autoscaler(POLICY), 12, (0, *BUSY), (99, *BUSY)) == []
    assert decide(Autoscaler(POLICY), 2, (0, *IDLE), (99, *IDLE)) == []
    assert decide(Autoscaler(POLICY), 1, (0, *BUSY), (99, *BUSY)) == [2]


LOOKS = st.lists(
    st.tuples(st.floats(0.1, 60.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0)), max_size=60
)


@given(looks=LOOKS, size=st.integers(1, 40))
def test_whatever_the_load_sizes_stay_within_bounds_and_pauses_are_kept(
    looks: list[tuple[float, float, float]], size: int
) -> None:
    scaler, at, last = Autoscaler(POLICY), 0.0, float("-inf")
    for step, cpu, memory in looks:
        at += step
        decision = scaler.observe(Load(at, size, cpu, memory))
        if decision is None:
            continue
        assert POLICY.least <= decision.after <= POLICY.most
        assert decision.after != size
        assert at - last >= POLICY.cool_down
        grows = decision.after > size
        assert (cpu > 0.74 and memory > 0.69) if grows else (cpu < 0.36 and memory < 0.46)
        size, last = decision.after, at


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu_up": 1.2},
        {"cpu_up": 0.2},
        {"least": 5, "most": 4},
        {"grow": 1.0},
        {"shrink": 1.0},
        {"hold": -1.0},
    ],
)
def test_policies_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        ScalingPolicy(**wrong)  # type: ignore[arg-type]
