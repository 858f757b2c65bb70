"""`morsr` with a fault in one rank, for the kill matrix: an exception or an exit in mid-search.

Usage: mpirun -n N python faulty_rank.py FAULT RANK TASKS solve ...; the fault strikes when the
rank has begun its TASKS-th task. FAULT: exception, exit3, segv.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def main() -> int:
    fault, rank, tasks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if int(os.environ.get("OMPI_COMM_WORLD_RANK", "0")) == rank:
        from morsr_mpi.app import regrouping

        begin, count = regrouping.Remembering.begin, [0]

        def broken(self: Any, task: Any) -> Any:
            count[0] += 1
            if count[0] == tasks:
                if fault == "exception":
                    raise ValueError("a bug in the engine")
                if fault == "exit3":
                    os._exit(3)
                os.kill(os.getpid(), signal.SIGSEGV)
            return begin(self, task)

        regrouping.Remembering.begin = broken  # type: ignore[method-assign]
    from morsr_mpi.cli.main import run

    return run(sys.argv[4:])


if __name__ == "__main__":
    sys.exit(main())
