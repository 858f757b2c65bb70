"""Parallel efficiency: E = T_pair / T_N, T_pair the time in which N independent one-rank runs
started together finish, divided by N; the plain T1 / (N T_N) beside it.

Cases: a (k >= 64 N targets), b (one certified search), c (one target under a budget), tail
(heavy-tailed tasks, the largest 20 times the mean), slowed (the same, one rank at half speed, by
capacity), stopped (4 ranks, one stopped for two seconds, with a lag that covers it and without).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import arguments, report

PROGRAM = Path(__file__).resolve().parent / "cluster_rank.py"
#: The categories that are communication and coordination.
COORDINATION = ("exchange", "vote")


def mpirun(ranks: int) -> list[str]:
    """The command that starts ranks on this machine."""
    program = Path(sys.executable).parent / "mpirun"
    command = [str(program if program.exists() else shutil.which("mpirun")), "-n", str(ranks)]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-run-as-root")
    bind = ["--bind-to", "core"] if ranks <= (os.cpu_count() or 1) else ["--oversubscribe"]
    return [*command, "--with-ft", "ulfm", *bind]


def start(ranks: int, options: dict[str, Any]) -> subprocess.Popen[str]:
    """Start ranks of one job."""
    command = [*mpirun(ranks), sys.executable, str(PROGRAM), json.dumps(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Return the lines of all ranks."""
    text, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the ranks ended with {process.returncode}")
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return sorted(lines, key=lambda line: int(line["rank"]))


def run(ranks: int, **options: Any) -> list[dict[str, Any]]:
    """Run one job to its end."""
    return finish(start(ranks, options))


def row(case: str, together: list[dict[str, Any]], pair: float, alone: float) -> dict[str, Any]:
    """Return the figures of one run. pair: T_pair; alone: T1 in CPU seconds of exploring."""
    n = len(together)
    wall = max(line["all_seconds"] for line in together)
    cpu = {key: sum(line["cpu"][key] for line in together) for key in together[0]["cpu"]}
    return {
        "case": case,
        "ranks": n,
        "T_N": wall,
        "T_pair": pair,
        "E": pair / wall,
        "T1/(N T_N)": alone / (n * wall),
        "idle": max(1.0 - line["busy"] / line["all_seconds"] for line in together),
        "coordination": sum(cpu[key] for key in COORDINATION) / (n * wall),
        "commit": cpu["commit"] / (n * wall),
        "work": sum(line["work"] + line["wasted"] for line in together),
        "wasted": sum(line["wasted"] for line in together),
        "pulses": together[0]["pulses"],
        "cpu": cpu,
        "bytes": sum(line["bytes"] for line in together),
    }


def compare(
    case: str, ranks: int, repeats: int, slowed: float, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Run a job on N ranks and N times on one rank each, in turn."""
    rows = []
    for _ in range(repeats):
        apart = run(ranks, **options, apart=True)
        pair = max(line["all_seconds"] for line in apart) / ranks
        if slowed > 1.0:  # capacity of N - 1 full ranks and one slow one
            pair *= ranks / (ranks - 1 + 1.0 / slowed)
        together = run(ranks, **options, slowed=slowed)
        if {line["state"] for line in together} != {apart[0]["state"]}:
            raise SystemExit(f"case {case}: the states differ")
        found = row(case, together, pair, min(line["seconds"] for line in apart))
        found["work ratio"] = found["work"] / apart[0]["work"]
        found["lag"] = options.get("lag", 0)
        rows.append(found)
    return rows


def stopped(ranks: int, lag: int, options: dict[str, Any]) -> dict[str, Any]:
    """Stop one rank for two seconds in the middle of a run, compare with an undisturbed one."""
    quiet = run(ranks, **options, lag=lag)
    with tempfile.TemporaryDirectory() as folder:
        pids = Path(folder) / "pids"
        process = start(ranks, {**options, "lag": lag, "pids": str(pids)})
        while not pids.exists() or not pids.read_text():
            time.sleep(0.01)
        time.sleep(0.3 * max(line["all_seconds"] for line in quiet) + 1.0)
        victim = json.loads(pids.read_text())[1]
        os.kill(victim, signal.SIGSTOP)
        time.sleep(2.0)
        os.kill(victim, signal.SIGCONT)
        disturbed = finish(process)
    before = max(line["all_seconds"] for line in quiet)
    after = max(line["all_seconds"] for line in disturbed)
    cores = os.cpu_count() or 1
    # With more ranks than cores the others use the core of the one that stands still.
    share = 2.0 / ranks if ranks <= cores else 0.0
    return {
        "case": f"stopped, lag {lag}",
        "ranks": ranks,
        "T_N": after,
        "undisturbed": before,
        "own share": share,
        "delay beyond": after - before - share,
        "lag": lag,
        "same bits": len({line["state"] for line in (*quiet, *disturbed)}) == 1,
    }


CASES: dict[str, dict[str, Any]] = {
    "a": {"kind": "rotation", "n": 64, "kappa": 100.0, "seed": 1, "units": 400_000},
    "b": {"kind": "rotation", "n": 104, "kappa": 10.0, "seed": 3, "k": 1, "units": None},
    "c": {"kind": "rotation", "n": 256, "kappa": 100.0, "seed": 1, "k": 1, "units": 30_000_000},
    "tail": {"kind": "weighted", "tasks": 256, "pulses": 20, "mean": 40.0, "seed": 1},
}


def main() -> None:
    """Run the cases asked for."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", choices=[*CASES, "slowed", "stopped"])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--lag", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--n", type=int, help="dimension of the problem instead of the usual")
    parser.add_argument("--security", choices=["off", "sign"], default="sign")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for case in args.case or ["a", "tail"]:
        options = dict(CASES[{"slowed": "tail", "stopped": "a"}.get(case, case)])
        options["security"] = args.security
        if args.n:
            options["n"] = args.n
        if options["kind"] == "rotation":
            options.setdefault("k", 64 * args.ranks)
        if case == "stopped":
            rows += [stopped(4, lag, options) for lag in (args.lag, 0)]
            continue
        slowed_by = 2.0 if case == "slowed" else 1.0
        options["lag"] = args.lag
        rows += compare(case, args.ranks, args.repeats, slowed_by, options)
    for found in rows:
        found["E median"] = (
            statistics.median(r["E"] for r in rows if r["case"] == found["case"] and "E" in r)
            if "E" in found
            else None
        )
    columns = ["case", "ranks", "lag", "T_N", "T_pair", "E", "T1/(N T_N)", "idle", "coordination",
               "commit", "work ratio", "delay beyond", "same bits"]  # fmt: skip
    report(args, rows, columns)


if __name__ == "__main__":
    main()
