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

#: Largest squared length of the vectors that tables are made from, of children and of the blocks
#: of the look-ahead; the next ones have two more.
CHILD_LENGTH = 8
BLOCK_LENGTH = 4
#: Tables take up to 0.5 MB per tile and pay where enumerations can end.
MAX_TABLE_TILES = 32
#: Norms of a table lie in this range, so that its arithmetic in float32 is that of real numbers.
FLOAT32_SAFE = (1e-25, 1e25)


@lru_cache(maxsize=2)
def half_of_the_short_vectors(length: int) -> NDArray[np.float64]:
    """One of each pair a, −a of the E8 vectors of squared length 2 to `length`: float64 [8, h].

    h is a multiple of 8, the width of a vector in the kernels, for every length.
    """
    doubled = np.concatenate([points_by_norm(norm) for norm in range(2, length + 1, 2)])
    first = doubled[np.arange(len(doubled)), np.argmax(doubled != 0, axis=1)]
    return np.ascontiguousarray(0.5 * doubled[first > 0].T)


def grams_of(diag: NDArray[np.float64]) -> NDArray[np.float64]:
    """UᵀU of each 8x8 upper triangular block, float64 [m*64]; sums by row, in ascending order."""
    U = diag.reshape(-1, 8, 8)
    grams = np.zeros_like(U)
    for row in range(8):
        grams += U[:, row, :, None] * U[:, row, None, :]
    return grams.reshape(-1)


def tables_of(grams: NDArray[np.float64], length: int) -> _engine.Tables:
    """Tables of the short vectors under each of the metrics (float64 [64 t], symmetric)."""
    tiles = grams.size // 64
    half = half_of_the_short_vectors(length)
    widest = -(-half.shape[1] // _engine.SHORT_BATCH) * _engine.SHORT_BATCH
    room = np.empty(9 * tiles * widest, dtype=np.float32)
    counts = np.empty(tiles, dtype=np.int32)
    limits = np.empty(tiles)
    used = _engine.short_tables(grams, half, length + 2, *FLOAT32_SAFE, room, counts, limits)
    starts = np.zeros(tiles, dtype=np.int64)
    starts[1:] = 9 * np.cumsum(counts[:-1].astype(np.int64))
    rows = room[: max(1, used)].copy()
    return _engine.Tables(rows, counts, starts, limits)
