"""The trace: what is kept, how large it gets, and that it is what Perfetto opens."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import morsr_mpi
from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.app.accounting import Meter
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.spans import CHECKPOINT, VOTED, Spans, read_spans
from morsr_mpi.app.telemetry import spans_file
from morsr_mpi.app.trace import write_trace
from morsr_mpi.base import config


def filled(count: int, limit: int, offset: float = 0.0, every: float = 0.02) -> Spans:
    """Spans of a rank that explores and exchanges in turn."""
    spans = Spans(limit, offset)
    for i in range(count):
        spans.add("explore" if i % 2 else "exchange", i * every, 0.5 * every)
    return spans


def test_a_meter_tells_what_took_long_enough() -> None:
    clock = ManualClock(0.0)
    spans = Spans(100, 1000.0)
    meter = Meter(clock, spans)
    for category, seconds in (("exchange", 0.5), ("explore", 1e-6), ("commit", 0.2), ("wait", 3.0)):
        meter.turn_to(category)
        clock.sleep(seconds)
    meter.turn_to("explore")
    table = read_spans(spans.to_bytes()).table
    # From its first turn on; what is too short is left out, and waiting is no span.
    assert table["length"].tolist() == pytest.approx([0.5, 0.2])
    assert table["start"].tolist() == pytest.approx([1000.0, 1000.500001])


def test_slices_that_go_on_are_one_span() -> None:
    spans = Spans(100, 0.0)
    for i in range(100):
        spans.add("explore", 0.004 * i, 0.00395)
    table = read_spans(spans.to_bytes()).table
    assert len(table) == 4 or len(table) == 5
    assert table["length"].max() <= config.TRACE_JOINED_SECONDS
    assert table["length"].sum() == pytest.approx(0.4, rel=0.01)


@given(st.integers(0, 3000), st.integers(50, 400))
def test_a_list_of_spans_is_bounded_and_keeps_whole_windows(count: int, limit: int) -> None:
    spans = filled(count, limit)
    one_window = 50
    assert len(spans) <= max(limit, one_window + limit // 4) + 1
    found = read_spans(spans.to_bytes())
    window = (found.table["start"] / config.TRACE_WINDOW_SECONDS).astype(int)
    assert set(window % found.stride) <= {0}
    whole = filled(count, 10**9)
    expected = Counter((read_spans(whole.to_bytes()).table["start"]).astype(int).tolist())
    kept = Counter(window.tolist())
    assert all(kept[w] == n for w, n in expected.items() if w % found.stride == 0)


def test_checkpoints_and_failures_stay() -> None:
    spans = Spans(200, 0.0)
    for second in range(1000):
        spans.add(CHECKPOINT, second + 0.5, 0.1, second)
        spans.add("explore", second + 0.7, 0.1)
    spans.fail(3.0, "rank 2 died")
    found = read_spans(spans.to_bytes())
    assert found.texts == [(3.0, "rank 2 died")]
    assert (found.table["number"] >= 0).sum() == 1000
    assert (found.table["number"] < 0).sum() < 100


@given(st.binary(max_size=80), st.integers(0, 400))
def test_what_is_no_file_of_spans_is_refused(junk: bytes, cut: int) -> None:
    spans = filled(10, 100)
    spans.fail(1.0, "a line")
    whole = spans.to_bytes()
    for data in (junk, whole[: min(cut, len(whole) - 1)]):
        with pytest.raises(ValueError, match=r".+"):
            read_spans(data)


def traced(path: Path, ranks: int, count: int) -> RunDirectory:
    """A run directory with spans of some ranks."""
    run = RunDirectory(path)
    run.telemetry.mkdir(parents=True)
    for rank in range(ranks):
        spans = filled(count, 10**9, offset=1e9)
        spans.add(VOTED, 0.01, 0.3, 7)
        spans.fail(0.5, f'rank {rank}: "quoted"')
        spans_file(run, rank).write_bytes(spans.to_bytes())
    return run


def well_formed(path: Path) -> list[dict[str, Any]]:
    """The events of a trace, each looked at by the rules of the format."""
    whole = json.loads(path.read_bytes())
    for event in whole["traceEvents"]:
        assert event["ph"] in "XMi"
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert event["name"]
        if event["ph"] != "M":
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
    events: list[dict[str, Any]] = whole["traceEvents"]
    return events


def test_a_trace_has_a_process_for_each_rank(tmp_path: Path) -> None:
    run = traced(tmp_path, 3, 50)
    (run.telemetry / "rank-00009.spans").write_bytes(b"torn")
    write_trace(run, "token")
    events = well_formed(run.trace)
    names = {e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names == {"rank 0", "rank 1", "rank 2"}
    assert sum(e["ph"] == "X" for e in events) == 3 * 51
    assert {e["args"]["pulse"] for e in events if e["name"] == "commit to certificate"} == {7}
    assert [e["name"] for e in events if e["ph"] == "i"] == [
        f'rank {r}: "quoted"' for r in range(3)
    ]
    assert json.loads(run.trace.read_bytes())["otherData"]["unreadable"] == ["rank-00009.spans"]


def test_a_trace_stays_below_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = traced(tmp_path, 4, 5000)
    monkeypatch.setattr(config, "TRACE_BYTES", 200_000)
    size = write_trace(run)
    assert 20_000 < size < 200_000
    events = well_formed(run.trace)
    by_rank = Counter(e["pid"] for e in events if e["ph"] == "X")
    assert len(set(by_rank.values())) == 1  # the same windows of all
    assert json.loads(run.trace.read_bytes())["otherData"]["every_nth_window"] > 1
    assert not list(tmp_path.glob(".*"))


def test_as_many_spans_as_are_kept_fit_the_limit(tmp_path: Path) -> None:
    """The longest numbers that a year has, in as many spans as there may be at all."""
    run = RunDirectory(tmp_path)
    run.telemetry.mkdir()
    spans = filled(1000, 10**9, offset=3e7)
    spans.add(VOTED, -3e7, 0.3, 2**40)
    spans_file(run, 99999).write_bytes(spans.to_bytes())
    size = write_trace(run)
    assert size / 1001 * config.TRACE_SPANS < config.TRACE_BYTES


def test_a_run_leaves_a_trace(large: Path, tmp_path: Path) -> None:
    problem, where = morsr_mpi.Problem.load(large), tmp_path / "run"
    morsr_mpi.solve(problem, run_dir=where, ranks=3, work=200_000, checkpoint_every=0.5)
    events = well_formed(where / "trace.json")
    kinds = Counter(e["name"] for e in events if e["ph"] == "X")
    assert {"explore", "exchange", "commit, plan", "commit to certificate"} <= kinds.keys()
    assert {e["pid"] for e in events if e["name"] == "explore"} == {0, 1, 2}
    spans = sorted(
        (e["ts"], e["dur"]) for e in events if e["pid"] == 1 and e["tid"] == 0 and e["ph"] == "X"
    )
    overlap = [a + d - b for (a, d), (b, _) in pairwise(spans)]
    assert np.max(overlap) <= 2  # rounding; one thing at a time
