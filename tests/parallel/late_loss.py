"""`morsr` in which one rank loses its group as the last to leave the search.

Usage: mpirun -n N python late_loss.py RANK solve ...; all others have left by then, and wait for
the rank in the steps at the end of a run.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def main() -> int:
    if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == sys.argv[1]:
        from morsr_mpi.app.crew import WatchedTransport
        from morsr_mpi.base.errors import PeersLostError

        leave, struck = WatchedTransport.leave, [False]

        def lost(self: Any) -> bool:
            done = leave(self)
            if done and not struck[0]:
                struck[0] = True
                raise PeersLostError("this rank was away")
            return done

        WatchedTransport.leave = lost  # type: ignore[method-assign]
    from morsr_mpi.cli.main import run

    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
