"""replay: what a run recorded comes out again, bit by bit; a changed record does not."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_audit import write

import morsr_mpi
from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app import replay as replay_module
from morsr_mpi.app.replay import Replay, Replayed, Request
from morsr_mpi.app.sharing import Share
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import TamperError, UsageError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.provenance.bodies import Body, Pulse, Seal
from morsr_mpi.provenance.chain import Chain, verify_chain

Command = Callable[..., Any]
KINDS: dict[str, dict[str, Any]] = {
    "ordered": {},
    "free": {"asynchrony": "free", "lag": 2},
    "odd": {"pulse_tasks": 3, "frontier_limit": 1000, "lag": 1, "security": "off"},
}


def problem() -> QuadraticProblem:
    rng = np.random.default_rng(5)
    q, _ = np.linalg.qr(rng.standard_normal((48, 48)))
    Q = (q * np.geomspace(1.0, 60.0, 48)) @ q.T
    return QuadraticProblem.create((Q + Q.T) / 2, rng.uniform(-4, 4, (2, 48)))


@pytest.fixture(scope="module", params=list(KINDS))
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "run"
    morsr_mpi.solve(problem(), run_dir=path, ranks=2, work=30_000, **KINDS[request.param])
    return path


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def again(run: Path, **request: Any) -> Replayed:
    return Replay(run, Request(**request), Share(None)).run()


def test_a_run_replays_as_a_whole_and_by_sample(run: Path, tmp_path: Path) -> None:
    found = again(run, sample=None)
    assert found.executed == found.tasks > 4
    assert found.states > 2
    assert found.solution
    some = again(run, sample=3, seed=4)
    assert (some.executed, some.states) == (3, 0)
    assert again(run, sample=10**6).executed == found.tasks
    # A cache spares what is not chosen; what it lacks is executed.
    cold = again(run, sample=3, cache=tmp_path / "cache")
    assert (cold.executed, cold.states) == (found.tasks, found.states)


def test_a_cache_spares_the_rest(tmp_path: Path) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    morsr_mpi.solve(problem(), run_dir=run, work=30_000, cache=cache)
    found = again(run, sample=3, cache=cache)
    assert found.executed == 3
    assert found.solution


def forge(run: Path, change: Callable[[Body], Body]) -> None:
    """Write the journal again with changed bodies, its chain sound."""
    chain = verify_chain(read_records(run / "ledger" / "journal.morsr"))
    linked = Chain()
    write(run, [linked.append(change(body)) for body in chain.bodies])


def test_what_was_not_computed_so_is_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    morsr_mpi.solve(problem(), run_dir=run, work=30_000)

    def result(body: Body) -> Body:
        if isinstance(body, Pulse) and body.pulse == 1:
            return replace(body, results=sha256(b"x") + body.results[32:])
        return body

    def state(body: Body) -> Body:
        return replace(body, state=sha256(b"x")) if isinstance(body, Pulse | Seal) else body

    def tasks(body: Body) -> Body:
        return replace(body, tasks=sha256(b"x")) if isinstance(body, Pulse) else body

    good = (run / "ledger" / "journal.morsr").read_bytes()
    for change, message in (
        (result, "task 0 of commit 1 gives result"),
        (state, "commit 0: the state differ"),
        (tasks, "commit 0: the tasks differ"),
    ):
        forge(run, change)
        with pytest.raises(TamperError, match=message):
            again(run, sample=None)
        (run / "ledger" / "journal.morsr").write_bytes(good)
    forge(run, result)
    with pytest.raises(TamperError, match="names another result than the journal"):
        again(run, sample=10**6)


def test_a_result_that_was_computed_wrongly_is_found_in_a_sample(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = replay_module.explore

    def wrong(explorer: Any, task: Any) -> bytes:
        found = bytearray(good(explorer, task))
        found[-1] ^= 1
        return bytes(found)

    monkeypatch.setattr(replay_module, "explore", wrong)
    for request in ({"sample": 1}, {"sample": None}):
        with pytest.raises(TamperError, match="computed wrongly"):
            again(run, **request)


def test_a_problem_that_is_not_the_runs_is_said_as_such(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    save_problem(other, QuadraticProblem.create(np.eye(8), np.zeros(8)))
    with pytest.raises(UsageError, match="the journal is of"):
        again(run, problem=other)
    kept = tmp_path / "kept.h5"
    (run / "problem.h5").rename(kept)
    with pytest.raises(UsageError, match="--problem"):
        again(run)
    assert again(run, problem=kept, sample=2).executed == 2
    shutil.copy(other, run / "problem.h5")
    with pytest.raises(TamperError, match="the journal is of"):
        again(run)


def test_another_algorithm_version_is_refused_with_both_named(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "ALGORITHM_VERSION", 999)
    with pytest.raises(TamperError, match=r"algorithm version \d.*this is version 999"):
        again(run)


def test_a_run_that_went_on_with_more_work_replays(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for work, resume in ((20_000, False), (45_000, True)):
        morsr_mpi.solve(problem(), run_dir=run, work=work, resume=resume, ranks=2)
    whole = tmp_path / "whole"
    morsr_mpi.solve(problem(), run_dir=whole, work=45_000)
    assert again(run, sample=None).solution
    assert again(run, sample=5).executed == 5


@pytest.mark.subprocess_mpi
def test_any_number_of_ranks_replays_and_says_it_once(
    run: Path, tmp_path: Path, mpi: Command, morsr: Command
) -> None:
    program = [sys.executable, "-m", "morsr_mpi", "replay", run, "--json"]
    alone = json.loads(morsr(["replay", run, "--all", "--json"]).check().out)
    done = mpi(3, [*program, "--all"]).check()
    found = json.loads(done.out)
    assert {**found, "seed": 0} == {**alone, "seed": 0}
    sample = json.loads(mpi(2, [*program, "--sample", "5"]).check().out)
    assert (sample["executed"], sample["tasks"]) == (5, alone["tasks"])
    (run / "problem.h5").write_bytes(b"x")
    done = mpi(2, program)
    assert done.code == 66
    assert done.err.count("morsr: error:") == 1


def test_the_command(run: Path, morsr: Command) -> None:
    assert "every bit as recorded" in morsr(["replay", run]).check().out
    for arguments, code in (
        (["--sample", "3", "--all"], 64),
        (["--all", "--cache", "x"], 64),
        (["--task", "xyz"], 64),
        (["--task", "00000000"], 64),
    ):
        done = morsr(["replay", run, *arguments])
        assert done.code == code
        assert len(done.err.strip().splitlines()) == 1
    (run / "ledger" / "journal.morsr").unlink()
    assert morsr(["replay", run]).code == 66


def test_the_directory_of_a_demo_is_audited_and_replayed_run_by_run(
    tmp_path: Path, morsr: Command
) -> None:
    for name in ("layer1", "layer2"):
        morsr_mpi.solve(problem(), run_dir=tmp_path / name, work=8_000)
    (tmp_path / "demo.json").write_text("{}")
    said = morsr(["audit", tmp_path]).check().out
    assert said.count("consistent; identity not established") == 2
    assert said.startswith("layer1: genesis ")
    found = json.loads(morsr(["replay", tmp_path, "--all", "--json"]).check().out)["runs"]
    assert set(found) == {"layer1", "layer2"}
    assert all(run["solution"] for run in found.values())
    assert morsr(["audit", tmp_path, "--json"]).code == 64
    (tmp_path / "layer2" / "result.h5").write_bytes(b"x")
    assert "layer2" in morsr(["audit", tmp_path]).err
