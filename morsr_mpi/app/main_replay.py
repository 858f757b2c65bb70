"""What `morsr replay` does on each rank."""

from __future__ import annotations

import json
import re
import secrets
import sys
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
    from morsr_mpi.app.replay import Replay, Request
    from morsr_mpi.app.sharing import Share
    from morsr_mpi.app.world import open_world

    world = open_world(info)
    together = Together(world.transport(), world.clock) if world.size > 1 else None
    share = Share(together)
    drawn = secrets.randbits(32) if seed is None else seed
    told = share.gather(drawn.to_bytes(8, "big", signed=True))[0]  # rank 0's counts
    drawn = int.from_bytes(told, "big", signed=True)
    request = Request(sample, task.lower() if task else None, problem, cache, drawn)
    try:
        found = share.agree(lambda: Replay(path, request, share)).run()
    except CommonError as exc:
        if info.rank == exc.rank:
            print(f"morsr: error: {exc.message}", file=sys.stderr, flush=True)
        return exc.exit_code
    share.close()
    if info.rank == 0:
        print(json.dumps(found.to_json()) if as_json else found.line, flush=True)
    return EXIT_OK
