"""What MPI and HDF5 are there, asked in a process of its own: `python -m morsr_mpi.adapters.probe`.

A broken MPI installation can abort or hang the process that loads it; `morsr doctor` must
survive that. Prints one JSON object; with `--init` it initialises MPI and adds the world.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def probe(initialise: bool) -> dict[str, Any]:
    """Return versions of MPI and mpi4py, whether ULFM is there, and with `initialise` the world."""
    found: dict[str, Any] = {}
    try:
        import mpi4py

        mpi4py.rc.initialize = initialise
        from mpi4py import MPI

        found["mpi4py"] = mpi4py.__version__
        first = MPI.Get_library_version().replace("\0", " ").strip().split("\n")[0]
        found["library"] = " ".join(first.split())
        found["standard"] = ".".join(str(part) for part in MPI.Get_version())
        if initialise:
            world = MPI.COMM_WORLD
            found["size"] = world.Get_size()
            found["rank"] = world.Get_rank()
            found["hosts"] = len(set(world.allgather(MPI.Get_processor_name())))
    except Exception as exc:  # whatever is wrong with this MPI is the answer
        found["error"] = " ".join(str(exc).split()) or type(exc).__name__
    return found


def main() -> None:
    """Print what was found; with several ranks only rank 0 does."""
    found = probe("--init" in sys.argv[1:])
    if found.get("rank", 0) == 0:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
