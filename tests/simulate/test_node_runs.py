"""Nodes through seeded faults: nothing wrong at any step, and an end after healing."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from morsr_mpi.app.simulate.campaign import Summary, report_lines, run_campaign
from morsr_mpi.app.simulate.faults import FaultPlan, stream
from morsr_mpi.app.simulate.node_run import (
    NODE_FAULTS,
    draw_size,
    run_nodes,
    sequential_states,
    watch_nodes,
)
from morsr_mpi.app.simulate.workload import (
    WorkloadExplorer,
    WorkloadRun,
    WorkloadSearch,
    WorkloadTask,
    random_workload,
)
from morsr_mpi.base.digest import sha256
from morsr_mpi.node.core import Node
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.storage.memory_store import MemoryStore

SEEDS = json.loads((Path(__file__).parent.parent / "data" / "simulated-seeds.json").read_text())


@pytest.mark.parametrize("kept", SEEDS["node"], ids=lambda kept: str(kept["seed"]))
def test_seeds_that_failed_once(kept: dict[str, object]) -> None:
    report = run_nodes(int(str(kept["seed"])))
    assert not report.violations
    assert report.pulses >= 8


def test_one_seed_gives_one_run() -> None:
    first, second = run_nodes(5), run_nodes(5)
    assert first == second
    assert run_nodes(8).trace != first.trace


def test_a_sample_of_seeds_keeps_every_invariant() -> None:
    summary = Summary()
    for report in run_campaign(run_nodes, range(1000, 2000), 40):
        summary.add(report)
    assert not summary.failed, "\n".join(report_lines("node", summary))
    assert summary.effective == 40
    assert summary.pulses is not None
    assert summary.pulses >= 8
    assert set(summary.faults) == set(NODE_FAULTS)
    assert set(summary.checks) == {"states", "ledgers", "answer", "progress", "agreement"}


@pytest.mark.long
def test_many_seeds_keep_every_invariant(capsys: pytest.CaptureFixture[str]) -> None:
    summary = Summary()
    for report in run_campaign(run_nodes, range(10**6), 3000, os.cpu_count() or 1):
        summary.add(report)
    with capsys.disabled():
        print("\n".join(["", *report_lines("node", summary)]))
    assert not summary.failed
    assert set(summary.faults) == set(NODE_FAULTS)


def test_real_signatures_go_the_same_way() -> None:
    assert not run_nodes(3, real_keys=True).violations


def test_sizes_are_mostly_small() -> None:
    sizes = Counter(draw_size(seed) for seed in range(2000))
    assert min(sizes) == 4
    assert max(sizes) == 32
    assert sum(count for size, count in sizes.items() if size <= 10) > 1600


class WrongRun(WorkloadRun):
    """Computes one wrong bit."""

    def result(self) -> bytes:
        right = super().result()
        return bytes([right[0] ^ 1]) + right[1:] if right else right


class WrongExplorer(WorkloadExplorer):
    def begin(self, task: WorkloadTask) -> WorkloadRun:
        return WrongRun(task)


def toy_nodes(size: int, explorers: list[WorkloadExplorer], bound: float) -> list[str]:
    """Violations of a run without faults of the network, with these explorers."""
    workload = random_workload(stream(1, "run"), 6, 8, 100, (40,))
    authority = TwinAuthority()

    def node(rank: int) -> Node:
        settings = NodeSettings(rank, size, sha256(b"p"), sha256(b"o"))
        return Node(settings, WorkloadSearch(workload), authority.signer(rank), MemoryStore())

    expected = sequential_states(WorkloadSearch(workload), WorkloadExplorer().begin, 0)
    plan = FaultPlan(delay=(1e-4, 1e-4), heal_at=0.0)
    return watch_nodes(1, size, plan, node, explorers, expected, bound).violations


def test_a_wrong_result_is_seen() -> None:
    good = WorkloadExplorer()
    assert not toy_nodes(4, [good] * 4, 30.0)
    found = toy_nodes(4, [good, good, WrongExplorer(), good], 30.0)
    assert any(line.startswith("answer:") for line in found)


def test_a_run_that_does_not_end_in_time_is_seen() -> None:
    found = toy_nodes(4, [WorkloadExplorer()] * 4, 1e-3)
    assert any(line.startswith("progress:") for line in found)
