"""What `morsr launch` makes of a stop during start-up and of a rank that dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_runs import Command, command_lines, start, wait_for

from morsr_mpi.app.outcome import (
    OUTCOME_VARIABLE,
    ended_with,
    has_ended,
    is_ready,
    tell_ended,
    tell_ready,
)
from morsr_mpi.app.rundir import RunDirectory

pytestmark = pytest.mark.subprocess_mpi


def test_a_run_reports_to_its_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "outcome"
    tell_ready()  # without a launcher nobody is told
    assert not is_ready(path)
    monkeypatch.setenv(OUTCOME_VARIABLE, str(path))
    tell_ready()
    assert is_ready(path)
    assert not has_ended(path)
    tell_ended(75)
    assert has_ended(path)
    assert ended_with(path) == 75
    monkeypatch.setenv(OUTCOME_VARIABLE, str(tmp_path / "missing" / "outcome"))
    tell_ended(0)  # a place that cannot be written ends no run


@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.0])
def test_a_stop_during_start_up_is_kept_until_all_are_up(
    seconds: float, large: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(["launch", "-n", "2", "--", "solve", large, "--run-dir", run, "--work", "inf"])
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    # Before launch itself has its handlers, it is Python that is interrupted, in the command
    # (130) or still in its imports (the signal).
    assert process.returncode in (75, 130, -signal.SIGINT)
    if process.returncode == 75:
        assert "go on with the same command and --resume" in err
        assert (run / "result.h5").exists()


def ranks_of(run: Path) -> list[int]:
    """Process ids of the ranks of a run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(run).encode() in words and b"launch" not in words and b"-n" not in words:
            found.append(int(folder.name))
    return sorted(found)


def test_the_last_rank_goes_on_alone_and_stops_when_asked(
    large: Path, tmp_path: Path, morsr: Command
) -> None:
    run = RunDirectory(tmp_path / "run")
    arguments = ["solve", large, "--run-dir", run.path, "--work", "inf"]
    process = start(["launch", "-n", "2", "--", *arguments])
    wait_for(lambda: "genesis" in run.log_file.read_text() if run.log_file.exists() else False)
    os.kill(ranks_of(run.path)[-1], signal.SIGKILL)
    wait_for(lambda: "died" in run.log_file.read_text())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "--resume" in err
    wait_for(lambda: not any(str(run.path) in line for line in command_lines()))
    done = morsr([*arguments, "--resume", "--max-hours", "0.0002"])
    assert done.code == 75


def test_a_problem_that_is_none_leaves_no_directory(tmp_path: Path, morsr: Command) -> None:
    path = tmp_path / "p.h5"
    with h5py.File(path, "w") as file:
        file.attrs["filetype"] = "morsr-problem"
        file.attrs["version"] = np.array([1, 0])
        group = file.create_group("quadratic")
        group["Q"] = np.diag([1.0] * 5 + [-1.0] + [1.0] * 10)
        group["target"] = np.zeros(16)
        group["scale"] = 1.0
    run = tmp_path / "run"
    done = morsr(["solve", path, "--run-dir", run])
    assert done.code == 65
    errors = [line for line in done.err.splitlines() if "error" in line]
    assert len(errors) == 1
    assert "pivot 5" in errors[0]
    assert not run.exists()
