"""The scale model: the same as the simulation by messages, where both can be had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from morsr_mpi.app.simulate.calibration import Calibration, Recorded, load_calibration
from morsr_mpi.app.simulate.model import PULSES, predict, pulses_of
from morsr_mpi.app.simulate.predict_nodes import UNITS_PER_SECOND, predict_nodes
from morsr_mpi.app.simulate.predict_votes import predict_votes
from morsr_mpi.app.simulate.workload import Item
from morsr_mpi.base.errors import InputError, UsageError

CALIBRATION = load_calibration()
SHM = CALIBRATION.network("shm")


def small(calibration: Calibration) -> Calibration:
    """The calibration with one short recorded run: 12 pulses of 64 tasks of about 20 ms."""
    pulses = tuple(
        tuple((0.005 + 0.001 * ((7 * i + 3 * p) % 31), 200, 20.0) for i in range(64))
        for p in range(12)
    )
    recorded = Recorded(8, pulses, 2e-5, 3e-5, 1e-3, 0.0)
    return replace(calibration, workloads={"b": {8: recorded}})


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_pulses_and_messages_give_the_same_efficiency(ranks: int) -> None:
    cal = small(CALIBRATION)
    recorded = cal.recorded("b", 8)
    workload = tuple(
        tuple(Item(int(t * UNITS_PER_SECOND), size, w) for t, size, w in pulse)
        for pulse in pulses_of(recorded, "b", PULSES)
    )
    exact = predict_nodes(
        cal, SHM, workload, ranks, recorded.plan, recorded.commit, recorded.digest
    )
    rough = predict(cal, SHM, "b", 8, ranks, recheck=0.0)
    assert rough.efficiency == pytest.approx(exact.efficiency, rel=0.05)


def test_one_rank_alone_only_computes() -> None:
    assert predict(small(CALIBRATION), SHM, "b", 8, 1, recheck=0.0).efficiency > 0.97


def test_tenfold_crypto_is_seen() -> None:
    cal = small(CALIBRATION)
    cheap = predict(cal, SHM, "b", 8, 8)
    dear = predict(cal.with_crypto(10.0), SHM, "b", 8, 8)
    assert dear.efficiency < 0.99 * cheap.efficiency
    assert dear.communication > 3.0 * cheap.communication
    assert dear.vote_latency > 3.0 * cheap.vote_latency


def test_shares_add_up_to_one() -> None:
    p = predict(small(CALIBRATION), SHM, "b", 8, 4)
    total = p.efficiency + p.communication + p.planning + p.recheck + p.waiting
    assert total == pytest.approx(1.0)
    assert p.recovery > p.vote_latency > 0.0


def test_larger_clusters_vote_longer() -> None:
    four, sixteen = (predict_votes(CALIBRATION, SHM, n) for n in (4, 16))
    assert 0.0 < four.latency < sixteen.latency
    assert four.reform > 0.0


def test_what_was_not_recorded_is_refused() -> None:
    with pytest.raises(UsageError, match="benchmarks/calibrate"):
        CALIBRATION.recorded("a", 123)
    with pytest.raises(UsageError, match="there are"):
        CALIBRATION.network("pigeon")


def test_a_file_that_is_no_calibration_is_refused(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "x.json"
    path.write_text("{}")
    with pytest.raises(InputError, match="no calibration"):
        load_calibration(path)
