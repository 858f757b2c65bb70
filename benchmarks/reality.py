"""The scale model beside real runs: the same workload over real MPI and simulated.

Tasks burn their recorded CPU time. Counts of messages, bytes by type and tasks of each rank are
compared exactly, wall time and efficiency as ratios.

    python benchmarks/reality.py -n 2 4 8 16
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from morsr_mpi.app.simulate.calibration import load_calibration
from morsr_mpi.app.simulate.predict_nodes import NodePrediction, even_workload, predict_nodes
from morsr_mpi.app.simulate.workload import Workload, WorkloadSearch, WorkloadTask
from morsr_mpi.base.digest import sha256

#: Bytes of a result: it fits a slot beside an order, so no message depends on time.
RESULT_BYTES = 200


class BurningRun:
    """A task that uses its CPU time."""

    def __init__(self, task: WorkloadTask) -> None:
        self._task = task
        self._left = task.item.units / 1e6
        self.work = 0

    def step(self, units: int) -> bool:
        """Burn about `units` microseconds."""
        start = time.process_time()
        until = start + min(self._left, units / 1e6)
        while time.process_time() < until:
            pass
        used = time.process_time() - start
        self._left -= used
        self.work += int(used * 1e6)
        return self._left <= 0.0

    def result(self) -> bytes:
        """The result of the task."""
        return self._task.result()


class BurningExplorer:
    """Begins such tasks."""

    def begin(self, task: WorkloadTask) -> BurningRun:
        """Start one."""
        return BurningRun(task)


def rank_main(workload: Workload) -> None:
    """One rank of a real run: prints its counts as JSON."""
    from morsr_mpi.adapters.clock import SystemClock
    from morsr_mpi.adapters.mpi import MpiTransport, abort_on_exception
    from morsr_mpi.app.loop import run_node
    from morsr_mpi.app.simulate.traffic import CountingTransport
    from morsr_mpi.node.core import Node
    from morsr_mpi.node.settings import NodeSettings
    from morsr_mpi.security.ed25519 import Ed25519Signer
    from morsr_mpi.storage.memory_store import MemoryStore

    abort_on_exception()
    transport = CountingTransport(MpiTransport())
    rank, size = transport.rank, transport.size
    settings = NodeSettings(rank, size, sha256(b"p"), sha256(b"o"))
    node = Node(settings, WorkloadSearch(workload), Ed25519Signer(os.urandom(32)), MemoryStore())
    out = run_node(node, transport, SystemClock(), BurningExplorer())  # type: ignore[arg-type]
    line = {
        "rank": rank,
        "wall": out.stats.wall,
        "explore": out.stats.explore_cpu,
        "messages": transport.messages,
        "bytes": transport.bytes,
        "tasks": node.tasks_by_rank,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def real_run(ranks: int, pulses: int, each: int, units: int) -> list[dict[str, Any]]:
    """Start mpirun; return the lines of all ranks."""
    mpirun = Path(sys.executable).parent / "mpirun"
    command = [
        str(mpirun) if mpirun.exists() else "mpirun",
        *("--allow-run-as-root", "--oversubscribe", "--with-ft", "ulfm", "-n", str(ranks)),
        *(sys.executable, __file__, "--rank", str(pulses), str(each), str(units)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def compare(ranks: int, pulses: int, each: int, units: int) -> dict[str, Any]:
    """Run both; return what was counted and measured."""
    cal = load_calibration()
    workload = even_workload(pulses, ranks, each, units, RESULT_BYTES)
    model: NodePrediction = predict_nodes(cal, cal.network("shm"), workload, ranks)
    lines = real_run(ranks, pulses, each, units)
    messages: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for line in lines:
        messages.update(line["messages"])
        sizes.update(line["bytes"])
    wall = max(line["wall"] for line in lines)
    explored = sum(line["explore"] for line in lines)
    return {
        "ranks": ranks,
        "counts equal": (messages, sizes, lines[0]["tasks"])
        == (model.messages, model.bytes, model.rank_tasks),
        "messages": dict(messages),
        "messages predicted": dict(model.messages),
        "bytes": dict(sizes),
        "bytes predicted": dict(model.bytes),
        "tasks by rank": lines[0]["tasks"],
        "efficiency": explored / (ranks * wall),
        "efficiency predicted": model.efficiency,
        "wall": wall,
        "wall predicted": model.wall,
        "ratio": model.wall / wall,
    }


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, nargs="*", default=[2])
    parser.add_argument("--pulses", type=int, default=20)
    parser.add_argument("--each", type=int, default=1, help="tasks of each rank and pulse")
    parser.add_argument("--units", type=int, default=50_000, help="microseconds of a task")
    parser.add_argument("--rank", type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.rank:
        from mpi4py import MPI

        pulses, each, units = args.rank
        size = MPI.COMM_WORLD.Get_size()
        rank_main(even_workload(pulses, size, each, units, RESULT_BYTES))
        return
    rows = [compare(n, args.pulses, args.each, args.units) for n in args.n]
    for row in rows:
        print(json.dumps(row, indent=1))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
