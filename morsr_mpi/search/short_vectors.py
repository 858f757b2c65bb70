"""Tables of short E8 vectors under each tile's own metric: how enumerations list children fast.

A table changes how children are found, never which ones: what it proposes is judged by the exact
cost, and where it cannot be shown to be complete the exact search takes over (engine_near.inc).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.lattice.points import points_by_norm
from morsr_mpi.search import _engine

#: Largest squared norm of the vectors a table is made from; the next ones have two more.
MAX_NORM = 8
#: A table takes up to 0.5 MB per tile and pays where enumerations can end.
MAX_TABLE_TILES = 32
#: Norms of a table lie in this range, so that its arithmetic in float32 is that of real numbers.
FLOAT32_SAFE = (1e-25, 1e25)


@lru_cache(maxsize=1)
def half_of_the_short_vectors() -> NDArray[np.float64]:
    """One of each pair a, −a of the E8 vectors of squared norm 2 to MAX_NORM: float64 [8, h]."""
    doubled = np.concatenate([points_by_norm(norm) for norm in range(2, MAX_NORM + 1, 2)])
    first = doubled[np.arange(len(doubled)), np.argmax(doubled != 0, axis=1)]
    return np.ascontiguousarray(0.5 * doubled[first > 0].T)


def proven_least_eigenvalue(metric: NDArray[np.float64]) -> float:
    """Return a lower bound of the least eigenvalue of UᵀU for the upper triangular U of a tile."""
    gram = np.zeros((8, 8))
    for i in range(8):
        for k in range(8):
            total = 0.0
            for row in range(min(i, k) + 1):
                total += float(metric[row, i]) * float(metric[row, k])
            gram[i, k] = total
    trace = sum(float(gram[i, i]) for i in range(8))
    shift = min(float(gram[i, i]) for i in range(8))
    while shift > 1e-6 * trace:
        trial = gram.copy()
        for i in range(8):
            trial[i, i] -= shift
        if _engine.cholesky(trial) < 0:
            # The rounding of gram, of the shift and of the factorisation: some 100 u tr.
            return max(0.0, shift - 1e-13 * trace)
        shift *= 0.95
    return 0.0


def table_of(diag: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return (vectors, limits) for the diagonal blocks [m*64] of a factor (see engine.h).

    vectors: float32 [m*9*count], limits: float64 [m].  Norms are summed element by element in a
    fixed order: the order of the table shows in the count of work.
    """
    m = diag.size // 64
    half = half_of_the_short_vectors()
    chosen, norms = [], []
    limits = np.zeros(m)
    for j in range(m):
        U = diag[64 * j : 64 * j + 64].reshape(8, 8)
        total = np.zeros(half.shape[1])
        for i in range(8):
            row = np.zeros(half.shape[1])
            for k in range(i, 8):
                row += U[i, k] * half[k]
            total += row * row
        limits[j] = (MAX_NORM + 2) * proven_least_eigenvalue(U) * (1.0 - 1e-9)
        # The first pass is in float32: far from its limits, or no table for this tile.
        if not (FLOAT32_SAFE[0] < limits[j] and float(np.max(total)) < FLOAT32_SAFE[1]):
            limits[j] = 0.0
        within = np.flatnonzero(total < limits[j] * (1.0 + 1e-6))
        order = within[np.argsort(total[within], kind="stable")]
        chosen.append(order)
        norms.append(total[order])
    longest = max((len(order) for order in chosen), default=0)
    count = -(-longest // _engine.SHORT_BATCH) * _engine.SHORT_BATCH
    vectors = np.zeros((m, 9, count), dtype=np.float32)
    vectors[:, 8, :] = np.inf
    for j in range(m):
        vectors[j, :8, : len(chosen[j])] = half[:, chosen[j]]
        vectors[j, 8, : len(chosen[j])] = norms[j]
    return vectors.reshape(-1), limits
