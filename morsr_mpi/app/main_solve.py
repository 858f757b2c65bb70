"""What `morsr solve` does on each rank: run, print, and say with which code to end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from morsr_mpi.app.environment import launch_info
from morsr_mpi.app.settings import Settings
from morsr_mpi.app.signals import Requests
from morsr_mpi.base.errors import EXIT_OK, EXIT_STOPPED


def solve_command(path: Path, settings: Settings, *, as_json: bool, debug: bool) -> int:
    """Solve the problem of a file; return the exit code. Only one rank prints."""
    info = launch_info()
    if settings.security != "off" or settings.envelope != "none":
        no_core_dumps()
    # The handlers first: loading NumPy and MPI takes long enough for a signal to come.
    with Requests(interrupts=not info.launched) as requests:
        from morsr_mpi.adapters.hdf5_problem import load_problem
        from morsr_mpi.app.agree import CommonError
        from morsr_mpi.app.guardian import Guardian
        from morsr_mpi.app.outcome import tell_ended
        from morsr_mpi.app.solve import Outcome, run_solve
        from morsr_mpi.base.config import BEAT_SECONDS

        # Before MPI, which takes badly to processes that are started later.
        guardian = Guardian(settings.hang_timeout, BEAT_SECONDS) if info.size > 1 else None
        try:
            outcome: Outcome = run_solve(
                lambda: load_problem(path),
                settings,
                requests=requests,
                info=info,
                guardian=guardian,
                load_once=True,
            )
        except CommonError as exc:
            tell_ended(exc.exit_code)
            if info.rank == exc.rank:
                if debug and exc.__cause__ is not None:
                    traceback.print_exception(exc.__cause__)
                print(f"morsr: error: {exc.message}", file=sys.stderr, flush=True)
            return exc.exit_code
        code = EXIT_STOPPED if outcome.stopped else EXIT_OK
        if outcome.rank == 0:
            tell_ended(code)
            if as_json:
                print(strict_json(outcome.result.to_json()), flush=True)
            else:
                _show(outcome)
    if outcome.losses:
        leave_now(code)
    return code


def no_core_dumps() -> None:
    """Have a crash write no memory to a disk: there are private keys in it.

    A limit of one byte keeps the kernel from handing a dump to a program, too; zero does not.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    soft = 1 if hard == resource.RLIM_INFINITY else min(1, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def leave_now(code: int) -> NoReturn:
    """End without finalising MPI, which can wait forever for what was sent to a lost rank."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def strict_json(found: dict[str, Any]) -> str:
    """Return JSON that every parser reads: what is not finite becomes null.

    A run stopped before its first pulse has no objective yet.
    """

    def finite(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return [finite(item) for item in value] if isinstance(value, list) else value

    return json.dumps({name: finite(value) for name, value in found.items()}, allow_nan=False)


def _show(outcome: object) -> None:
    """Print objective, bound, certificate and work of each target."""
    from morsr_mpi.app.inspect import Findings, describe_solution, show
    from morsr_mpi.app.solve import Outcome

    assert isinstance(outcome, Outcome)
    result = outcome.result
    found = Findings()
    describe_solution(found, result.solution, result.tolerance)
    found.add("time", f"{result.wall_seconds:.2f} s on {result.ranks} rank(s)")
    if result.run_dir is not None:
        found.add("result", str(Path(result.run_dir) / "result.h5"))
    print("\n".join(show(found)), flush=True)
