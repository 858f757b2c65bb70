"""Runs over real MPI in which ranks are killed, stopped and broken on purpose.

Ranks are found by their run directory; what a rank does to itself (an exception, an exit) is
put in by `parallel/faulty_rank.py`, which runs the command line with a fault in it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

#: What mpirun says when its own server does not come up: seldom, and nothing of ours has run.
NOT_STARTED = "The PMIx server's listener thread failed to start"
ROOT = Path(__file__).resolve().parent.parent


def environment() -> dict[str, str]:
    """A user's environment without an MPI world around."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PRTE_"))}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    env["PYTHONFAULTHANDLER"] = "1"  # a rank that hangs says where, see Running.end
    return env


def ranks_of(run: Path) -> dict[int, int]:
    """Process ids of the living ranks of a run, by rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(run).encode() in words and b"launch" not in words:
            for variable in variables:
                name, _, value = variable.partition(b"=")
                if name == b"OMPI_COMM_WORLD_RANK":
                    found[int(value)] = int(folder.name)
    return found


def gate(run: Path) -> Path:
    """The file that lets a held run go on, beside its directory."""
    return run.with_name(f"{run.name}.go-on")


def program(run: Path, hold: int | None) -> list[str]:
    """The command `morsr`, of a run that is held before it commits a pulse, or of a free one."""
    if hold is None:
        return [sys.executable, "-m", "morsr_mpi"]
    return [sys.executable, str(ROOT / "tests" / "held.py"), str(hold), str(gate(run))]


class Running:
    """A run under way; ended and cleaned up when used as a context manager."""

    def __init__(self, run: Path, command: Sequence[object]) -> None:
        self.run = run
        self._command = [str(word) for word in command]
        self._starts = 0
        self.out = self.err = ""
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        self._starts += 1
        return subprocess.Popen(
            self._command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @classmethod
    def launch(
        cls,
        run: Path,
        ranks: int,
        arguments: Sequence[object],
        *launch: str,
        hold: int | None = None,
    ) -> Running:
        """Start `morsr launch -n RANKS -- solve ... --run-dir RUN`.

        hold: a pulse that is not committed before `go_on` (held.py), None for a run that is free.
        """
        words = [*program(run, hold), "launch", "-n", str(ranks), *launch, "--"]
        return cls(run, [*words, "solve", *arguments, "--run-dir", run])

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in ranks_of(self.run).values():
            send(pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 90.0) -> None:
        """Wait until something holds; fail when the run ends before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                self.out, self.err = self.process.communicate()
                if NOT_STARTED in self.err and self._starts < 3 and not self.run.exists():
                    self.process = self._start()
                    continue
                pytest.fail(f"the run ended early: {self.process.returncode}\n{self.err}")
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds} s; log:\n{self.log()}")
            time.sleep(0.01)

    def go_on(self) -> None:
        """Let a run that was held go on."""
        gate(self.run).touch()

    def log(self) -> str:
        """What the run has logged."""
        path = self.run / "log.txt"
        return path.read_text() if path.exists() else ""

    def searching(self) -> bool:
        """Whether the ranks have met and the search has begun."""
        return "genesis" in self.log()

    def signal(self, number: int, *ranks: int) -> list[int]:
        """Send a signal to ranks, all found before the first is sent; return their processes."""
        pids = ranks_of(self.run)
        chosen = [pids[rank] for rank in ranks if rank in pids]
        for pid in chosen:
            send(pid, number)
        return chosen

    def end(self, seconds: float = 120.0) -> int:
        """Wait for the end; return the exit code. A run hangs that records nothing for so long."""
        recorded, since = self._recorded(), time.monotonic()
        while True:
            try:
                self.out, self.err = self.process.communicate(timeout=1.0)
                return self.process.returncode
            except subprocess.TimeoutExpired:
                before, recorded = recorded, self._recorded()
            if recorded != before:
                since = time.monotonic()
            elif time.monotonic() - since > seconds:
                log, ranks = self.log(), ranks_of(self.run)
                where = self._stacks(ranks)
                pytest.fail(f"a hang of {seconds} s, ranks {ranks}; log:\n{log}\n{where}")

    def _recorded(self) -> tuple[int, int]:
        """Which file the journal is, and its length: it grows with every certified pulse."""
        try:
            found = (self.run / "ledger" / "journal.morsr").stat()
        except OSError:
            return (0, 0)
        return (found.st_ino, found.st_size)

    def _stacks(self, ranks: dict[int, int]) -> str:
        """End ranks that hang; return what they print of where they are."""
        for pid in ranks.values():
            send(pid, signal.SIGABRT)
        time.sleep(1.0)
        for pid in ranks.values():
            send(pid, signal.SIGKILL)
        self.process.kill()
        _, err = self.process.communicate()
        return err


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
