"""Memory of the ranks of one node while they prepare and search, with shared data and without.

Starts `mpirun -n N morsr solve` and samples /proc/PID/smaps_rollup of every rank: PSS counts a
shared page once, divided among those who map it, so the sum over ranks is what the node holds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, report

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.app.plan import memory_of
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.options import SearchOptions

KIB = 1024
SAMPLE_SECONDS = 0.1


def make(path: Path, n: int) -> None:
    """A dense Q of condition 100."""
    rng = np.random.default_rng(n)
    low_rank = rng.standard_normal((n, 8)) / np.sqrt(n)
    Q = np.diag(np.geomspace(1.0, 100.0, n)) + low_rank @ low_rank.T
    save_problem(path, QuadraticProblem.create(Q, rng.uniform(-4, 4, (1, n))))


def ranks_of(run_dir: Path) -> list[int]:
    """Process ids of the ranks of a run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"solve" in words and str(run_dir).encode() in words and b"mpirun" not in words[0]:
                found.append(int(entry.name))
    return found


def fields(path: str) -> dict[str, int]:
    """Fields in KiB of a file under /proc, as bytes."""
    out = {}
    for line in Path(path).read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            out[words[0].rstrip(":")] = int(words[1]) * KIB
    return out


def measure(problem: Path, ranks: int, shared: bool, work: str, limit: float) -> dict[str, Any]:
    """One run: peak over time of the sum of PSS, and of what each rank has for itself."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        env = dict(os.environ)
        if not shared:
            env["MORSR_SHARED_DIR"] = str(Path(folder) / "missing")
        mpirun = ["mpirun", "--with-ft", "ulfm", "--oversubscribe", "-n", str(ranks)]
        mpirun += ["--allow-run-as-root"] if os.geteuid() == 0 else []
        solve = [sys.executable, "-m", "morsr_mpi", "solve", str(problem)]
        command = [*mpirun, *solve, "--run-dir", str(run_dir), "--work", work]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        total, private = 0, [0] * ranks
        begin = time.monotonic()
        while process.poll() is None and time.monotonic() - begin < limit:
            sums, own = 0, []
            for pid in ranks_of(run_dir):
                try:
                    now = fields(f"/proc/{pid}/smaps_rollup")
                except OSError:
                    continue
                sums += now["Pss"]
                own.append(now["Private_Clean"] + now["Private_Dirty"])
            total = max(total, sums)
            for i, value in enumerate(sorted(own, reverse=True)[:ranks]):
                private[i] = max(private[i], value)
            time.sleep(SAMPLE_SECONDS)
        ended = process.poll()
        if ended is None:
            process.terminate()
            process.wait()
        return {
            "ranks": ranks,
            "shared": "yes" if shared else "no",
            "peak MiB of all": total / 2**20,
            "largest own MiB": private[0] / 2**20,
            "least own MiB": private[-1] / 2**20,
            "bar MiB": 600 + 200 * ranks,
            "exit": "" if ended is None else str(ended),
        }


def main() -> None:
    """One row per number of ranks and way."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--n", type=int, default=4096)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--work", default="1_000_000")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of one run")
    parser.add_argument("--private", action="store_true", help="without sharing, too")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder) / "p.h5"
        make(problem, args.n)
        for ranks in args.ranks:
            for shared in (True, False) if args.private else (True,):
                row = measure(problem, ranks, shared, args.work, args.limit)
                plan = memory_of(args.n, 1, SearchOptions(int(args.work)), ranks)
                row["plan MiB"] = (plan.shared + ranks * plan.per_rank) / 2**20
                rows.append(row)
                print(row, flush=True)
    report(args, rows, list(rows[0]))


if __name__ == "__main__":
    main()
