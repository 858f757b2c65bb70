"""`morsr` where every rank has a cache of its own below a directory; one may die in the middle.

Usage: mpirun -n N python cache_rank.py DIR VICTIM AFTER solve ...; the victim kills itself when it
begins its task number AFTER. VICTIM -1: nobody dies.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    folder, victim, after = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rank = os.environ.get("OMPI_COMM_WORLD_RANK", "0")
    if int(rank) == victim:
        from morsr_mpi.search import explore

        begin, count = explore.Explorer.begin, [0]

        def dying(self: Any, task: Any) -> Any:
            count[0] += 1
            if count[0] >= after:
                os.kill(os.getpid(), signal.SIGKILL)
            return begin(self, task)

        explore.Explorer.begin = dying  # type: ignore[method-assign]
    from morsr_mpi.cli.main import run

    return run([*sys.argv[4:], "--cache", str(folder / rank)])


if __name__ == "__main__":
    sys.exit(main())
