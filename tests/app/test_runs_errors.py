"""Runs that cannot start, cannot go on, or break: what is said, by whom, and the exit code."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from kills import Running, program

from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.app.inspect_run import inspect_run, tasks_by_rank
from morsr_mpi.app.rundir import RunDirectory

pytestmark = pytest.mark.subprocess_mpi

Command = Callable[..., Any]
WORK = "300_000"
PROGRAM = [sys.executable, "-m", "morsr_mpi"]


def last_error(done: Any) -> str:
    """The one line of ours in what a command, and perhaps mpirun, wrote to standard error."""
    lines = [line for line in done.err.splitlines() if line.startswith("morsr: error: ")]
    assert len(lines) == 1, done.err
    return lines[0]


# --- what cannot be resumed, and damage ------------------------------------------------------


@pytest.fixture
def stopped(large: Path, tmp_path: Path, morsr: Command) -> RunDirectory:
    """A run that was stopped early and has two checkpoints."""
    run = RunDirectory(tmp_path / "run")
    words = [*program(run.path, hold=3), "solve", large, "--run-dir", run.path, "--work", WORK]
    with Running(run.path, [*words, "--checkpoint-every", "0.2"]) as running:
        running.wait_for(lambda: any(run.checkpoints.glob("checkpoint-*[1-9].h5")))
        run.stop_file.touch()
        assert running.end() == 75
    assert len(list(run.checkpoints.iterdir())) == 2
    run.stop_file.unlink()
    return run


def test_resume_refuses_what_does_not_fit(
    large: Path, small: Path, stopped: RunDirectory, tmp_path: Path, morsr: Command
) -> None:
    solve = ["--run-dir", stopped.path, "--work", WORK]
    for arguments, code, says in (
        (["solve", small, *solve, "--resume"], 65, "another problem"),
        (["solve", large, *solve, "--resume", "--pulse-tasks", "3"], 65, "options"),
        (["solve", large, *solve], 64, "exists; go on with it by --resume"),
        (["solve", large, "--run-dir", tmp_path / "none", "--resume"], 64, "nothing to resume"),
    ):
        done = morsr(arguments)
        assert done.code == code
        assert says in last_error(done)
    for path in stopped.checkpoints.iterdir():
        path.unlink()
    done = morsr(["solve", large, *solve, "--resume"])
    assert done.code == 64
    assert "holds no checkpoint" in last_error(done)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    large: Path, stopped: RunDirectory, morsr: Command, undisturbed: bytes
) -> None:
    newest = max(stopped.checkpoints.iterdir())
    newest.write_bytes(newest.read_bytes()[:1000])
    with stopped.journal.open("ab") as file:
        file.write(b"\0\0\1\0torn")
    options = ["--run-dir", stopped.path, "--work", WORK, "--resume", "--json"]
    done = morsr(["solve", large, *options]).check()
    failures = json.loads(done.out)["failures"]
    assert len(failures) == 3
    assert newest.name in failures[0]
    assert "8 bytes" in failures[1]
    assert f"damaged-{newest.name}" in failures[2]
    assert "warning: checkpoint passed over" in done.err
    assert solution_digest(stopped.result) == undisturbed
    assert not inspect_run(stopped.path, check=True).wrong


def test_checkpoints_that_cannot_be_used_are_refused_with_the_reason(
    large: Path, stopped: RunDirectory, morsr: Command
) -> None:
    sound = {path: path.read_bytes() for path in stopped.checkpoints.iterdir()}
    for change, says in (
        ("algorithm", "was written by algorithm version 999"),
        ("format", "format version 2.0"),
        ("truncated", "truncated"),
        ("edited", "damaged"),
    ):
        before = {}
        for path, data in sorted(sound.items()):
            path.write_bytes(data[:-1000] if change == "truncated" else data)
            if change != "truncated":
                with h5py.File(path, "a") as file:
                    if change == "algorithm":
                        file.attrs["algorithm_version"] = 999
                    elif change == "format":
                        file.attrs["version"] = [2, 0]
                    else:
                        file["state"][100] ^= 1
            before[path] = path.read_bytes()
        done = morsr(["solve", large, "--run-dir", stopped.path, "--work", WORK, "--resume"])
        assert done.code == 65
        assert "no checkpoint can be used" in last_error(done)
        assert says in last_error(done)
        assert before == {path: path.read_bytes() for path in stopped.checkpoints.iterdir()}


@pytest.mark.parametrize("part", ["ledger/journal.morsr", "result.h5"])
def test_inspect_finds_what_was_changed(
    part: str, small: Path, tmp_path: Path, morsr: Command
) -> None:
    run = tmp_path / "run"
    morsr(["solve", small, "--run-dir", run]).check()
    assert "agrees" in morsr(["inspect", run, "--check"]).check().out
    path = run / part
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = morsr(["inspect", run, "--check"])
    assert done.code == 66
    assert path.name in last_error(done)


# --- errors on some ranks only ---------------------------------------------------------------


def test_bad_input_is_said_once_and_ends_every_rank(tmp_path: Path, mpi: Command) -> None:
    (tmp_path / "bad.h5").write_text("no HDF5")
    done = mpi(3, [*PROGRAM, "solve", tmp_path / "bad.h5", "--run-dir", tmp_path / "run"])
    assert done.code == 65
    assert "not an HDF5 file" in last_error(done)
    assert not (tmp_path / "run").exists()


def test_an_error_of_one_rank_is_said_by_that_rank(
    small: Path, tmp_path: Path, mpi: Command
) -> None:
    for rank in (0, 2):
        shutil.copy(small, tmp_path / f"p{rank}.h5")
    script = (
        f'exec "$0" -m morsr_mpi solve {tmp_path}/p$OMPI_COMM_WORLD_RANK.h5 --run-dir {tmp_path}/r'
    )
    done = mpi(3, ["sh", "-c", script, sys.executable], cwd=tmp_path)
    assert done.code == 65
    assert "p1.h5 does not exist" in last_error(done)


def test_ranks_with_other_problems_are_refused(
    small: Path, large: Path, tmp_path: Path, mpi: Command
) -> None:
    shutil.copy(small, tmp_path / "p0.h5")
    shutil.copy(large, tmp_path / "p1.h5")
    script = (
        f'exec "$0" -m morsr_mpi solve {tmp_path}/p$OMPI_COMM_WORLD_RANK.h5 --run-dir {tmp_path}/r'
    )
    done = mpi(2, ["sh", "-c", script, sys.executable], cwd=tmp_path)
    assert done.code == 64
    assert "same problem file" in last_error(done)


def test_wrong_usage_under_mpirun_is_said_once(tmp_path: Path, mpi: Command) -> None:
    for ft in (True, False):
        done = mpi(3, [*PROGRAM, "solve", "--nonsense"], ft=ft)
        assert done.code == 64
        assert "--nonsense" in last_error(done)


def test_mixed_mpis_are_named(small: Path, tmp_path: Path, morsr: Command, mpi: Command) -> None:
    done = morsr(
        ["solve", small, "--run-dir", tmp_path / "run"], env={"PMI_SIZE": "3", "PMI_RANK": "0"}
    )
    assert done.code == 64
    assert "MPICH announced 3 ranks" in last_error(done)
    assert "sees 1" in done.err


BROKEN = """
import sys
from morsr_mpi.app.environment import launch_info
from morsr_mpi.search import explore
from morsr_mpi.cli.main import main

begin = explore.Explorer.begin
count = 0

def broken(self, task):
    global count
    count += 1
    if launch_info().rank == {rank} and count > 5:
        raise ZeroDivisionError("planted")
    return begin(self, task)

explore.Explorer.begin = broken
main()
"""


@pytest.mark.parametrize("ranks", [1, 3])
def test_an_internal_error_ends_its_rank_and_leaves_its_traceback(
    ranks: int, large: Path, tmp_path: Path, mpi: Command, command: Command
) -> None:
    code = BROKEN.format(rank=ranks // 2)
    program = [sys.executable, "-c", code, "solve", large, "--run-dir", tmp_path / "run"]
    program += ["--work", "20_000"]
    done = mpi(ranks, program) if ranks > 1 else command(program)
    assert done.code == (70 if ranks == 1 else 0), "the other ranks go on"
    # Open MPI now and then ends its own message about the abort with a NUL and no newline.
    lines = [line.strip("\0") for line in done.err.splitlines() if "planted" in line]
    assert len(lines) == 1
    assert lines[0].startswith("morsr: ")
    assert "log.txt" in lines[0]
    assert "Traceback" not in done.err
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "Traceback" in log
    assert "ZeroDivisionError: planted" in log


def test_tasks_by_rank_counts_two_bytes_each() -> None:
    from morsr_mpi.provenance.bodies import Pulse

    pulse = Pulse(0, 0, bytes(32), bytes(96), bytes([0, 1, 0, 0, 1, 0]), bytes(32))
    assert tasks_by_rank([pulse]) == {1: 1, 0: 1, 256: 1}
