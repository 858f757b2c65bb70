"""`morsr solve` and `morsr launch` end to end, as a user starts them, on real ranks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kills import program

from morsr_mpi.adapters.hdf5_checkpoint import newest_checkpoint
from morsr_mpi.adapters.hdf5_result import load_result, solution_digest
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import InputError

pytestmark = pytest.mark.subprocess_mpi

Command = Callable[..., Any]
#: Work per target of runs on the large problem: about a second in all.
WORK = "300_000"
PROGRAM = [sys.executable, "-m", "morsr_mpi"]


def test_json_is_all_there_is_on_standard_output(
    small: Path, tmp_path: Path, morsr: Command
) -> None:
    done = morsr(["solve", small, "--run-dir", tmp_path / "run", "--json"]).check()
    found = json.loads(done.out)
    assert found["certified"] == [True, True]
    assert found["ranks"] == 1
    assert found["run_dir"] == str(tmp_path / "run")
    assert found["fingerprint"] in done.err
    assert "f = 0" in done.err
    assert done.out.count("\n") == 1


@pytest.mark.parametrize(
    ("ranks", "kind"),
    [
        (1, "working"),
        (2, "working"),
        (2, "dedicated"),
        (3, "working"),
        (4, "dedicated"),
        (7, "working"),
    ],
)
def test_same_bits_on_any_number_of_ranks(
    ranks: int, kind: str, large: Path, tmp_path: Path, mpi: Command, undisturbed: bytes
) -> None:
    run = tmp_path / "run"
    arguments = ["solve", large, "--run-dir", run, "--work", WORK, "--json", "--coordinator", kind]
    done = mpi(ranks, [*PROGRAM, *arguments]).check()
    assert json.loads(done.out)["ranks"] == ranks
    assert "without fault tolerance" not in done.err
    assert ("f = 0" in done.err) == (ranks <= 3)
    assert solution_digest(run / "result.h5") == undisturbed
    assert not inspect_run(run, check=True).wrong


@pytest.mark.parametrize("level", ["baseline", "avx2"])
def test_same_bits_on_any_cpu_level(
    level: str, large: Path, tmp_path: Path, morsr: Command, undisturbed: bytes
) -> None:
    from morsr_mpi.search.cpu import cpu_levels

    if level not in cpu_levels():
        pytest.skip(f"this CPU has no {level}")
    run = tmp_path / "run"
    arguments = ["solve", large, "--run-dir", run, "--work", WORK]
    morsr(arguments, env={"MORSR_CPU_LEVEL": level}).check()
    assert solution_digest(run / "result.h5") == undisturbed


def test_launch_and_every_rank_works(large: Path, tmp_path: Path, morsr: Command) -> None:
    run, work = tmp_path / "run", "800_000"  # enough for more than a hundred tasks
    morsr(["solve", large, "--run-dir", tmp_path / "alone", "--work", work]).check()
    program = ["solve", large, "--run-dir", run, "--work", work, "--json"]
    done = morsr(["launch", "-n", "3", "--", *program]).check()
    assert json.loads(done.out)["ranks"] == 3
    assert "without fault tolerance" not in done.err
    assert solution_digest(run / "result.h5") == solution_digest(tmp_path / "alone" / "result.h5")
    text = dict(inspect_run(run, check=True).lines)
    counts = [int(text[f"rank {rank}"].split()[0]) for rank in range(3)]
    assert sum(counts) > 100
    assert min(counts) > 0


def test_without_fault_tolerance_there_is_one_warning(
    small: Path, tmp_path: Path, mpi: Command
) -> None:
    done = mpi(2, [*PROGRAM, "solve", small, "--run-dir", tmp_path / "run"], ft=False).check()
    assert done.err.count("warning:") == 1
    assert "mpirun --with-ft ulfm" in done.err


def test_python_interface_under_mpirun(small: Path, mpi: Command) -> None:
    code = (
        "import morsr_mpi\n"
        f"result = morsr_mpi.solve(morsr_mpi.Problem.load({str(small)!r}))\n"
        "print('RESULT', result.ranks, result.wall_seconds, result.solution.digest().hex())\n"
    )
    done = mpi(3, [sys.executable, "-c", code]).check()
    lines = [line for line in done.out.splitlines() if line.startswith("RESULT")]
    assert len(lines) == 3
    assert len(set(lines)) == 1
    assert lines[0].startswith("RESULT 3 ")


# --- stopping and going on -----------------------------------------------------------------


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def start(arguments: list[Any], program: list[str] = PROGRAM) -> subprocess.Popen[str]:
    """Start `morsr` and return at once."""
    return subprocess.Popen(
        [*program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("how", ["SIGINT", "SIGUSR1", "STOP"])
def test_stop_and_resume_give_the_bits_of_an_undisturbed_run(
    how: str, large: Path, tmp_path: Path, morsr: Command, mpi: Command, undisturbed: bytes
) -> None:
    run = RunDirectory(tmp_path / "run")
    options = ["--run-dir", run.path, "--work"]
    held = program(run.path, hold=10)  # until it knows that it is to stop
    process = start(["launch", "-n", "2", "--", "solve", large, *options, WORK, "--json"], held)
    wait_for(run.log_file.exists)
    if how == "STOP":
        run.stop_file.touch()
    else:
        wait_for(lambda: run.journal.exists() and run.journal.stat().st_size > 100)
        process.send_signal(getattr(signal, how))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "--resume" in err
    assert json.loads(out)["certified"] == [False] * 3
    stopped = load_result(run.result)
    assert int(stopped.work.max()) < int(WORK)
    assert not inspect_run(run.path, check=True).wrong

    done = mpi(3, [*PROGRAM, "solve", large, *options, WORK, "--resume", "--json"]).check()
    found = json.loads(done.out)
    assert (found["restarts"], found["fingerprint"]) == (1, stopped.fingerprint)
    assert solution_digest(run.result) == undisturbed
    assert not inspect_run(run.path, check=True).wrong


def test_resume_with_more_work_goes_on(
    large: Path, tmp_path: Path, morsr: Command, undisturbed: bytes
) -> None:
    run = tmp_path / "run"
    morsr(["solve", large, "--run-dir", run, "--work", "100_000"]).check()
    morsr(["solve", large, "--run-dir", run, "--work", WORK, "--resume"]).check()
    assert solution_digest(run / "result.h5") == undisturbed
    again = morsr(["solve", large, "--run-dir", run, "--work", WORK, "--resume"]).check()
    assert "work used up" in again.err
    assert solution_digest(run / "result.h5") == undisturbed
    found = inspect_run(run, check=True)
    assert not found.wrong
    assert "resumed 2 times, sealed" in dict(found.lines)["journal"]


def test_a_killed_mpirun_leaves_checkpoint_incumbent_and_nothing_else(
    large: Path, tmp_path: Path, morsr: Command, mpi: Command
) -> None:
    run = RunDirectory(tmp_path / "run")
    options = ["--work", "inf", "--checkpoint-every", "0.3"]
    process = start(["launch", "-n", "2", "--", "solve", large, "--run-dir", run.path, *options])
    wait_for(lambda: run.result.exists() and any(run.checkpoints.glob("checkpoint-*.h5")))
    os.kill(children_of(process.pid)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    assert "--resume" in err
    wait_for(lambda: not any(str(run.path) in line for line in command_lines()))
    incumbent = load_result(run.result)
    done = morsr(
        [
            "solve",
            large,
            "--run-dir",
            run.path,
            "--work",
            "inf",
            "--resume",
            "--max-hours",
            "0.0002",
        ]
    )
    assert done.code == 75
    assert (load_result(run.result).objective <= incumbent.objective).all()
    assert not inspect_run(run.path, check=True).wrong


def children_of(pid: int) -> list[int]:
    """Processes started by another one, in ascending order (without ps: it may be missing)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may be gone by now
            # After the name in parentheses: state, then the parent.
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(folder.name))
    return sorted(found)


def command_lines() -> list[str]:
    """Command lines of all processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def checkpoints_of(run: RunDirectory) -> set[tuple[str, int]]:
    found = run.checkpoints.glob("checkpoint-*.h5")
    return {(path.name, path.stat().st_mtime_ns) for path in found}


def has_workers(run: RunDirectory) -> bool:
    with contextlib.suppress(InputError):
        found = newest_checkpoint(run.checkpoints)
        sections = found[1].sections if found else None
        return sections is not None and len(sections.workers) == 2
    return False


def test_sigusr2_writes_a_checkpoint_and_goes_on(large: Path, tmp_path: Path, mpi: Command) -> None:
    run = RunDirectory(tmp_path / "run")
    options = ["--work", "inf", "--checkpoint-every", "1000"]
    process = start(["launch", "-n", "2", "--", "solve", large, "--run-dir", run.path, *options])
    # After the one of the start another soon, in which it stands who works, then none for long.
    wait_for(lambda: run.result.exists() and has_workers(run))
    first = checkpoints_of(run)
    time.sleep(1.5)
    assert checkpoints_of(run) == first
    process.send_signal(signal.SIGUSR2)
    wait_for(lambda: len(checkpoints_of(run) - first) == 1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
