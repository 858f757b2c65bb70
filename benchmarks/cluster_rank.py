"""One rank of a benchmark over MPI: runs a job and prints one line of JSON; started by others.

Usage: mpirun -n N python cluster_rank.py '{"kind": ..., "apart": false, ...}'. Keys: kind of work
("rotation", "weighted", "empty", "burn") with its parameters; apart: every rank runs the whole
job alone, all started together; lag, security; slowed: factor by which the last rank is slower;
pids: a file for the process ids.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from common import random_rotation
from mpi4py import MPI
from rank_work import (
    BurningExplorer,
    SlowedExplorer,
    WeightedExplorer,
    WeightedSearch,
    heavy_tailed,
)

from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.mpi import MpiTransport
from morsr_mpi.app.loop import run_node
from morsr_mpi.base.digest import sha256
from morsr_mpi.node.core import Node
from morsr_mpi.node.settings import FULL_CAPACITY, NodeSettings
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.unsigned import UnsignedSigner
from morsr_mpi.storage.memory_store import MemoryStore


def job(options: dict[str, Any]) -> tuple[Any, Any]:
    """Return search and explorer."""
    lag = options.get("lag", 0)
    if options["kind"] == "rotation":
        problem = random_rotation(options["n"], options["kappa"], options["seed"], options["k"])
        prepared = prepare(problem)
        search = Search(problem, prepared, SearchOptions(options.get("units"), lag))
        return search, Explorer(problem, prepared)
    if options["kind"] == "weighted":
        pulses = heavy_tailed(options["tasks"], options["pulses"], options["mean"], options["seed"])
    else:
        pulses = [[0] * options["tasks"]] * options["pulses"]
    if options["kind"] == "burn":
        return WeightedSearch(pulses, lag), BurningExplorer(options["seconds"])
    return WeightedSearch(pulses, lag), WeightedExplorer()


def main() -> None:
    """Run and report."""
    options = json.loads(sys.argv[1])
    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    if "pids" in options:
        pids = world.gather(os.getpid())
        if rank == 0:
            Path(options["pids"]).write_text(json.dumps(pids))
    transport = MpiTransport(MPI.COMM_SELF if options.get("apart") else None)
    search, explorer = job(options)
    factor = options.get("slowed", 1.0)
    capacity = FULL_CAPACITY
    if factor > 1.0 and rank == size - 1 and not options.get("apart"):
        explorer = SlowedExplorer(explorer, factor)
    name = sha256(json.dumps(options, sort_keys=True).encode())
    settings = NodeSettings(
        transport.rank, transport.size, name, name, lag=options.get("lag", 0), capacity=capacity
    )
    signed = options.get("security", "sign") == "sign"
    signer = Ed25519Signer(os.urandom(32)) if signed else UnsignedSigner()
    node = Node(settings, search, signer, MemoryStore())
    world.Barrier()
    begin = time.perf_counter()
    out = run_node(node, transport, SystemClock(), explorer)
    seconds = time.perf_counter() - begin
    world.Barrier()
    all_done = time.perf_counter() - begin
    stats = out.stats
    line = {
        "rank": rank,
        "seconds": seconds,
        "all_seconds": all_done,
        "state": search.state_digest().hex(),
        "certified": int(search.solution().certified.sum()) if hasattr(search, "solution") else 0,
        "pulses": search.committed,
        "tasks": stats.tasks,
        "work": stats.work,
        "wasted": stats.wasted,
        "cpu": stats.cpu,
        "busy": stats.busy,
        "rounds": stats.rounds,
        "bytes": stats.slot_bytes + stats.frame_bytes,
        "total_cpu": stats.total_cpu,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
