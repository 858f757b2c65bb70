"""`morsr` with one rank that lies about its votes (tests/lying.py), for runs as users start them.

Usage: mpirun -n N python liar_rank.py KIND RANK solve ...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> int:
    kind, rank = sys.argv[1], int(sys.argv[2])
    if int(os.environ.get("OMPI_COMM_WORLD_RANK", "0")) == rank:
        from lying import lying

        from morsr_mpi.app import nodes

        nodes.Node = lying(kind)  # type: ignore[misc]
    from morsr_mpi.cli.main import run

    return run(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
