"""A frontier of 100 000 chambers at n = 1024: bytes and CPU seconds of snapshot and checkpoint,
cost of a change, memory; and what folding at a small limit costs a certified search.

The chambers come from real enumerations that are interrupted early.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, random_rotation, report

from morsr_mpi.adapters.hdf5_checkpoint import store_checkpoint
from morsr_mpi.app.rerun import explore
from morsr_mpi.search.chambers import Chamber, pack
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.frontier import Frontier
from morsr_mpi.search.frontier_codec import decode_frontier, encode_frontier
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.set_digest import SetDigest
from morsr_mpi.search.state import Search
from morsr_mpi.search.tasks import PROVE, Task, TaskResult
from morsr_mpi.storage.checkpoint import Checkpoint


def resident() -> int:
    """Peak memory of this process, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fill(search: Search, explorer: Explorer, chambers: int) -> None:
    """Open chambers by short enumerations, one after the other, deepest first."""
    frontier = search.units[0].frontier
    objective = float("inf")
    tiles = frontier.tiles
    pending: list[Chamber] = frontier.take(1)
    while len(frontier) + len(pending) < chambers:
        chamber = pending.pop(0) if pending else frontier.take(1)[0]
        split = 8 if chamber.depth < tiles // 2 else 0
        task = Task(PROVE, 0, 0, objective, (pack([chamber]), split, 2))
        run = explorer.begin(task)
        while not run.step(1000):
            pass
        opened = TaskResult.from_bytes(run.result()).chambers
        ready = [c for c in opened if c.depth < tiles // 2]
        pending.extend(ready[:4])
        frontier.add(c for c in opened if c not in ready[:4])
    frontier.add(pending)


def timed(call: Any, times: int = 3) -> tuple[float, Any]:
    """Median CPU seconds, and the last value."""
    seconds, value = [], None
    for _ in range(times):
        start = time.process_time()
        value = call()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), value


def large(args: Any) -> list[dict[str, Any]]:
    """Figures of a frontier of args.chambers."""
    problem = random_rotation(args.n, 100.0, 0)
    prepared = prepare(problem)
    options = SearchOptions(None, frontier_limit=2 * args.chambers)
    search = Search(problem, prepared, options)
    before = resident()
    fill(search, Explorer(problem, prepared), args.chambers)
    grown = resident() - before
    frontier = search.units[0].frontier
    depths = [c.depth for c in frontier]
    rows = [{"what": "open chambers", "value": len(frontier), "bar": ""}]
    rows.append({"what": "mean depth", "value": float(np.mean(depths)), "bar": ""})
    rows.append({"what": "peak memory per chamber, bytes", "value": grown / len(frontier)})
    seconds, snapshot = timed(search.snapshot)
    rows.append({"what": "snapshot MiB", "value": len(snapshot) / 2**20, "bar": "100"})
    rows.append({"what": "snapshot, CPU s", "value": seconds, "bar": ""})
    checkpoint = Checkpoint(
        problem.digest, options.digest(), 0, state=snapshot, solution=search.solution()
    )
    with tempfile.TemporaryDirectory() as folder:
        written, _ = timed(lambda: store_checkpoint(Path(folder), checkpoint))
        size = max(p.stat().st_size for p in Path(folder).glob("*.h5"))
    rows.append({"what": "checkpoint file MiB", "value": size / 2**20, "bar": "100"})
    rows.append({"what": "snapshot and checkpoint, CPU s", "value": seconds + written, "bar": "1"})
    columns = encode_frontier(frontier.view())
    seconds, _ = timed(lambda: decode_frontier(columns, frontier.tiles), 1)
    rows.append({"what": "restore, CPU s", "value": seconds})
    rows.extend(changes(frontier))
    return rows


def changes(frontier: Frontier) -> list[dict[str, Any]]:
    """Take and give back 256 chambers, with the digest after each, beside from scratch."""
    frontier.digest()

    def change() -> None:
        taken = frontier.take(256)
        frontier.digest()
        frontier.add(taken)
        frontier.digest()

    def scratch() -> None:
        fresh = SetDigest(frontier.limit)
        for chamber in frontier:
            fresh.add(chamber.content())
        fresh.digest()

    one, _ = timed(change, 9)
    all_of_it, _ = timed(scratch)
    return [
        {"what": "256 chambers out and in, with digests, ms", "value": 1e3 * one},
        {"what": "digest from scratch, ms", "value": 1e3 * all_of_it},
    ]


def folding(args: Any) -> list[dict[str, Any]]:
    """Work of certified searches at a limit of 100 over that at the default."""
    ratios, folded = [], 0
    for seed in range(args.seeds):
        problem = random_rotation(args.small, 40.0, seed)
        prepared = prepare(problem)
        work = []
        for limit in (100, 1 << 17):
            search = Search(problem, prepared, SearchOptions(None, frontier_limit=limit))
            explorer = Explorer(problem, prepared)
            while not search.finished:
                pulse, tasks = search.plan()
                results = [explore(explorer, task) for task in tasks]
                search.commit(pulse, results)
            work.append(search.units[0].work)
            folded += search.units[0].frontier.folded
        ratios.append(work[0] / work[1])
    return [
        {"what": f"n = {args.small}: searches that folded, of {args.seeds}", "value": folded},
        {"what": "work at limit 100 over default, median", "value": statistics.median(ratios)},
        {"what": "work at limit 100 over default, most", "value": max(ratios)},
    ]


def main() -> None:
    """Run both parts."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--n", type=int, default=1024)
    parser.add_argument("--chambers", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=64)
    parser.add_argument("--no-folding", action="store_true", help="the large frontier alone")
    parser.add_argument("--folding-only", action="store_true", help="the other part alone")
    parser.set_defaults(seeds=5)
    args = parser.parse_args()
    rows = [] if args.folding_only else large(args)
    if not args.no_folding:
        rows += folding(args)
    for row in rows:
        row.setdefault("bar", "")
    report(args, rows, ["what", "value", "bar"])


if __name__ == "__main__":
    main()
