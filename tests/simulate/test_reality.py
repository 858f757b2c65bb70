"""Counts of simulated runs equal those of real ones over MPI, exactly, but what time drives."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from morsr_mpi.app.simulate.calibration import load_calibration
from morsr_mpi.app.simulate.predict_nodes import even_workload, predict_nodes

PROGRAM = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "reality.py"
PULSES, UNITS, RESULT_BYTES = 6, 2000, 200
#: Driven by time: how many there are depends on how long a machine took.
TIMED = ("HEARTBEAT", "CONSENSUS_VOTE")


def check(mpi: Callable[..., Any], ranks: int) -> None:
    arguments = ["--rank", str(PULSES), "1", str(UNITS)]
    out = mpi(ranks, [sys.executable, str(PROGRAM), *arguments], timeout=110).check().out
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert len(lines) == ranks
    messages, sizes = Counter[str](), Counter[str]()
    for line in lines:
        messages.update(line["messages"])
        sizes.update(line["bytes"])
    cal = load_calibration()
    workload = even_workload(PULSES, ranks, 1, UNITS, RESULT_BYTES)
    model = predict_nodes(cal, cal.network("shm"), workload, ranks)
    for counts in (messages, sizes, model.messages, model.bytes):
        for kind in TIMED:
            counts.pop(kind, None)
    assert messages == model.messages
    assert sizes == model.bytes
    assert lines[0]["tasks"] == model.rank_tasks == [PULSES] * ranks
    assert model.tasks == [ranks] * PULSES


@pytest.mark.subprocess_mpi
@pytest.mark.parametrize("ranks", [2, 4])
def test_counts_equal_those_of_real_runs(mpi: Callable[..., Any], ranks: int) -> None:
    check(mpi, ranks)


@pytest.mark.long
@pytest.mark.subprocess_mpi
@pytest.mark.parametrize("ranks", [8, 16])
def test_counts_equal_those_of_larger_real_runs(mpi: Callable[..., Any], ranks: int) -> None:
    check(mpi, ranks)
