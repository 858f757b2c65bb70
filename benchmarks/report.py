"""Time and memory of `morsr report` on the directory of a long run, made for it: a journal of many
tasks, a history of a day. What a run's metrics and trace cost is `--share`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from struct import pack

import numpy as np
from common import random_rotation, write

import morsr_mpi
from morsr_mpi.adapters.hdf5_result import load_run
from morsr_mpi.adapters.journal_file import FileJournal, read_records
from morsr_mpi.app.accounting import CATEGORIES
from morsr_mpi.app.metrics import DistributedMORSRMetrics
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.provenance.bodies import Genesis, Pulse
from morsr_mpi.provenance.chain import Chain, verify_chain


def long_run(path: Path, tasks: int, ranks: int, lines: int) -> None:
    """A run directory whose journal has so many tasks, and a history of so many lines."""
    morsr_mpi.solve(random_rotation(192, 100.0, 1, 4), run_dir=path, work=50_000)
    run = RunDirectory(path)
    genesis = verify_chain(read_records(run.journal)).bodies[0]
    assert isinstance(genesis, Genesis)
    run.journal.unlink()
    journal, chain, per_pulse = FileJournal(run.journal), Chain(), 100
    journal.append(chain.append(genesis))
    rng = np.random.default_rng(0)
    for pulse in range(tasks // per_pulse):
        who = rng.integers(0, ranks, per_pulse)
        body = Pulse(0, pulse, rng.bytes(32), rng.bytes(32 * per_pulse),
                     pack(f">{per_pulse}H", *who.tolist()), rng.bytes(32))  # fmt: skip
        journal.append(chain.append(body))
    journal.close()
    metrics = dict.fromkeys(DistributedMORSRMetrics.__dataclass_fields__, 0.5)
    with run.history.open("w") as file:
        for i in range(lines):
            at = 20.0 * i
            file.write(json.dumps({
                "version": 1, "time": 1e9 + at, "elapsed": at, "start": 0, "final": i == lines - 1,
                "pulse": i, "incumbent": 400.0 - i / lines, "bound": 100.0 + i / lines,
                "gap": 0.75 - 0.1 * i / lines, "work": 1000 * i, "frontier": i, "targets": 4,
                "targets_done": 0, "certified": 0, "lost": 0, "metrics": metrics,
                "cpu": dict.fromkeys(CATEGORIES, at * ranks / 9), "wall": at * ranks,
                "sent_bytes": 1.0 * i, "ranks": list(range(ranks)),
                "utilisation": rng.uniform(0.8, 1.0, ranks).round(3).tolist(),
            }) + "\n")  # fmt: skip


def measured(path: Path) -> dict[str, float]:
    """Run the command once: wall and CPU seconds, peak memory, size of the page."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "morsr_mpi", "report", str(path)], stdout=subprocess.DEVNULL
    )
    _, code, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    assert process.returncode == 0
    return {
        "seconds": time.monotonic() - begin,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024.0,
        "page_mib": (path / "report.html").stat().st_size / 2**20,
    }


def share(work: int) -> dict[str, float]:
    """Part of a run's CPU time that its figures and its trace take, by its own account."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        begin = time.process_time()
        morsr_mpi.solve(random_rotation(192, 100.0, 1, 3), run_dir=path, work=work, ranks=2)
        total = time.process_time() - begin
        lines = (path / "metrics.jsonl").read_text().splitlines()
        text = (path / "metrics.prom").read_text()
        cost = float(text.split("\nmorsr_metrics_cpu_seconds_total{")[1].split("} ")[1].split()[0])
        size = (path / "trace.json").stat().st_size
        explored = float(np.sum(load_run(path / "result.h5")["cpu_explore"]))
    return {
        "cpu_seconds": total,
        "explore": explored,
        "metrics_cpu_seconds": cost,
        "share_percent": 100.0 * cost / total,
        "lines": len(lines),
        "trace_bytes": size,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--ranks", type=int, default=128)
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--share", type=int, metavar="WORK", help="share of a run of this work")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: dict[str, object] = {}
    if args.share:
        found["share"] = share(args.share)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            long_run(path, args.tasks, args.ranks, args.lines)
            found["report"] = [measured(path) for _ in range(args.runs)]
    print(json.dumps(found, indent=1))
    if args.json:
        write(args.json, found)


if __name__ == "__main__":
    main()
