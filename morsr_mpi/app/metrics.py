"""The figures of a whole run out of those of its ranks: DistributedMORSRMetrics (paper 8.3).

What the paper's names mean here stands with the fields, and in `docs/formats/metrics.md`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from morsr_mpi.app.accounting import CATEGORIES
from morsr_mpi.app.histogram import BOUNDS, Histogram, merged
from morsr_mpi.app.recorder import COUNTERS, LATENCIES, RANK_VERSION


@dataclass(frozen=True)
class DistributedMORSRMetrics:
    """The paper's record, field by field.

    throughput_ops_per_second: tasks finished per second, all ranks. latency_p99_ms: of a task,
    from its begin to its result. parallel_efficiency: CPU time of exploring ÷ (ranks × wall time).
    cpu_utilization_percent: CPU time of all kinds likewise; memory_utilization_percent: of the
    fullest host; network_bandwidth_mbps: what all ranks sent, in megabits per second.
    node_failure_rate: ranks lost per rank and hour. consensus_success_rate: decisions made without
    a change of the view ÷ all. cache_hit_rate: tasks whose result was known ÷ all.
    convergence_rate: r where the gap has shrunk as (1 − r)^pulses, the form of Theorem 2.1.
    objective_improvement_per_iteration: by which the incumbents have sunk, per pulse.
    exploration_coverage: proven bound ÷ incumbent: 1 when certified, all below it is excluded.
    """

    throughput_ops_per_second: float = 0.0
    latency_p99_ms: float = 0.0
    parallel_efficiency: float = 0.0
    cpu_utilization_percent: float = 0.0
    memory_utilization_percent: float = 0.0
    network_bandwidth_mbps: float = 0.0
    node_failure_rate: float = 0.0
    consensus_success_rate: float = 1.0
    cache_hit_rate: float = 0.0
    convergence_rate: float = 0.0
    objective_improvement_per_iteration: float = 0.0
    exploration_coverage: float = 0.0


@dataclass(frozen=True)
class Standing:
    """Where the search stands. Sums over targets; gap: inf without a bound; lost: ranks so far."""

    pulse: int
    incumbent: float
    bound: float
    gap: float
    work: int
    frontier: int
    targets_done: int
    targets: int
    certified: int
    lost: int = 0


@dataclass(frozen=True)
class RankFigures:
    """What one rank told (`Recorder.sample`)."""

    rank: int
    time: float
    wall: float
    process_cpu: float
    counters: dict[str, float]
    memory: float
    resident_bytes: int
    decisions: int
    views: int
    latencies: dict[str, Histogram]
    cost: float

    @classmethod
    def of(cls, found: Any, token: str) -> RankFigures | None:
        """Return the figures of a sample, None for one of another start of the run.

        Raises ValueError, KeyError or TypeError for what is none.
        """
        if found["version"] != RANK_VERSION or found["token"] != token:
            return None
        counts = {f"cpu_{name}": float(found["cpu"][name]) for name in CATEGORIES}
        counts |= {name: float(found[name]) for name in COUNTERS}
        return cls(
            int(found["rank"]), float(found["time"]), float(found["wall"]),
            float(found["process_cpu"]), counts, float(found["memory"]),
            int(found["resident_bytes"]), int(found["decisions"]), int(found["views"]),
            {name: Histogram.from_json(found["latencies"][name]) for name in LATENCIES},
            float(found["cost"]),
        )  # fmt: skip


@dataclass(frozen=True)
class Totals:
    """All ranks at one moment. wall: seconds of all ranks together."""

    wall: float
    process_cpu: float
    counters: Counter[str]
    memory: float
    resident_bytes: int
    decisions: int
    views: int
    latencies: dict[str, Histogram]
    cost: float
    busy: dict[int, float]

    @classmethod
    def of(cls, ranks: Sequence[RankFigures]) -> Totals:
        """Add up what ranks told; decisions and views are those of the rank that saw most."""
        counts: Counter[str] = Counter()
        for rank in ranks:
            counts.update(rank.counters)
        return cls(
            sum(rank.wall for rank in ranks),
            sum(rank.process_cpu for rank in ranks),
            counts,
            max((rank.memory for rank in ranks), default=0.0),
            sum(rank.resident_bytes for rank in ranks),
            max((rank.decisions for rank in ranks), default=0),
            max((rank.views for rank in ranks), default=0),
            {name: merged(rank.latencies[name] for rank in ranks) for name in LATENCIES},
            sum(rank.cost for rank in ranks),
            {rank.rank: rank.counters["busy"] for rank in ranks},
        )


#: Before anything was counted.
NOTHING = Totals.of(())


def measure(
    now: Totals, before: Totals, seconds: float, standing: Standing, first: Standing | None
) -> DistributedMORSRMetrics:
    """Return the metrics of a window. before, seconds: its begin and length; first: standing at
    the begin of the run, for what is told per pulse."""
    counts = {name: now.counters[name] - before.counters[name] for name in now.counters}
    wall = now.wall - before.wall
    tasks = counts.get("tasks", 0.0)
    sent = counts.get("slot_bytes", 0.0) + counts.get("frame_bytes", 0.0)
    latency = now.latencies["task"].minus(before.latencies["task"])
    first = first or standing
    pulses = standing.pulse - first.pulse
    return DistributedMORSRMetrics(
        throughput_ops_per_second=_ratio(tasks, seconds),
        latency_p99_ms=1000.0 * latency.quantile(0.99),
        parallel_efficiency=_ratio(counts.get("cpu_explore", 0.0), wall),
        cpu_utilization_percent=100.0 * _ratio(now.process_cpu - before.process_cpu, wall),
        memory_utilization_percent=100.0 * now.memory,
        network_bandwidth_mbps=8e-6 * _ratio(sent, seconds),
        node_failure_rate=_ratio(3600.0 * standing.lost, now.wall),
        consensus_success_rate=_ratio(now.decisions, now.decisions + now.views, 1.0),
        cache_hit_rate=_ratio(now.counters["known"], now.counters["tasks"]),
        convergence_rate=_convergence(first.gap, standing.gap, pulses),
        objective_improvement_per_iteration=_ratio(first.incumbent - standing.incumbent, pulses)
        if math.isfinite(first.incumbent)
        else 0.0,
        exploration_coverage=1.0
        if standing.certified == standing.targets
        else min(1.0, _ratio(standing.bound, standing.incumbent)),
    )


def _ratio(a: float, b: float, otherwise: float = 0.0) -> float:
    found = a / b if b > 0.0 else otherwise
    return found if math.isfinite(found) else otherwise


def _convergence(first: float, now: float, pulses: int) -> float:
    if pulses <= 0 or not 0.0 < first < math.inf or not math.isfinite(now):
        return 0.0
    return 1.0 - float((max(0.0, now) / first) ** (1.0 / pulses))


_HELP = {
    "throughput_ops_per_second": "Tasks finished per second, all ranks.",
    "latency_p99_ms": "99th percentile of the time from a task's begin to its result.",
    "parallel_efficiency": "CPU time of exploring over ranks times wall time.",
    "cpu_utilization_percent": "CPU time of all kinds over ranks times wall time.",
    "memory_utilization_percent": "Memory in use on the fullest host.",
    "network_bandwidth_mbps": "What all ranks sent, megabits per second.",
    "node_failure_rate": "Ranks lost per rank and hour.",
    "consensus_success_rate": "Decisions made without a change of the view over all.",
    "cache_hit_rate": "Tasks whose result was known over all.",
    "convergence_rate": "r where the gap has shrunk as (1 - r)^pulses.",
    "objective_improvement_per_iteration": "By which the incumbents have sunk, per pulse.",
    "exploration_coverage": "Proven bound over incumbent; 1 when certified.",
}
_LATENCY_HELP = {
    "task": "From a task's begin to its result.",
    "vote": "From a commit to the decision of a quorum on it.",
    "round": "Length of an exchange round.",
}
#: Counters told with another name and unit than the rank's own: (name, counter, help).
_TOTALS = (
    ("tasks_total", "tasks", "Tasks finished."),
    ("known_tasks_total", "known", "Tasks whose result was known."),
    ("cancelled_tasks_total", "cancelled", "Tasks given up because another rank was faster."),
    ("work_units_total", "work", "Work units of finished tasks."),
    ("wasted_work_units_total", "wasted", "Work units of tasks given up."),
    ("rounds_total", "rounds", "Exchange rounds, of all ranks."),
    ("slot_bytes_total", "slot_bytes", "Bytes of slots handed to exchange rounds."),
    ("frame_bytes_total", "frame_bytes", "Bytes of frames sent point-to-point."),
    ("received_bytes_total", "received_bytes", "Bytes of frames received."),
)


def prometheus_text(
    metrics: DistributedMORSRMetrics,
    totals: Totals,
    standing: Standing,
    labels: dict[str, str],
    at: float,
) -> str:
    """Return `metrics.prom`: text exposition format 0.0.4. at: seconds since 1970."""
    text = _Text(labels)
    for field in fields(metrics):
        text.add(field.name, "gauge", _HELP[field.name], getattr(metrics, field.name))
    for name, help_text in (
        ("pulse", "Pulses committed."), ("incumbent", "Sum of the incumbents' objectives."),
        ("bound", "Sum of the proven lower bounds."), ("gap", "Relative gap."),
        ("work", "Logical work units."), ("frontier", "Open chambers."),
        ("targets_done", "Targets that are done."), ("targets", "Targets."),
        ("certified", "Targets with a certificate."), ("lost", "Ranks lost."),
    ):  # fmt: skip
        text.add(name, "gauge", help_text, getattr(standing, name))
    text.add("ranks", "gauge", "Ranks that tell figures.", len(totals.busy))
    text.add("decisions_total", "counter", "Decisions of the vote.", totals.decisions)
    text.add("view_changes_total", "counter", "Changes of the view.", totals.views)
    text.add("resident_bytes", "gauge", "Memory of all ranks.", totals.resident_bytes)
    text.add("metrics_cpu_seconds_total", "counter", "CPU time of these figures.", totals.cost)
    text.add("updated_seconds", "gauge", "When this was written, seconds since 1970.", at)
    for name, counter, help_text in _TOTALS:
        text.add(name, "counter", help_text, totals.counters[counter])
    text.head("cpu_seconds_total", "counter", "CPU time of the loop by what it was for.")
    for category in CATEGORIES:
        text.line("cpu_seconds_total", totals.counters[f"cpu_{category}"], phase=category)
    text.head("busy_seconds_total", "counter", "Time with a task to compute, by rank.")
    for rank, busy in sorted(totals.busy.items()):
        text.line("busy_seconds_total", busy, rank=str(rank))
    for name, histogram in totals.latencies.items():
        text.histogram(f"{name}_seconds", _LATENCY_HELP[name], histogram)
    return text.text()


class _Text:
    def __init__(self, labels: dict[str, str]) -> None:
        self._labels = labels
        self._lines: list[str] = []

    def head(self, name: str, kind: str, help_text: str) -> None:
        self._lines += [f"# HELP morsr_{name} {help_text}", f"# TYPE morsr_{name} {kind}"]

    def line(self, name: str, value: float, **more: str) -> None:
        said = ",".join(f'{k}="{_escaped(v)}"' for k, v in {**self._labels, **more}.items())
        self._lines.append(f"morsr_{name}{{{said}}} {_number(value)}")

    def add(self, name: str, kind: str, help_text: str, value: float) -> None:
        self.head(name, kind, help_text)
        self.line(name, value)

    def histogram(self, name: str, help_text: str, found: Histogram) -> None:
        self.head(name, "histogram", help_text)
        seen = 0
        for bound, count in zip(BOUNDS, found.counts, strict=False):
            seen += count
            self.line(f"{name}_bucket", seen, le=f"{bound:.6g}")
        self.line(f"{name}_bucket", found.count, le="+Inf")
        self.line(f"{name}_sum", found.total)
        self.line(f"{name}_count", found.count)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2.0**53 else repr(float(value))


def history_line(
    metrics: DistributedMORSRMetrics, standing: Standing, totals: Totals
) -> dict[str, Any]:
    """Return what a line of the history has of the figures; not finite becomes None."""
    found: dict[str, Any] = {**asdict(standing), "metrics": asdict(metrics)}
    found["cpu"] = {name: round(totals.counters[f"cpu_{name}"], 4) for name in CATEGORIES}
    found["wall"] = round(totals.wall, 4)
    found["sent_bytes"] = totals.counters["slot_bytes"] + totals.counters["frame_bytes"]
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in found.items()
    }
