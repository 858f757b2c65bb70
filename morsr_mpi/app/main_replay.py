"""What `morsr replay` does on each rank."""

from __future__ import annotations

import json
import re
import secrets
import sys
from functools import partial
from pathlib import Path

from morsr_mpi.app.environment import apply_cpu_level, launch_info
from morsr_mpi.base.errors import EXIT_OK, UsageError

_ID = re.compile(r"[0-9a-f]{8,64}")


def replay_command(
    path: Path,
    *,
    sample: int | None,
    task: str | None,
    problem: Path | None,
    cache: Path | None,
    seed: int | None,
    as_json: bool,
) -> int:
    """Replay a run directory on this rank; one of the ranks prints. Raises MorsrError."""
    if task is not None and not _ID.fullmatch(task.lower()):
        raise UsageError(f"{task!r} is not 8 to 64 hexadecimal digits of a computation id")
    info = launch_info()
    apply_cpu_level()
    from morsr_mpi.app.agree import CommonError, Together
    from morsr_mpi.app.demo.look import is_demo, runs_of
    from morsr_mpi.app.replay import Replay, Request
    from morsr_mpi.app.sharing import Share
    from morsr_mpi.app.world import open_world

    world = open_world(info)
    together = Together(world.transport(), world.clock) if world.size > 1 else None
    share = Share(together)
    drawn = secrets.randbits(32) if seed is None else seed
    first = share.gather(drawn.to_bytes(8, "big", signed=True))[0]  # rank 0's counts
    drawn = int.from_bytes(first, "big", signed=True)
    request = Request(sample, task.lower() if task else None, problem, cache, drawn)
    runs = runs_of(path) if is_demo(path) else [path]
    told: list[str] = []
    replayed: dict[str, object] = {}
    try:
        for run in runs:
            found = share.agree(partial(Replay, run, request, share)).run()
            replayed[run.name] = found.to_json()
            told.append(found.line if run is path else f"{run.name}: {found.line}")
    except CommonError as exc:
        if info.rank == exc.rank:
            print(f"morsr: error: {exc.message}", file=sys.stderr, flush=True)
        return exc.exit_code
    share.close()
    if info.rank == 0:
        out = replayed[path.name] if runs == [path] else {"runs": replayed}
        print(json.dumps(out) if as_json else "\n".join(told), flush=True)
    return EXIT_OK
