"""What a run cost: every rank's share is told, written and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

import morsr_mpi
from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.hdf5_result import load_run
from morsr_mpi.app.account import Account, run_entries, summary
from morsr_mpi.app.accounting import CATEGORIES, Meter
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.base.errors import InternalError
from morsr_mpi.node.channel import Traffic


def test_time_goes_to_what_the_rank_is_at() -> None:
    clock = ManualClock(0.0)
    meter = Meter(clock)
    clock.sleep(1.0)
    assert meter.turn_to("exchange") == "wait"
    clock.sleep(2.0)
    assert meter.measure("commit", lambda: (clock.sleep(4.0), 5)[1]) == 5
    clock.sleep(8.0)
    meter.turn_to("wait")
    assert meter.seconds["wait"] == 1.0
    assert meter.seconds["commit"] == 4.0
    assert meter.seconds["exchange"] == 10.0
    meter.reclassify("exchange", 3.0, "wait")
    assert (meter.seconds["exchange"], meter.seconds["wait"]) == (3.0, 8.0)


def test_an_account_survives_its_bytes() -> None:
    traffic = {"DONE": Traffic(1, 90, 91), "CHAMBER_ASSIGNMENT": Traffic(7, 900, 300)}
    cpu = tuple(float(i) for i in range(len(CATEGORIES)))
    account = Account(cpu, 50.0, 40.0, 3, 10**12, 4, 5, 2, traffic)
    assert Account.from_bytes(account.to_bytes()) == account
    with pytest.raises(InternalError):
        Account.from_bytes(b"\x80")
    entries = run_entries([account, account])
    assert entries["sent_types"] == ["CHAMBER_ASSIGNMENT", "DONE"]
    assert entries["sent_bytes"] == [600, 182]
    line = summary(entries)
    assert "without a task 20.0 %" in line
    assert "2.5 : 1" in line
    assert summary({}) == ""


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_run_directory_tells_what_it_cost(small: Path, tmp_path: Path, ranks: int) -> None:
    problem = morsr_mpi.Problem.load(small)
    morsr_mpi.solve(problem, run_dir=tmp_path / "run", ranks=ranks)
    story = load_run(tmp_path / "run" / "result.h5")
    for name in CATEGORIES:
        assert len(story[f"cpu_{name}"]) == ranks
        assert min(story[f"cpu_{name}"]) >= 0.0
    assert sum(story["cpu_explore"]) > 0.0
    assert sum(story["tasks"]) > 0
    assert ("sent_types" in story) == (ranks > 1)
    if ranks > 1:
        assert "OPTIMIZATION_RESULT" in story["sent_types"]
        assert all(p <= q for p, q in zip(story["sent_messages"], story["sent_bytes"], strict=True))
    assert "explore" in dict(inspect_run(tmp_path / "run", check=False).lines)["cost"]
