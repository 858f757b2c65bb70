"""Weighted rendezvous hashing: the home rank of a task (paper definition 3.1).

Every pair of task and rank has a pseudo-random score; a task goes to the rank with the
highest. When ranks come or go, only their own tasks move, which `hash mod N` does not give.
A rank of capacity c gets a share proportional to c: its score is c / -log(u), u uniform.
The scores decide only where a task runs. The coordinator computes them and broadcasts the
outcome, so a last bit of `log` that differs between machines has no consequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser, on arrays: every output bit depends on every input bit."""
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    return x ^ (x >> np.uint64(31))


def scores(task_ids: Sequence[bytes], capacities: Sequence[float]) -> NDArray[np.float64]:
    """Return the scores, shape (tasks, ranks); 0 where the capacity is 0.

    task_ids: digests of at least 8 bytes; capacities: non-negative, any unit.
    """
    keys = np.frombuffer(b"".join(t[:8] for t in task_ids), dtype="<u8").astype(np.uint64)
    capacity = np.asarray(capacities, dtype=np.float64)
    with np.errstate(over="ignore"):
        seeds = _mix((np.arange(1, capacity.size + 1, dtype=np.uint64)) * _GOLDEN)
        mixed = _mix(keys[:, None] ^ seeds[None, :])
    uniform = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    result: NDArray[np.float64] = capacity / -np.log(uniform)
    return result


def homes(task_ids: Sequence[bytes], capacities: Sequence[float]) -> list[int]:
    """Return the home rank of each task: the highest score, ties to the lower rank."""
    if not task_ids:
        return []
    best: list[int] = np.argmax(scores(task_ids, capacities), axis=1).tolist()
    return best
