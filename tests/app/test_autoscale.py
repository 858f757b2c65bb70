"""`morsr autoscale` without Slurm: what a run says of its load, what is decided, the journal."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from morsr_mpi import Problem, solve
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app import chief
from morsr_mpi.app.audit import audit_run
from morsr_mpi.app.autoscale import Watch
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.app.load import JobLoad, add_decision, decisions, read_load, write_load
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import InputError, UsageError
from morsr_mpi.cluster.scaling import ScalingPolicy
from morsr_mpi.provenance.chain import verify_chain
from morsr_mpi.provenance.scaling import Scaling

NOW = 1_000_000.0
AT_ONCE = ScalingPolicy(hold=0.0, cool_down=50.0, least=1, most=8)
DECISION = Scaling(0, 5, 2, 3, "nodes", 0.9, 0.8, "restarted", "for 120 s")


def load(**changes: Any) -> JobLoad:
    fields: dict[str, Any] = {
        "time": NOW, "state": "running", "slurm_job": "", "nodes": 1, "ranks": 4, "cpu": 0.95,
        "memory": 0.9, "pulses": 7,
    }  # fmt: skip
    return JobLoad(**{**fields, **changes})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    found = RunDirectory(tmp_path / "run")
    found.checkpoints.mkdir(parents=True)
    return found


def watch(run: RunDirectory, *, dry: bool = False, now: float = NOW) -> Watch:
    return Watch(run.path, AT_ONCE, dry=dry, clock=lambda: now, sleep=lambda _: None)


def test_a_run_says_how_busy_it_is(small: Path, tmp_path: Path, morsr: Callable[..., Any]) -> None:
    run = RunDirectory(tmp_path / "run")
    morsr(["solve", small, "--run-dir", run.path]).check()
    found = read_load(run)
    assert found is not None
    assert (found.state, found.ranks, found.nodes, found.slurm_job) == ("finished", 1, 1, "")
    assert 0.0 <= found.cpu <= 1.0
    assert 0.0 < found.memory < 1.0
    assert found.pulses > 0
    done = morsr(["autoscale", run.path]).check()
    assert done.out == "the run has finished\n"


def test_outside_slurm_a_person_is_told_what_to_do(run: RunDirectory) -> None:
    write_load(run, load())
    report = watch(run).look()
    assert report is not None
    assert "4 -> 6 ranks (told): for 0 s cpu > 0.8 (now 0.95)" in report.line()
    assert "morsr launch -n 6" in report.line()
    assert [(d.number, d.before, d.after, d.action) for d in decisions(run)] == [(1, 4, 6, "told")]


def test_a_dry_run_writes_nothing(run: RunDirectory) -> None:
    write_load(run, load(slurm_job="77", nodes=2))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    report = watch(run, dry=True).look()
    assert report is not None
    assert "2 -> 3 nodes (dry run)" in report.line()
    assert "scontrol update JobId=77 NumTasks=6" in report.line()
    assert report.to_json()["decision"] == {
        "before": 2,
        "after": 3,
        "reason": "for 0 s cpu > 0.8 (now 0.95) and memory > 0.75 (now 0.90)",
    }
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_old_news_and_none_decide_nothing(run: RunDirectory) -> None:
    assert watch(run).look() is None
    write_load(run, load())
    assert watch(run, now=NOW + 100.0).look() is None
    write_load(run, load(state="finished"))
    found = watch(run, now=NOW + 100.0)
    report = found.look()
    assert report is not None
    assert report.decision is None
    assert found.over(report)


def fake_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch, states: str) -> Path:
    """Commands of Slurm's that write down how they were called; squeue tells these states."""
    log, seen = folder / "log", folder / "states"
    seen.write_text(states.replace(" ", "\n") + "\n")
    # A state `down` is a controller that does not answer, `unknown` one that has forgotten the job.
    scripts = {
        "squeue": f"state=$(head -n 1 {seen}); sed -i '1{{$!d}}' {seen}\n"
        'case "$state" in\n'
        "down) echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1;;\n"
        "unknown) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1;;\n"
        '*) echo "$state";; esac',
        "scancel": "true",
        "scontrol": "true",
    }
    for name, body in scripts.items():
        path = folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\n{body}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return log


def test_in_slurm_the_job_is_stopped_waited_for_and_resized(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake_slurm(tmp_path, monkeypatch, "RUNNING RUNNING COMPLETING PENDING")
    write_load(run, load(slurm_job="77", nodes=2))
    report = watch(run).look()
    assert report is not None
    assert report.action == "restarted"
    calls = [line for line in log.read_text().splitlines() if not line.startswith("squeue")]
    assert calls == [
        "scancel --signal=USR1 --batch 77",
        "scontrol update JobId=77 NumTasks=6",
        "scontrol update JobId=77 NumNodes=3-3 StartTime=now",
    ]
    assert [d.action for d in decisions(run)] == ["restarted"]


def test_a_controller_that_does_not_answer_is_no_end_of_the_job(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake_slurm(tmp_path, monkeypatch, "down RUNNING down down COMPLETED down PENDING")
    write_load(run, load(slurm_job="77", nodes=2))
    report = watch(run).look()
    assert report is not None
    assert report.action == "restarted"
    assert "scontrol update JobId=77 NumNodes=3-3 StartTime=now" in log.read_text()


def test_a_stopped_job_is_watched_until_slurm_says_that_it_is_over(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_slurm(tmp_path, monkeypatch, "down PENDING COMPLETED unknown")
    write_load(run, load(state="stopped", slurm_job="77", nodes=2))
    found = watch(run)
    report = found.look()
    assert report is not None
    assert [found.over(report) for _ in range(3)] == [False, True, True]


def test_a_controller_that_never_answers_is_told(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake_slurm(tmp_path, monkeypatch, "down")
    write_load(run, load(slurm_job="77", nodes=2))
    with pytest.raises(UsageError, match=r"squeue .*Unable to contact slurm controller"):
        watch(run).look()
    assert "scancel" not in log.read_text()


@pytest.mark.parametrize("states", ["RUNNING  ", "RUNNING FAILED", "RUNNING unknown"])
def test_a_job_that_does_not_requeue_is_named(
    states: str, run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_slurm(tmp_path, monkeypatch, states)
    write_load(run, load(slurm_job="77", nodes=2))
    with pytest.raises(UsageError, match=r"did not requeue itself .* sbatch --nodes=3"):
        watch(run).look()


def test_without_slurms_commands_it_says_so(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    write_load(run, load(slurm_job="77", nodes=2))
    with pytest.raises(UsageError, match="squeue cannot be run"):
        watch(run).look()


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"version": 1, "time": "x"}'])
def test_a_load_file_that_is_none_is_refused(text: str, run: RunDirectory) -> None:
    run.load_file.write_text(text)
    with pytest.raises(InputError, match=r"load\.json"):
        read_load(run)


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path, morsr: Callable[..., Any]) -> None:
    done = morsr(["autoscale", tmp_path])
    assert done.code == 65
    assert "is no run directory" in done.err
    done = morsr(["autoscale", tmp_path, "--min", "9", "--max", "3"])
    assert done.code == 64


def test_decisions_are_numbered_and_survive_rubbish_beside_them(run: RunDirectory) -> None:
    assert add_decision(run, DECISION).number == 1
    (run.scaling / "000002.json").write_text("rubbish")
    assert add_decision(run, DECISION).number == 3
    assert [d.number for d in decisions(run)] == [1, 3]


def test_every_decision_is_in_the_journal_once(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the chief that began to write them is lost before its seal."""
    run = RunDirectory(tmp_path / "run")
    keep = chief.Chief.keep

    def decided(self: Any, *arguments: Any) -> None:
        keep(self, *arguments)
        for _ in range(2):
            add_decision(run, DECISION)

    with monkeypatch.context() as patch:
        patch.setattr(chief.Chief, "keep", decided)
        solve(Problem.load(small), run_dir=run.path, work=30_000)
    solve(Problem.load(small), run_dir=run.path, work=60_000, resume=True)
    chain = verify_chain(read_records(run.journal))
    found = [body for body in chain.bodies if isinstance(body, Scaling)]
    assert [body.number for body in found] == [1, 2]
    assert chain.sealed
    audit_run(run.path, None)
    lines = [text for label, text in inspect_run(run.path, check=True).lines if label == "scaling"]
    assert lines == ["1970-01-01 00:00:05 2 -> 3 nodes, restarted: for 120 s"] * 2
    assert json.loads((run.scaling / "000001.json").read_text())["after"] == 3
