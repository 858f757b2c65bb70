"""Runs of four ranks with a cache each: three copies of every result, and restarts from them."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parallel_problem import make_problem, solution

from morsr_mpi.adapters.hdf5_result import load_result, load_run
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.adapters.lmdb_cache import LmdbCache
from morsr_mpi.app.audit import audit_run
from morsr_mpi.app.recovery import read_ledger
from morsr_mpi.app.replay import Replay, Request
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.sharing import Share
from morsr_mpi.base.digest import sha256
from morsr_mpi.provenance.bodies import Seal, parse
from morsr_mpi.provenance.records import decode_record
from morsr_mpi.storage.replica_view import ReplicaView

pytestmark = pytest.mark.subprocess_mpi
RANKS = 4
WORK = ["--work", "200_000"]
SOLVE = [sys.executable, "-m", "morsr_mpi", "solve"]


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_problem(tmp_path_factory.mktemp("replicas") / "problem.h5", 64, 100.0, seed=5)


def program(problem: Path, run: Path, caches: list[Path], *options: str) -> list[Any]:
    """Words of an mpirun in which every rank has a cache of its own."""
    words: list[Any] = []
    for cache in caches:
        own = [*SOLVE, problem, *WORK, "--run-dir", run, "--cache", cache, "--json", *options]
        words += [":", "-n", "1", *own] if words else own
    return words


def unfinished(run: Path) -> None:
    """As after a crash of the whole job: no result, no seal, and the first checkpoint alone."""
    journal = run / "ledger" / "journal.morsr"
    records = read_records(journal)
    assert isinstance(parse(decode_record(records[-1], len(records) - 1)), Seal)
    journal.write_bytes(journal.read_bytes()[: -len(records[-1]) - 4])
    (run / "result.h5").unlink()
    for path in sorted((run / "checkpoints").glob("checkpoint-*.h5"))[1:]:
        path.unlink()


def copies(run: Path, caches: list[Path]) -> Counter[int]:
    """How many results are in how many caches, by the ledger's digests."""
    directory = RunDirectory(run)
    opened = [LmdbCache(path) for path in caches]
    digest = bytes.fromhex(load_result(run / "result.h5").problem_digest)
    views = [ReplicaView(cache, digest) for cache in opened]
    found: Counter[int] = Counter()
    for task, _, name in read_ledger(directory, 0).wanted:
        found[
            sum((data := view.get(task)) is not None and sha256(data) == name for view in views)
        ] += 1
    for cache in opened:
        cache.close()
    return found


@pytest.mark.long  # a minute; CI has the restart from the others' caches in tests/app
def test_a_job_is_restarted_from_replicas(
    problem: Path, tmp_path: Path, mpi: Callable[..., Any], morsr: Callable[..., Any]
) -> None:
    run = tmp_path / "run"
    caches = [tmp_path / f"cache{rank}" for rank in range(RANKS)]
    words = program(problem, run, caches, "--checkpoint-every", "1000")
    mpi(1, words).check()
    expected, story = solution(run), load_run(run / "result.h5")
    assert set(story["replica_copies"]) == {3}
    assert set(story["replica_caches"]) == {RANKS}
    found = copies(run, caches)
    assert found
    assert min(found) >= 3, "every result is in three caches, and in that of whoever computed it"
    assert "replicas" in morsr(["inspect", run]).check().out
    # A node is lost with its cache, another rank comes in its place; one replica is damaged too.
    unfinished(run)
    assert read_ledger(RunDirectory(run), 0).pulses
    shutil.rmtree(caches[1])
    done = mpi(1, program(problem, run, caches, "--resume", "--checkpoint-every", "1000")).check()
    assert "are taken from the ledger" in done.err
    story = load_run(run / "result.h5")
    assert int(np.sum(story["executed_work"])) == 0
    assert list(story["replicas_read"])[1] > 0
    assert solution(run) == expected
    assert audit_run(run, None).sealed
    # With two nodes lost every result still has a copy.
    unfinished(run)
    for cache in caches[2:]:
        shutil.rmtree(cache)
    mpi(1, program(problem, run, caches, "--resume", "--checkpoint-every", "1000")).check()
    story = load_run(run / "result.h5")
    assert int(np.sum(story["executed_work"])) == 0
    assert solution(run) == expected
    assert audit_run(run, None).sealed
    assert Replay(run, Request(sample=None), Share(None)).run().solution


@pytest.fixture(scope="module")
def honest(problem: Path, morsr: Callable[..., Any]) -> list[bytes]:
    run = problem.parent / "honest"
    morsr(["solve", problem, *WORK, "--run-dir", run]).check()
    return solution(run)


def test_what_a_dead_rank_kept_is_copied_while_the_others_go_on(
    problem: Path, honest: list[bytes], tmp_path: Path, mpi: Callable[..., Any]
) -> None:
    run, folder = tmp_path / "run", tmp_path / "caches"
    words = [sys.executable, Path(__file__).with_name("cache_rank.py"), folder, "2", "6"]
    done = mpi(RANKS, [*words, "solve", problem, *WORK, "--run-dir", run, "--json"], ft=True)
    done.check()
    assert solution(run) == honest
    story = load_run(run / "result.h5")
    assert len(story["tasks"]) == RANKS - 1
    assert set(story["replica_caches"]) == {RANKS - 1}
    assert sum(story["replicas_moved"]) > 0
    assert audit_run(run, None).sealed
    found = copies(run, [folder / str(rank) for rank in (0, 1, 3)])
    assert min(found) >= 2


@pytest.mark.parametrize("shared", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_liar_leaves_nothing_in_the_caches(
    shared: bool,
    problem: Path,
    honest: list[bytes],
    tmp_path: Path,
    mpi: Callable[..., Any],
    morsr: Callable[..., Any],
) -> None:
    """A second run with the caches of the first gives the honest bits, whoever shared them."""
    run, folder = tmp_path / "run", tmp_path / "caches"
    lying = Path(__file__).with_name("lying_rank.py")
    words = [sys.executable, lying, '{"2": "exhausted"}', "2", "solve", problem, *WORK]
    words += ["--run-dir", run, "--recheck", "1", "--json"]
    if shared:
        mpi(RANKS, [*words, "--cache", folder / "0"], timeout=180).check()
    else:
        own = [[*words, "--cache", folder / str(rank)] for rank in range(RANKS)]
        joined = own[0]
        for other in own[1:]:
            joined = [*joined, ":", "-n", "1", *other]
        mpi(1, joined, timeout=180).check()
    assert solution(run) == honest
    again = tmp_path / "again"
    for rank in (0, 1, 3) if not shared else (0,):
        cache = folder / str(rank)
        morsr(["solve", problem, *WORK, "--run-dir", again / str(rank), "--cache", cache]).check()
        assert solution(again / str(rank)) == honest
