"""Measures what the scale model of `morsr simulate` is made of, and writes one file.

Explore times and result sizes of recorded runs, planning and committing, signatures, opening
of frames, votes, assignment: CPU time on one core. Shared memory: two ranks under mpirun. The
presets tcp25 and hdr cannot be measured on one machine; they are what vendors and the usual
micro-benchmarks state, with their source in the file.

    python benchmarks/calibrate.py --dims 256 512 1024 2048 4096
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import machine, random_rotation

from morsr_mpi.app.simulate.calibration import FILE, VERSION
from morsr_mpi.app.simulate.probe import Probe, measure_ranks, seconds_per_call
from morsr_mpi.base.digest import sha256
from morsr_mpi.cluster.assignment import assign
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search
from morsr_mpi.security.ed25519 import Ed25519Signer

#: Targets recorded for workload (a), by dimension, and CPU seconds of exploring them.
TARGETS = {256: 32, 512: 16, 1024: 8, 2048: 4, 4096: 2}
SECONDS_A = 2.0
#: Workload (b): a certified search, κ = 10.
DIMENSION_B = 112
SECONDS_B = 8.0

PRESETS = {
    "tcp25": {
        "latency": 25e-6,
        "bytes_per_second": 2.9e9,
        "source": "25 GbE: 23.5 Gbit/s of payload, 20 to 30 us over kernel TCP",
    },
    "hdr": {
        "latency": 1.3e-6,
        "bytes_per_second": 23.5e9,
        "source": "HDR, 200 Gbit/s: 0.9 to 1.5 us, 23 to 24 GB/s in the OSU benchmarks",
    },
}


def record(n: int, k: int, kappa: float, seconds: float, work: int | None) -> dict[str, Any]:
    """Run a search on one core; return its batches and what they cost."""
    problem = random_rotation(n, kappa, 1, k)
    start = time.process_time()
    prepared = prepare(problem)
    factoring = time.process_time() - start
    search = Search(problem, prepared, SearchOptions(work))
    explorer = Explorer(problem, prepared)
    pulses: list[list[list[float]]] = []
    explore = plan = commit = digest = 0.0
    units = tasks_done = 0
    while not search.finished and explore < seconds:
        start = time.process_time()
        number, tasks = search.plan()
        plan += time.process_time() - start
        rows, results = [], []
        for task in tasks:
            start = time.process_time()
            run = explorer.begin(task)
            while not run.step(4_000):
                pass
            result = run.result()
            took = time.process_time() - start
            explore += took
            units += run.work
            rows.append([round(took, 7), len(result), round(task.weight, 1)])
            results.append(result)
        start = time.process_time()
        search.commit(number, results)
        commit += time.process_time() - start
        start = time.process_time()
        search.state_digest()
        digest += time.process_time() - start
        tasks_done += len(tasks)
        pulses.append(rows)
    kept = pulses[len(pulses) // 2 :]
    while len(kept) > 1 and sum(map(len, kept)) > 1500:
        kept = kept[1:]
    return {
        "n": n,
        "targets": k,
        "kappa": kappa,
        "prepare_seconds": factoring,
        "seconds_per_unit": explore / max(1, units),
        "plan_per_task": plan / tasks_done,
        "commit_per_task": commit / tasks_done,
        "digest_per_pulse": digest / max(1, len(pulses)),
        "pulses_run": len(pulses),
        "pulses": kept,
    }


def shared_memory() -> dict[str, Any]:
    """Latency and rate between two ranks of this machine."""
    mpirun = Path(sys.executable).parent / "mpirun"
    program = str(mpirun) if mpirun.exists() else shutil.which("mpirun") or "mpirun"
    command = [program, "--allow-run-as-root", "--oversubscribe", "-n", "2", sys.executable,
               "-m", "morsr_mpi.app.simulate.probe"]  # fmt: skip
    text = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return {**found, "source": "measured: ping-pong of two ranks on one machine"}


def assignment_cost() -> dict[str, float]:
    """Seconds of `assign` for 256 tasks: a constant, and a rate per task and rank."""
    ids = [sha256(str(i).encode()) for i in range(256)]
    weights = [1.0 + i % 7 for i in range(256)]
    small = seconds_per_call(lambda: assign(ids, weights, [1.0] * 8))
    large = seconds_per_call(lambda: assign(ids, weights, [1.0] * 1024))
    pair = (large - small) / (256 * (1024 - 8))
    return {"per_task": max(0.0, small / 256 - 8 * pair), "per_task_and_rank": pair}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", type=int, nargs="*", default=sorted(TARGETS))
    parser.add_argument("--out", type=Path, default=FILE)
    args = parser.parse_args()
    signer = Ed25519Signer(bytes(range(32)))
    message = bytes(200)
    signature = signer.sign(message)
    probe: Probe = measure_ranks()
    data: dict[str, Any] = {
        "version": VERSION,
        "machine": machine(),
        "crypto": {
            "sign": seconds_per_call(lambda: signer.sign(message)),
            "verify": seconds_per_call(
                lambda: signer.verify(signer.public_key, message, signature)
            ),
        },
        "node": {
            "turn": probe.turn,
            "frame": probe.frame,
            "slot": probe.slot,
            "vote": probe.vote,
            "assign": assignment_cost(),
        },
        "death_report": {"shm": 0.024, "tcp25": 0.1, "hdr": 0.1,
                         "source": "ULFM: 3 to 24 ms on one host, 0.1 s across three"},
        "networks": {"shm": shared_memory(), **PRESETS},
        "workloads": {"a": {}, "b": {}},
    }  # fmt: skip
    data["workloads"]["b"][str(DIMENSION_B)] = record(DIMENSION_B, 1, 10.0, SECONDS_B, None)
    for n in args.dims:
        print(f"recording n = {n}", flush=True)
        data["workloads"]["a"][str(n)] = record(n, TARGETS[n], 100.0, SECONDS_A, 10**9)
        args.out.write_text(json.dumps(data, separators=(",", ":")))
    args.out.write_text(json.dumps(data, separators=(",", ":")) + "\n")
    print(f"wrote {args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
