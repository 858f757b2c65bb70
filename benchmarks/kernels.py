"""Nearest points of E8 in batches, beside a copy of the same memory (the limit of any kernel).

Vectors per second through the Python interface, results allocated anew on both sides; once from
the level-2 cache and once from main memory.  The NumPy twin stands beside.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from common import arguments, report
from numpy.typing import NDArray

from morsr_mpi.lattice import e8
from morsr_mpi.search import cpu


def seconds(call: Callable[[], object], repeat: int) -> float:
    """Median time of one call."""
    call()
    times = []
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(repeat):
            call()
        times.append((time.perf_counter() - start) / repeat)
    return statistics.median(times)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--level", default="", help="CPU level to force")
    args = parser.parse_args()
    if args.level:
        cpu.use_cpu_level(args.level)
    rng = np.random.default_rng(1)
    rows = []
    for kind in (np.float32, np.float64):
        for size in (4_096, 2_097_152):
            x: NDArray[np.floating] = rng.uniform(-4, 4, (size, 8)).astype(kind)
            repeat = max(1, 400_000 // size)
            points = seconds(lambda x=x: e8.nearest(x), repeat)
            distance = seconds(lambda x=x: e8.distance2(x), repeat)
            copy = seconds(lambda x=x: x.copy(), repeat)
            twin = seconds(lambda x=x[:4096]: e8.nearest(x, implementation="reference"), 1) / 4096
            rows.append(
                {
                    "type": np.dtype(kind).name,
                    "vectors": size,
                    "nearest M/s": size / points / 1e6,
                    "distance M/s": size / distance / 1e6,
                    "copy M/s": size / copy / 1e6,
                    "nearest/copy": copy / points,
                    "twin M/s": 1e-6 / twin,
                }
            )
    columns = ["type", "vectors", "nearest M/s", "distance M/s", "copy M/s", "nearest/copy"]
    report(args, rows, [*columns, "twin M/s"])


if __name__ == "__main__":
    main()
