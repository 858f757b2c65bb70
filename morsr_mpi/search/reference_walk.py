"""The walk of engine_walk.inc, slow and obvious: every root of every tile, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.lattice.points import roots
from morsr_mpi.objectives.problem import QuadraticProblem

HOLD, SPREAD, STALL = 3, 5, 1000
WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def walk(
    problem: QuadraticProblem, doubled: NDArray[np.int32], patience: int, seed: int
) -> NDArray[np.int32]:
    """Return the best point (int32 [n], doubled) of a walk from `doubled` for the first target.

    Ends after `patience` steps without a better point.
    """
    Q, target, scale = problem.Q, problem.targets[0], problem.scale
    m = problem.m
    state = (seed + 1) * GOLDEN & WORD
    step = scale * 0.5 * roots().astype(float)  # [240,8]
    blocks = [Q[8 * b : 8 * b + 8, 8 * b : 8 * b + 8] for b in range(m)]
    quad = np.array([np.einsum("ri,ij,rj->r", step, block, step) for block in blocks])
    point, best = doubled.copy(), doubled.copy()
    level = top = 0.0
    unit = float(np.mean(np.diag(Q))) * scale * scale
    until: dict[int, int] = {}
    wait = idle = 0
    while wait < patience:
        until = {tile: left - 1 for tile, left in until.items() if left > 1}
        g = 2.0 * (Q @ (scale * 0.5 * point - target))
        value = quad + g.reshape(m, 8) @ step.T
        least = value.min(axis=1)
        free = [b for b in range(m) if b not in until or level + least[b] < top - 1e-6 * unit]
        if not free:
            break
        tile = min(free, key=lambda b: (least[b], b))
        point[8 * tile : 8 * tile + 8] += roots()[int(np.argmin(value[tile]))]
        level += least[tile]
        for shift in (13, -7, 17):
            state ^= (state << shift if shift > 0 else state >> -shift) & WORD
        until[tile] = HOLD + (state >> 33) % SPREAD
        wait, idle = wait + 1, idle + 1
        if level < top - 1e-6 * unit:
            top, wait, idle = level, 0, 0
            best = point.copy()
        elif idle == STALL:
            point, level, idle, until = best.copy(), top, 0, {}
    return best
