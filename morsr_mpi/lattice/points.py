"""Points of E8 as doubled coordinates: membership, basis, roots, points of a given norm.

Canonical order of points of one norm is lexicographic in the doubled coordinates.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice import e8

#: More points than this are not listed at once (norm 60 has 6.8 million).
MAX_LISTED = 1 << 22


def contains(doubled: ArrayLike) -> NDArray[np.bool_]:
    """Say which integer vectors are doubled coordinates of E8 points.

    Shape (..., 8), integers -> shape (...,) of bool. Raises InputError for other shapes and for
    dtypes that are not integers.
    """
    d = np.asarray(doubled)
    if d.ndim < 1 or d.shape[-1] != 8:
        raise InputError(f"doubled coordinates have the shape (..., 8), not {d.shape}")
    if not np.issubdtype(d.dtype, np.integer):
        raise InputError(f"doubled coordinates are integers, not {d.dtype}")
    parity = d & 1
    same = np.all(parity == parity[..., :1], axis=-1)
    # Only the sum modulo 4 counts; reducing first keeps narrow dtypes from overflowing.
    divisible = np.sum(d & 3, axis=-1, dtype=np.int64) % 4 == 0
    return np.asarray(same & divisible)


def to_points(doubled: ArrayLike, scale: float = 1.0) -> NDArray[np.float64]:
    """Coordinates of points of scale * E8 from doubled ones: (scale / 2) * doubled, rounded once.

    Any shape -> the same shape, float64.
    """
    return np.asarray(doubled, dtype=np.float64) * (0.5 * scale)


@cache
def _basis() -> NDArray[np.int32]:
    rows = np.zeros((8, 8), dtype=np.int32)
    rows[0, 0] = 4
    for i in range(1, 7):
        rows[i, i - 1 : i + 1] = (-2, 2)
    rows[7] = 1
    rows.setflags(write=False)
    return rows


def basis() -> NDArray[np.int32]:
    """A basis of E8, one doubled vector per row, shape (8, 8), read-only.

    The usual lower triangular one (Conway and Sloane, chapter 4): 2e_1, the differences
    e_{i+1} - e_i for i = 1..6, and (1/2, ..., 1/2). Its determinant is 1 (doubled: 256).
    """
    return _basis()


def theta_coefficient(norm: int) -> int:
    """Number of E8 points of squared norm `norm`: 240 sigma_3(norm / 2), 1 for 0, 0 for odd."""
    if norm < 0 or norm % 2:
        return 0
    half = norm // 2
    return 240 * sum(t**3 for t in range(1, half + 1) if half % t == 0) if half else 1


def points_by_norm(norm: int, *, implementation: e8.Implementation = "kernel") -> NDArray[np.int32]:
    """All points of squared norm `norm` in canonical order, doubled, shape (count, 8).

    Raises InputError when there are more than MAX_LISTED of them.
    """
    count = theta_coefficient(norm)
    if count > MAX_LISTED:
        raise InputError(f"norm {norm} has {count} points; at most {MAX_LISTED} are listed at once")
    if count == 0:
        return np.zeros((0, 8), dtype=np.int32)
    # Costs are exact here, so "after the last conceivable point of norm - 1" starts the norm.
    last = np.full(8, np.iinfo(np.int32).max, dtype=np.int32)
    return e8.k_nearest(
        np.zeros(8),
        count,
        limit=float(norm),
        after=(norm - 1.0, last),
        implementation=implementation,
    ).doubled


@cache
def _roots() -> NDArray[np.int32]:
    found = points_by_norm(2)
    found.setflags(write=False)
    return found


def roots() -> NDArray[np.int32]:
    """The 240 roots in canonical order, doubled, shape (240, 8), read-only."""
    return _roots()
