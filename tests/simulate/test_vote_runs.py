"""Agreement through seeded faults and lies: safety at every step, progress after healing."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest

from morsr_mpi.app.simulate.campaign import Summary, report_lines, run_campaign
from morsr_mpi.app.simulate.faults import FaultPlan, FaultyConduct, stream
from morsr_mpi.app.simulate.liars import TRICKS
from morsr_mpi.app.simulate.replica import choice_threshold
from morsr_mpi.app.simulate.vote_run import VOTE_FAULTS, Cast, draw_cast, run_votes, watch_votes
from morsr_mpi.consensus.quorum import max_faulty

SEEDS = json.loads((Path(__file__).parent.parent / "data" / "simulated-seeds.json").read_text())
#: Everything that has to happen in a campaign, and everything that has to be checked.
KINDS = {*VOTE_FAULTS, *TRICKS, "crash", "restart", "cut"}
CHECKS = {
    *("agreement", "validity", "certificates", "no double vote", "ledgers", "states"),
    *("evidence", "answer", "progress"),
}


def judge(summary: Summary, wanted: int) -> None:
    """A campaign counts only if everything happened and nothing broke."""
    assert not summary.failed, "\n".join(report_lines("votes", summary))
    assert summary.effective >= wanted
    assert summary.pulses is not None
    assert summary.pulses >= 8
    assert set(summary.checks) == CHECKS
    assert {kind for kind, runs in summary.faults.items() if runs} == KINDS


@pytest.mark.parametrize("kept", SEEDS["votes"], ids=lambda kept: str(kept["seed"]))
def test_seeds_that_failed_once(kept: dict[str, object]) -> None:
    assert not run_votes(int(str(kept["seed"]))).violations


def test_one_seed_gives_one_run() -> None:
    first, second = run_votes(46), run_votes(46)
    assert first == second
    assert first.trace != run_votes(47).trace


def test_a_sample_of_seeds_keeps_every_invariant() -> None:
    summary = Summary()
    for report in run_campaign(run_votes, range(1000), 60):
        summary.add(report)
    judge(summary, 60)


@pytest.mark.parametrize("seed", [11, 12])
def test_real_signatures_go_the_same_way(seed: int) -> None:
    assert not run_votes(seed, size=4 + seed % 2, real_keys=True).violations


@pytest.mark.long
def test_ten_thousand_seeds_keep_every_invariant(capsys: pytest.CaptureFixture[str]) -> None:
    summary, keys = Summary(), Summary()
    processes = os.cpu_count() or 1
    for report in run_campaign(run_votes, range(10**6), 9_900, processes):
        summary.add(report)
    real = partial(run_votes, real_keys=True)
    for report in run_campaign(real, range(10**6, 2 * 10**6), 100, processes):
        keys.add(report)
    with capsys.disabled():
        lines = [*report_lines("votes", summary), *report_lines("votes, real keys", keys)]
        print("\n".join(["", *lines]))
    judge(summary, 9_900)
    assert not keys.failed


def test_casts_stay_within_f() -> None:
    for seed in range(300):
        size = 4 + seed % 29
        cast = draw_cast(seed, size, None, 0.5, 1.0)
        gone = {rank for _, rank in cast.crashes}
        assert len(cast.liars) + len(gone) <= max_faulty(size)
        assert not gone & set(cast.liars)


def test_silent_ranks_beyond_a_quorum_stop_progress_and_are_reported() -> None:
    # N - quorum + 1 = 3 of 7 never say a word; nothing may be decided, and it must be said.
    silent = {rank: frozenset({"withhold"}) for rank in (1, 4, 6)}
    plan = FaultPlan(delay=(1e-4, 1e-4))
    seed = next(s for s in range(10_000) if _all_silent(s, silent))
    report = watch_votes(seed, Cast(7, silent, patience=0.01), FaultyConduct(seed, plan), bound=5)
    assert report.pulses == 0
    assert report.figures["stalls"] > 0
    assert {line.split(":")[0] for line in report.violations} == {"progress"}
    fewer = {rank: tricks for rank, tricks in silent.items() if rank != 4}
    assert not watch_votes(
        seed, Cast(7, fewer, patience=0.01), FaultyConduct(seed, plan)
    ).violations


def _all_silent(seed: int, liars: dict[int, frozenset[str]]) -> bool:
    """Whether the coin of each of these liars makes it silent towards all."""
    return all(stream(seed, f"member 0 {rank} 0").random() < 0.5 for rank in liars)


def test_undetected_lies_are_as_frequent_as_stated() -> None:
    """At recheck P a wrong *exhausted* of one liar is rechecked by somebody with probability P."""
    recheck, size = 0.2, 4
    caught = lies = 0
    for seed in range(100):
        cast = Cast(size, {seed % size: frozenset({"wrong exhausted"})}, recheck=recheck)
        conduct = FaultyConduct(seed, FaultPlan(delay=(1e-4, 1e-4)))
        report = watch_votes(seed, cast, conduct)
        assert not report.violations
        lies += report.figures["claims lied"]
        caught += report.figures["claims caught"]
    assert lies > 100
    spread = 4.0 * (recheck * (1.0 - recheck) / lies) ** 0.5
    assert abs(caught / lies - recheck) < spread


def test_the_private_choices_add_up_to_the_stated_probability() -> None:
    for members in (2, 4, 33):
        each = choice_threshold(0.02, members)
        assert 1.0 - (1.0 - each) ** (members - 1) == pytest.approx(0.02)
    assert choice_threshold(1.0, 9) == 1.0
