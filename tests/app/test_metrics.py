"""Metrics: histograms, merging over ranks, the Prometheus file, the history of a run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import morsr_mpi
from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.hdf5_result import load_result, solution_digest
from morsr_mpi.app import telemetry
from morsr_mpi.app.histogram import BOUNDS, Histogram, merged
from morsr_mpi.app.metrics import (
    NOTHING,
    DistributedMORSRMetrics,
    RankFigures,
    Standing,
    Totals,
    measure,
    prometheus_text,
)
from morsr_mpi.app.recorder import Pace, Recorder
from morsr_mpi.base import config

TIMES = st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=60)


@given(TIMES, st.floats(0.01, 1.0))
def test_a_quantile_is_that_of_the_times_to_within_a_bucket(times: list[float], q: float) -> None:
    found = Histogram()
    for seconds in times:
        found.add(seconds)
    exact = sorted(times)[max(0, math.ceil(q * len(times)) - 1)]
    wanted = next((bound for bound in BOUNDS if bound >= exact), BOUNDS[-1])
    assert found.quantile(q) == wanted


@given(TIMES, TIMES)
def test_histograms_of_ranks_add_up(a: list[float], b: list[float]) -> None:
    parts = [Histogram(), Histogram()]
    whole = Histogram()
    for part, times in zip(parts, (a, b), strict=True):
        for seconds in times:
            part.add(seconds)
            whole.add(seconds)
    total = merged(parts)
    assert total.counts == whole.counts
    assert total.total == pytest.approx(whole.total)
    assert total.minus(parts[0]).counts == parts[1].counts
    again = Histogram.from_json(json.loads(json.dumps(total.to_json())))
    assert (again.counts, again.total) == (total.counts, total.total)


@pytest.mark.parametrize(
    "bad", [None, {}, {"total": 1, "at": {"99": 1}}, {"total": 1, "at": {"x": 1}}]
)
def test_a_histogram_refuses_what_is_none(bad: object) -> None:
    with pytest.raises(ValueError, match=r"histogram|invalid"):
        Histogram.from_json(bad)


STANDING = Standing(
    pulse=9, incumbent=50.0, bound=40.0, gap=0.2, work=7, frontier=3, targets_done=0, targets=1,
    certified=0, lost=1,
)  # fmt: skip


def figures(rank: int, **changed: float) -> RankFigures:
    """What a rank tells that has explored for 3 of 4 seconds."""
    recorder = Recorder(rank, ManualClock(), None)
    sample = json.loads(json.dumps(recorder.sample()))
    took = Histogram()
    took.add(0.1)
    sample |= {"wall": 4.0, "process_cpu": 3.5, "busy": 3.0, "tasks": 10, "known": 4}
    sample |= {"slot_bytes": 500_000, "frame_bytes": 500_000, "decisions": 6, "views": 2}
    sample["cpu"]["explore"] = 3.0
    sample["latencies"]["task"] = took.to_json()
    sample |= changed
    found = RankFigures.of(sample, "")
    assert found is not None
    return found


def test_every_field_of_the_paper_is_measured() -> None:
    totals = Totals.of([figures(0), figures(1)])
    first = replace(STANDING, pulse=1, incumbent=66.0, gap=0.8)
    found = measure(totals, NOTHING, 4.0, STANDING, first)
    assert found.throughput_ops_per_second == 5.0
    assert 100.0 <= found.latency_p99_ms <= 150.0
    assert found.parallel_efficiency == 0.75
    assert found.cpu_utilization_percent == 87.5
    assert 0.0 < found.memory_utilization_percent <= 100.0
    assert found.network_bandwidth_mbps == pytest.approx(4.0)
    assert found.node_failure_rate == 450.0  # one in eight seconds of one rank
    assert found.consensus_success_rate == 0.75
    assert found.cache_hit_rate == 0.4
    assert found.convergence_rate == pytest.approx(1.0 - 0.25 ** (1 / 8))
    assert found.objective_improvement_per_iteration == 2.0
    assert found.exploration_coverage == 0.8
    later = Totals.of([figures(0, tasks=16, wall=6.0), figures(1, wall=6.0)])
    window = measure(later, totals, 2.0, STANDING, first)
    assert window.throughput_ops_per_second == 3.0
    assert window.parallel_efficiency == 0.0
    assert window.latency_p99_ms == 0.0


def test_nothing_measured_is_no_error() -> None:
    nothing = replace(STANDING, incumbent=math.inf, bound=0.0, gap=math.inf, pulse=0, lost=0)
    found = measure(NOTHING, NOTHING, 0.0, nothing, None)
    assert all(math.isfinite(getattr(found, field.name)) for field in fields(found))


def test_the_text_is_what_prometheus_reads() -> None:
    totals = Totals.of([figures(0), figures(3)])
    standing = replace(STANDING, gap=math.inf)
    metrics = measure(totals, NOTHING, 4.0, standing, None)
    text = prometheus_text(metrics, totals, standing, {"run": 'a "run"\\\n'}, 1e9)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for field in fields(DistributedMORSRMetrics):
        family = families[f"morsr_{field.name}"]
        assert family.documentation
        (sample,) = family.samples
        assert sample.value == getattr(metrics, field.name)
        assert sample.labels == {"run": 'a "run"\\\n'}
    assert families["morsr_gap"].samples[0].value == math.inf
    assert {s.labels["rank"] for s in families["morsr_busy_seconds"].samples} == {"0", "3"}
    buckets = [s for s in families["morsr_task_seconds"].samples if s.name.endswith("_bucket")]
    assert [s.value for s in buckets] == sorted(s.value for s in buckets)
    assert buckets[-1].labels["le"] == "+Inf"
    assert buckets[-1].value == 2


def test_figures_of_another_start_or_damaged_ones_are_passed_over(tmp_path: Path) -> None:
    run = telemetry.RunDirectory(tmp_path)
    run.telemetry.mkdir()
    recorder = Recorder(1, ManualClock(), None)
    recorder.token = "now"
    good = json.dumps(recorder.sample())
    telemetry.figures_file(run, 1).write_text(good)
    telemetry.figures_file(run, 2).write_text(good.replace('"now"', '"before"'))
    telemetry.figures_file(run, 3).write_text(good[:40])
    telemetry.figures_file(run, 4).write_text("[]")
    assert [found.rank for found in telemetry.read_figures(run, "now")] == [1]


def test_figures_keep_within_their_share_of_the_processor() -> None:
    clock = ManualClock(0.0)
    pace = Pace(clock)
    told = 0
    for _ in range(100_000):
        clock.sleep(0.01)
        cost = 0.02 * told
        if pace.due(clock.now(), cost):
            told += 1
            pace.done(clock.now())
    assert told > 10
    rate = 0.02 * told / clock.now()
    assert rate <= config.METRICS_COST + 0.02 / config.METRICS_LATE_SECONDS


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_run_leaves_its_metrics(large: Path, tmp_path: Path, ranks: int) -> None:
    problem = morsr_mpi.Problem.load(large)
    where = tmp_path / "run"
    result = morsr_mpi.solve(problem, run_dir=where, ranks=ranks, work=200_000)
    text = (where / "metrics.prom").read_text()
    found = {f.name: f.samples[0].value for f in text_string_to_metric_families(text) if f.samples}
    assert found["morsr_ranks"] == ranks
    assert found["morsr_work"] == result.work.sum()
    assert found["morsr_tasks"] > 0
    assert found["morsr_incumbent"] == pytest.approx(result.objective.sum())
    assert 0.0 < found["morsr_parallel_efficiency"] <= 1.0
    assert 0.0 < found["morsr_exploration_coverage"] < 1.0
    lines = [json.loads(line) for line in (where / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["final"]
    assert lines[-1]["ranks"] == list(range(ranks))
    assert lines[-1]["metrics"].keys() == {f.name for f in fields(DistributedMORSRMetrics)}
    elapsed = [line["elapsed"] for line in lines]
    assert elapsed == sorted(elapsed)
    assert not (where / "telemetry").exists()


def test_a_resumed_run_goes_on_with_its_history(large: Path, tmp_path: Path) -> None:
    problem, where = morsr_mpi.Problem.load(large), tmp_path / "run"
    morsr_mpi.solve(problem, run_dir=where, work=100_000)
    morsr_mpi.solve(problem, run_dir=where, work=200_000, resume=True)
    lines = [json.loads(line) for line in (where / "metrics.jsonl").read_text().splitlines()]
    assert [line["start"] for line in lines if line["final"]] == [0, 1]
    assert lines[-1]["work"] > lines[0]["work"]


def broken(*_: Any, **__: Any) -> Any:
    """What must not cost a run its result."""
    raise RuntimeError("no")


@pytest.mark.parametrize("what", ["write_trace", "prometheus_text", "replace_file", "read_figures"])
def test_what_goes_wrong_with_figures_costs_no_result(
    what: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = morsr_mpi.Problem.load(small)
    whole = morsr_mpi.solve(problem, run_dir=tmp_path / "whole")
    monkeypatch.setattr(telemetry, what, broken)
    result = morsr_mpi.solve(problem, run_dir=tmp_path / "run")
    assert result.objective.tolist() == whole.objective.tolist()
    where = tmp_path / "run" / "result.h5"
    assert solution_digest(where) == solution_digest(tmp_path / "whole" / "result.h5")
    assert load_result(where).certified.all()
    assert "not written: RuntimeError: no" in (tmp_path / "run" / "log.txt").read_text()


def test_without_a_run_directory_nothing_is_recorded(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(telemetry, "Recorder", broken)
    assert morsr_mpi.solve(morsr_mpi.Problem.load(small)).certified.all()
    assert not list(tmp_path.iterdir())


def test_no_trace_when_none_is_wanted(
    small: Path, tmp_path: Path, morsr: Callable[..., Any]
) -> None:
    morsr(["solve", small, "--run-dir", tmp_path / "run", "--no-trace"]).check()
    assert (tmp_path / "run" / "metrics.prom").exists()
    assert not (tmp_path / "run" / "trace.json").exists()


def test_the_dashboard_shows_figures_that_there_are() -> None:
    totals = Totals.of([figures(0)])
    metrics = measure(totals, NOTHING, 4.0, STANDING, None)
    text = prometheus_text(metrics, totals, STANDING, {"run": "x"}, 1e9)
    there = {s.name for f in text_string_to_metric_families(text) for s in f.samples}
    dashboard = json.loads((Path(__file__).parents[2] / "docs" / "grafana.json").read_text())
    shown: set[str] = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            found = set(re.findall(r"morsr_\w+", target["expr"]))
            assert found
            shown |= found
    assert shown <= there
    assert {f"morsr_{field.name}" for field in fields(DistributedMORSRMetrics)} - shown <= {
        "morsr_latency_p99_ms"  # shown out of its histogram
    }
