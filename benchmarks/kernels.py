"""Nearest points of E8 in batches, beside a copy of the same memory (the limit of any kernel).

Vectors per second through the Python interface, results allocated anew on both sides; once from
the level-2 cache and once from main memory.  The NumPy twin stands beside.  Then the fused step of
the search, update the conditional centres and decode, in tile look-aheads per second: as beams do
it (one weight) and as enumerations do (a weight per coordinate, children dropped on the way); and
exact neighbours under a tile's own metric.

Times are CPU seconds, kernel and copy in turn; ratios are medians of the pairs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import arguments, random_rotation, table, write
from numpy.typing import NDArray

from morsr_mpi.lattice import e8
from morsr_mpi.search import _engine, cpu
from morsr_mpi.search.prepare import prepare

#: Repetitions of which a median is taken.
ROUNDS = 15


def seconds(repeat: int, *calls: Callable[[], object]) -> list[list[float]]:
    """CPU time of each call, in turn, ROUNDS times: one list per call."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(ROUNDS):
        for call, spent in zip(calls, times, strict=True):
            start = time.process_time()
            for _ in range(repeat):
                call()
            spent.append((time.process_time() - start) / repeat)
    return times


def look_aheads() -> list[dict[str, object]]:
    """Tile look-aheads per second, every child within the limit so that all tiles are looked at."""
    rows: list[dict[str, object]] = []
    for n, count in ((64, 8), (64, 64), (128, 64)):
        factor = prepare(random_rotation(n, 10.0, 1)).parts[0].proof
        j = n // 8 - 1
        rng = np.random.default_rng(2)
        centres = rng.uniform(-2, 2, 8 * j)
        step, start, key = rng.uniform(-1, 1, (8, count)), np.zeros(count), np.empty(count)

        def run(
            crowded: bool,
            view: _engine.FactorView = factor.view,
            c: NDArray[np.float64] = centres,
            d: NDArray[np.float64] = step,
            s: NDArray[np.float64] = start,
            out: NDArray[np.float64] = key,
        ) -> int:
            return view.look_ahead(c, d, s, crowded, 1.0, 1e300, out)

        repeat = 400_000 // (count * j)
        plain, crowd = seconds(repeat, lambda f=run: f(False), lambda f=run: f(True))
        done = run(False)
        rows.append(
            {
                "n": n,
                "children": count,
                "beam M/s": done / statistics.median(plain) / 1e6,
                "enumeration M/s": run(True) / statistics.median(crowd) / 1e6,
            }
        )
    return rows


def neighbours() -> list[dict[str, object]]:
    """The k nearest points under a metric of condition 10: calls and points per second."""
    rng = np.random.default_rng(3)
    metric = prepare(random_rotation(64, 10.0, 1)).parts[0].rank.diag[-64:].reshape(8, 8)
    centres = rng.uniform(-2, 2, (256, 8))
    rows: list[dict[str, object]] = []
    for k in (1, 16, 256):
        (spent,) = seconds(1, lambda k=k: e8.k_nearest_batch(centres, k, metric=metric))
        middle = statistics.median(spent) / len(centres)
        rows.append({"k": k, "us per centre": 1e6 * middle, "points M/s": k / middle / 1e6})
    return rows


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Bars of nearest points beside copies; needs the extra `report`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    names = [f"{row['type']}, {row['vectors']} vectors" for row in rows]
    for shift, key in enumerate(("nearest M/s", "distance M/s", "copy M/s")):
        at = [i + 0.27 * (shift - 1) for i in range(len(rows))]
        axes.bar(at, [float(str(row[key])) for row in rows], width=0.25, label=key)
    axes.set_xticks(range(len(rows)), names, fontsize=7)
    axes.set_ylabel("million vectors per second")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--level", default="", help="CPU level to force")
    parser.add_argument("--plot", type=Path, help="PNG of nearest points beside copies")
    args = parser.parse_args()
    if args.level:
        cpu.use_cpu_level(args.level)
    rng = np.random.default_rng(1)
    rows = []
    for kind in (np.float32, np.float64):
        for size in (4_096, 2_097_152):
            x: NDArray[np.floating] = rng.uniform(-4, 4, (size, 8)).astype(kind)
            repeat = max(1, 400_000 // size)
            points, distance, copy = seconds(
                repeat,
                lambda x=x: e8.nearest(x),
                lambda x=x: e8.distance2(x),
                lambda x=x: x.copy(),
            )
            few = x[:4096]
            (twin,) = seconds(1, lambda x=few: e8.nearest(x, implementation="reference"))
            rate = {
                name: size / statistics.median(spent) / 1e6
                for name, spent in (("nearest", points), ("distance", distance), ("copy", copy))
            }
            ratios = [c / p for c, p in zip(copy, points, strict=True)]
            rows.append(
                {
                    "type": np.dtype(kind).name,
                    "vectors": size,
                    "nearest M/s": rate["nearest"],
                    "distance M/s": rate["distance"],
                    "copy M/s": rate["copy"],
                    "nearest/copy": statistics.median(ratios),
                    "twin M/s": len(few) / statistics.median(twin) / 1e6,
                }
            )
    columns = ["type", "vectors", "nearest M/s", "distance M/s", "copy M/s", "nearest/copy"]
    ahead, near = look_aheads(), neighbours()
    table(rows, [*columns, "twin M/s"])
    table(ahead, ["n", "children", "beam M/s", "enumeration M/s"])
    table(near, ["k", "us per centre", "points M/s"])
    if args.json:
        write(args.json, {"nearest": rows, "look-ahead": ahead, "neighbours": near})
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
