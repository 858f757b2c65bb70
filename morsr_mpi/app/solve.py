"""One run from the problem to its result, on every rank: `morsr solve` and `morsr_mpi.solve`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import NoReturn

from morsr_mpi.app.admission import admit
from morsr_mpi.app.agree import CommonError
from morsr_mpi.app.environment import LaunchInfo, apply_cpu_level, launch_info
from morsr_mpi.app.guardian import Guardian
from morsr_mpi.app.job import Job
from morsr_mpi.app.parts import Frame, Load, Outcome
from morsr_mpi.app.settings import Settings
from morsr_mpi.app.signals import Requests
from morsr_mpi.app.world import World, open_world
from morsr_mpi.base.errors import (
    ExcludedError,
    HostFaultError,
    InternalError,
    MorsrError,
    TooFewRanksError,
    UsageError,
)

__all__ = ["Load", "Outcome", "run_solve"]


def run_solve(
    load: Load,
    settings: Settings,
    *,
    quiet: bool = False,
    requests: Requests | None = None,
    info: LaunchInfo | None = None,
    guardian: Guardian | None = None,
    load_once: bool = False,
    world: World | None = None,
    frame: Frame | None = None,
) -> Outcome:
    """Run to the end and return what was found; every rank of an MPI job calls this.

    load: returns the problem, on every rank; load_once: one rank of each node may call it for
    all of them. requests: handlers installed already. guardian:
    of this rank. world: the ranks, where they are known from an earlier run of this process;
    frame: what this run is part of. Raises CommonError, the same on all ranks; a bug that shows
    on one rank ends that rank by a signal, so that the others notice and go on, or all where
    nobody would.
    """
    info = launch_info() if info is None else info
    try:
        apply_cpu_level()
        world = open_world(info) if world is None else world
        if settings.ranks > 1 and world.size > 1:
            raise UsageError("ranks are nodes in one process; under mpirun leave it at 1")
        admission = admit(world, settings.security, settings.keys, settings.run_name)
    except MorsrError as exc:
        # Every rank comes to the same verdict by itself, and there may be no MPI to agree by.
        raise CommonError(exc.exit_code, str(exc), 0) from exc
    with contextlib.ExitStack() as stack:
        if requests is None:
            requests = stack.enter_context(Requests())
        job = Job(load, settings, admission, info, requests, quiet, guardian, frame)
        job.data.once = load_once
        stack.callback(job.data.close)
        try:
            return job.run()
        except Exception as exc:
            job.note_failure(exc)
            if isinstance(exc, CommonError):
                exc.rank = job.rank_of(exc.rank)
                raise
            line = exc if isinstance(exc, MorsrError) else InternalError(job.internal_line(exc))
            alone = line is not exc or isinstance(exc, HostFaultError)
            if isinstance(exc, ExcludedError) or (alone and job.others_go_on):
                die(f"rank {info.rank}: {line}")
            if isinstance(exc, TooFewRanksError):
                leave(f"rank {info.rank}: {line}", line.exit_code)
            if admission.world.size > 1:
                admission.world.fail(line)
            rank = 0 if getattr(exc, "everywhere", False) else admission.world.rank
            raise CommonError(line.exit_code, str(line), rank) from exc


def die(text: str) -> None:
    """Say why, and end by SIGKILL: the one death that the MPI runtime tells the other ranks of."""
    print(f"morsr: {text}", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def leave(text: str, code: int) -> NoReturn:
    """Say why, and end this rank alone: others, whom it does not hear, may go on without it."""
    print(f"morsr: {text}", file=sys.stderr, flush=True)
    os._exit(code)
