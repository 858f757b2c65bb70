"""The result cache in runs: a second run finds what the first computed, with the same bits."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_audit import write

import morsr_mpi
from morsr_mpi.adapters.hdf5_result import load_run, solution_digest
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app import computing
from morsr_mpi.app.audit import audit_run
from morsr_mpi.app.recovery import read_ledger
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import UsageError
from morsr_mpi.provenance.bodies import Body, Pulse, Seal, parse
from morsr_mpi.provenance.chain import Chain, verify_chain
from morsr_mpi.provenance.records import decode_record

Command = Callable[..., Any]
PROBLEM = ["--work", "300_000"]


def executed(run: Path) -> int:
    return int(np.sum(load_run(run / "result.h5")["executed_work"]))


def test_a_second_run_executes_next_to_nothing_and_finds_the_same(
    large: Path, tmp_path: Path, morsr: Command, undisturbed: bytes
) -> None:
    for name in ("first", "second"):
        arguments = ["solve", large, "--run-dir", tmp_path / name, *PROBLEM]
        morsr([*arguments, "--cache", tmp_path / "cache"]).check()
        assert solution_digest(tmp_path / name / "result.h5") == undisturbed
        assert audit_run(tmp_path / name, None).sealed
    assert executed(tmp_path / "second") <= 0.05 * executed(tmp_path / "first")
    story = load_run(tmp_path / "second" / "result.h5")
    assert list(story["known_tasks"]) == list(story["tasks"])
    # More work goes on where the first run ended.
    arguments = ["solve", large, "--run-dir", tmp_path / "more", "--work", "400_000"]
    morsr([*arguments, "--cache", tmp_path / "cache"]).check()
    assert 0 < executed(tmp_path / "more") < 0.6 * executed(tmp_path / "first")


@pytest.mark.subprocess_mpi
def test_ranks_of_a_node_share_the_cache(
    large: Path, tmp_path: Path, mpi: Command, undisturbed: bytes
) -> None:
    program = [sys.executable, "-m", "morsr_mpi", "solve", large, *PROBLEM]
    for ranks, name in ((3, "first"), (2, "second")):
        run = ["--run-dir", tmp_path / name, "--cache", tmp_path / "cache", "--json"]
        done = mpi(ranks, [*program, *run]).check()
        assert json.loads(done.out)["ranks"] == ranks
        assert solution_digest(tmp_path / name / "result.h5") == undisturbed
    assert executed(tmp_path / "second") <= 0.05 * executed(tmp_path / "first")


def test_a_restart_repeats_nothing_that_is_in_the_cache(
    large: Path, tmp_path: Path, morsr: Command, undisturbed: bytes
) -> None:
    run, cache = tmp_path / "run", ["--cache", tmp_path / "cache"]
    # The cache knows all that a whole run computes; the run proper is stopped early on.
    first = ["solve", large, "--run-dir", tmp_path / "whole", *PROBLEM, *cache]
    morsr(first).check()
    early = ["solve", large, "--run-dir", run, *PROBLEM, "--max-hours", "0.0002"]
    assert morsr(early).code in (0, 75)
    morsr(["solve", large, "--run-dir", run, *PROBLEM, *cache, "--resume"])
    assert solution_digest(run / "result.h5") == undisturbed
    assert executed(run) == 0
    assert audit_run(run, None).sealed


def test_a_cache_on_storage_that_hosts_share_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "file_system_type", lambda path: "lustre")
    with pytest.raises(UsageError, match="storage of each node"):
        morsr_mpi.solve(np.eye(8), np.full(8, 0.3), cache=tmp_path / "cache")


@pytest.mark.subprocess_mpi
def test_a_restart_gets_from_others_what_its_own_cache_lacks(
    large: Path, tmp_path: Path, mpi: Command, morsr: Command, undisturbed: bytes
) -> None:
    """As on two nodes: each rank has a cache of its own; one good copy is enough."""
    run, program = tmp_path / "run", [sys.executable, "-m", "morsr_mpi"]
    solve = ["solve", large, *PROBLEM, "--cache", tmp_path / "a"]
    morsr([*solve, "--run-dir", run, "--checkpoint-every", "1000"]).check()
    # Back to the first checkpoint, as after a crash; the journal and its records go further.
    journal = run / "ledger" / "journal.morsr"
    records = read_records(journal)
    assert isinstance(parse(decode_record(records[-1], len(records) - 1)), Seal)
    cut = len(records[-1]) + 4
    journal.write_bytes(journal.read_bytes()[:-cut])
    newest = max((run / "checkpoints").iterdir())
    if len(list((run / "checkpoints").iterdir())) > 1:
        newest.unlink()
    (run / "result.h5").unlink()
    # Rank 0 has an empty cache, rank 1 the one with everything.
    options = ["--run-dir", run, "--resume", "--json"]
    first = [*program, "solve", large, *PROBLEM, *options, "--cache", tmp_path / "b"]
    second = [*program, *solve, *options]
    done = mpi(1, [*first, ":", "-n", "1", *second]).check()
    assert json.loads(done.out)["ranks"] == 2
    assert "results beyond the checkpoint are in caches" in done.err
    assert solution_digest(run / "result.h5") == undisturbed
    assert executed(run) == 0
    assert audit_run(run, None).sealed


def test_only_what_the_journal_names_comes_back(tmp_path: Path) -> None:
    from test_replay import problem

    path = tmp_path / "run"
    morsr_mpi.solve(problem(), run_dir=path, work=15_000)
    run = RunDirectory(path)
    whole = read_ledger(run, 0).wanted
    chain = verify_chain(read_records(run.journal))
    assert len(whole) == sum(len(body.contributors) // 2 for body in chain.pulses())
    digests = b"".join(body.results for body in chain.pulses())
    assert all(digest in digests for _, _, digest in whole)
    last = chain.pulses()[-1]
    assert len(read_ledger(run, last.pulse).wanted) == len(last.contributors) // 2
    # A journal that says something else, or is not sound, names nothing.
    linked = Chain()

    def other(body: Body) -> Body:
        if isinstance(body, Pulse):
            return replace(body, results=bytes(len(body.results)))
        return body

    write(path, [linked.append(other(body)) for body in chain.bodies])
    assert read_ledger(run, 0).wanted == ()
    run.journal.write_bytes(b"x")
    assert read_ledger(run, 0).wanted == ()
