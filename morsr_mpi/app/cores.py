"""Whether two cores share one execution unit: asked from the kernel, and measured.

Virtual machines often sell the two hardware threads of one core as two cores and hide
it; then two busy ranks run at half the speed each, and doubling the ranks gains nothing.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

#: Length of one measurement; three are made.
MEASURE_SECONDS = 0.3
#: Two cores that together do less than this times twice one alone share something.
SHARING_RATIO = 0.75


def siblings(core: int) -> list[int]:
    """Return the hardware threads of the physical core of `core`, as the kernel says."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        text = path.read_text().strip()
    except OSError:
        return [core]
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def measure_sharing(pair: tuple[int, int]) -> float:
    """Return the speed of two cores working together over twice the speed of one alone.

    About 1 for cores of their own, about 0.5 for two threads of one core.
    """
    work = _workload()
    alone = max(sum(_together(work, [core])) for core in pair)
    both = sum(_together(work, list(pair)))
    return both / (2.0 * alone) if alone > 0 else 1.0


def _workload() -> Callable[[], object]:
    """Return work of well below a millisecond that is bound by fused multiply-adds.

    The bits do not matter here, so NumPy's product will do; blocks this small it
    multiplies in one thread.
    """
    import numpy as np

    blocks = np.full((32, 40, 40), 1.0 / 40.0)
    out = np.empty_like(blocks)

    def work() -> None:
        np.matmul(blocks, blocks, out=out)

    return work


def _together(work: Callable[[], object], cores: list[int]) -> list[float]:
    """Run the work on each core at the same time, in processes; return calls per second of each."""
    start_at = time.monotonic() + 0.02
    readers: list[tuple[int, int]] = []
    for core in cores:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            _child(work, core, start_at, write_end)
        os.close(write_end)
        readers.append((pid, read_end))
    speeds = []
    for pid, read_end in readers:
        with os.fdopen(read_end, "rb") as pipe:
            data = pipe.read(8)
        os.waitpid(pid, 0)
        speeds.append(struct.unpack("d", data)[0] if len(data) == 8 else 0.0)
    return speeds


def _child(work: Callable[[], object], core: int, start_at: float, write_end: int) -> None:
    """Measure in a forked child and leave it without running any of the parent's cleanup."""
    try:
        with contextlib.suppress(AttributeError, OSError):
            os.sched_setaffinity(0, {core})
        while time.monotonic() < start_at:
            work()
        begin = now = time.monotonic()
        calls = 0
        while now - begin < MEASURE_SECONDS:
            work()
            calls += 1
            now = time.monotonic()
        os.write(write_end, struct.pack("d", calls / (now - begin)))
    finally:
        os._exit(0)
