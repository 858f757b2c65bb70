"""Cost of a task beside mpi4py.futures, schwimmbad and raw self-scheduling MPI.

Empty tasks per second, and efficiency on 200 tasks of 5 ms of CPU. morsr's tasks are planned by
every rank, ordered, computed, exchanged, validated and committed to a replicated, hash-chained
state with a journal record per pulse; the peers call a function and return its value. Peers need
a rank that only hands out work: they get one more process, and efficiency counts the ranks that
compute.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import arguments, report
from scaling import mpirun, run

HERE = Path(__file__).resolve().parent
COMPUTING = 2
#: Of the 200 tasks.
TASK_SECONDS = 0.005
TASKS = 200


def empty(_: int) -> int:
    """Do nothing."""
    return 0


def burn(_: int) -> int:
    """Use 5 ms of CPU time."""
    end = time.thread_time() + TASK_SECONDS
    while time.thread_time() < end:
        pass
    return 0


CALLS = {"empty": empty, "burn": burn}


def futures(call: str, count: int) -> float:
    """mpi4py.futures over the ranks of this world: started with `-m mpi4py.futures`."""
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        list(pool.map(CALLS[call], range(8)))  # workers are up
        begin = time.perf_counter()
        list(pool.map(CALLS[call], range(count)))
        return time.perf_counter() - begin


def schwimmbad_pool(call: str, count: int) -> float | None:
    """schwimmbad's MPIPool; None on the workers."""
    from schwimmbad import MPIPool

    with MPIPool() as pool:
        if not pool.is_master():
            pool.wait()
            return None
        list(pool.map(CALLS[call], range(8)))
        begin = time.perf_counter()
        list(pool.map(CALLS[call], range(count)))
        return time.perf_counter() - begin


def raw(call: str, count: int) -> float | None:
    """Self-scheduling: rank 0 answers each result with the next task. None on the workers."""
    import numpy as np
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    box = np.zeros(1, dtype=np.int64)
    comm.Barrier()
    if comm.rank:
        comm.Send(box, 0)
        while True:
            comm.Recv(box, 0)
            if box[0] < 0:
                return None
            CALLS[call](int(box[0]))
            comm.Send(box, 0)
    status = MPI.Status()
    begin = time.perf_counter()
    sent, working = 0, comm.size - 1
    while working:
        comm.Recv(box, MPI.ANY_SOURCE, status=status)
        box[0] = sent if sent < count else -1
        working -= sent >= count
        sent += 1
        comm.Send(box, status.Get_source())
    return time.perf_counter() - begin


PEERS = {"mpi4py.futures": futures, "schwimmbad": schwimmbad_pool, "raw MPI": raw}


def peer(name: str, ranks: int, call: str, count: int) -> float | None:
    """Seconds a peer takes; None where it is not installed."""
    extra = ["-m", "mpi4py.futures"] if name == "mpi4py.futures" else []
    command = [*mpirun(ranks), sys.executable, *extra, str(HERE / "overhead.py")]
    done = subprocess.run(
        [*command, "--peer", name, "--call", call, "--count", str(count)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return float(json.loads(lines[0])["seconds"]) if lines else None


def own(kind: str) -> tuple[float, int]:
    """Seconds morsr takes on two ranks, and the number of tasks."""
    if kind == "empty":
        options = {"kind": "empty", "tasks": 4096, "pulses": 50}
    else:
        options = {"kind": "burn", "tasks": TASKS, "pulses": 1, "seconds": TASK_SECONDS}
    lines = run(COMPUTING, **options, security="off")
    return max(line["all_seconds"] for line in lines), options["tasks"] * options["pulses"]


def main() -> None:
    """Measure all in turn."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--peer", choices=list(PEERS), help="be a rank of this peer")
    parser.add_argument("--call", choices=list(CALLS))
    parser.add_argument("--count", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.peer:
        seconds = PEERS[args.peer](args.call, args.count)
        if seconds is not None:
            print(json.dumps({"seconds": seconds}), flush=True)
        return
    rates: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    counts = {"mpi4py.futures": 5_000, "schwimmbad": 50_000, "raw MPI": 100_000}
    for _ in range(args.repeats):
        seconds, count = own("empty")
        rates.setdefault("morsr", []).append(count / seconds)
        seconds, count = own("burn")
        shares.setdefault("morsr", []).append(count * TASK_SECONDS / (COMPUTING * seconds))
        for name, number in counts.items():
            # Two ranks: one hands out, one computes; then with as many computing as ours.
            taken = peer(name, COMPUTING, "empty", number)
            if taken is not None:
                rates.setdefault(name, []).append(number / taken)
            taken = peer(name, COMPUTING + 1, "burn", TASKS)
            if taken is not None:
                shares.setdefault(name, []).append(TASKS * TASK_SECONDS / (COMPUTING * taken))
    rows: list[dict[str, Any]] = []
    for name in rates:
        rate, share = statistics.median(rates[name]), statistics.median(shares[name])
        rows.append(
            {
                "system": name,
                "empty tasks/s": rate,
                "ratio": statistics.median(
                    a / b for a, b in zip(rates["morsr"], rates[name], strict=True)
                ),
                "efficiency, 5 ms": share,
                "rates": rates[name],
                "efficiencies": shares[name],
            }
        )
    report(args, rows, ["system", "empty tasks/s", "ratio", "efficiency, 5 ms"])


if __name__ == "__main__":
    main()
