"""Every mistake put into the agreement on purpose is caught by the invariants."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from mutants import MUTANTS

from morsr_mpi.app.simulate.cut import draw_cut
from morsr_mpi.app.simulate.faults import FaultPlan, FaultyConduct, stream
from morsr_mpi.app.simulate.node_run import RunReport
from morsr_mpi.app.simulate.vote_run import Cast, watch_votes
from morsr_mpi.consensus.quorum import max_faulty

#: Seeds after which a mutant counts as not caught; each gives two runs.
MOST_SEEDS = 24
TRICKS_AT_HAND = (
    frozenset({"equivocate", "vote twice"}),
    frozenset({"wrong result", "wrong exhausted"}),
    frozenset({"forge", "equivocate"}),
    frozenset({"withhold"}),
)


def runs() -> Iterator[RunReport]:
    """A cut around one decision, and the first coordinators lying, in turn; 4 to 7 ranks."""
    for seed in range(MOST_SEEDS):
        size = 4 + seed % 4
        plan = FaultPlan(delay=(2e-4, 1e-3), loss=0.1, heal_at=1.0)
        cut = draw_cut(stream(seed, "cut"), size, 6)
        cast = Cast(size, patience=0.01, cut=cut)
        yield watch_votes(seed, cast, FaultyConduct(seed, plan), bound=60.0)
        liars = dict.fromkeys(range(max_faulty(size)), TRICKS_AT_HAND[seed // 2 % 4])
        cast = Cast(size, liars, patience=0.05)
        yield watch_votes(seed, cast, FaultyConduct(seed, plan), bound=60.0)


def test_without_a_mutant_nothing_is_found() -> None:
    evidence = 0
    for report in runs():
        assert not report.violations
        evidence += report.checks["evidence"]
    assert evidence


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    broken = set()
    evidence = 0
    for report in runs():
        broken |= {violation.split(":")[0] for violation in report.violations}
        evidence += report.checks["evidence"]
        if broken & MUTANTS[mutant]:
            return
    if evidence == 0:  # a campaign in which an invariant stays unused fails
        broken.add("evidence unused")
    assert broken & MUTANTS[mutant]
