"""Nearest points of E8: the checked interface to the kernels and to their NumPy twin.

Every function takes `implementation="kernel"` (C, the default) or `"reference"` (NumPy);
both give the same bits, at every CPU level. Ties are broken by one rule, written down in
docs/decisions/0002-tie-break.md.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morsr_mpi.base.errors import InputError, UsageError
from morsr_mpi.lattice import _e8, reference

Implementation = Literal["kernel", "reference"]
#: A place in the canonical order: a cost and doubled coordinates.
Cursor = tuple[float, ArrayLike]

#: Longest vector that is decoded: beyond, float arithmetic on coordinates is no longer exact.
MAX_NORM = {np.dtype(np.float64): 2.0**29, np.dtype(np.float32): 2.0**20}
#: Most points asked for in one call of k_nearest.
MAX_NEIGHBOURS = 1 << 24
#: Names of the CPU levels, slowest first; the number of a level is its place here.
LEVELS = ("baseline", "avx2", "avx512")


class Neighbours(NamedTuple):
    """Points in canonical order: doubled int32 (count, 8), cost float64 (count,).

    nodes is how many candidates the kernel looked at (0 from the reference).
    """

    doubled: NDArray[np.int32]
    cost: NDArray[np.float64]
    nodes: int


class NeighbourBatch(NamedTuple):
    """Neighbours of n centres: doubled (n, k, 8), cost (n, k), found (n,) of them.

    Rows from found on hold cost inf and zeros.
    """

    doubled: NDArray[np.int32]
    cost: NDArray[np.float64]
    found: NDArray[np.int32]
    nodes: int


def cpu_levels() -> tuple[str, ...]:
    """Names of the levels this CPU can run, slowest first."""
    return LEVELS[: _e8.cpu_level() + 1]


def cpu_level() -> str:
    """Name of the level in use."""
    return LEVELS[_e8.level()]


def set_cpu_level(name: str) -> None:
    """Use the kernels of level `name` from now on; raises UsageError when this CPU lacks it.

    The level changes the speed, never the bits.
    """
    if name not in cpu_levels():
        raise UsageError(f"CPU level {name!r} is not available; choose from {cpu_levels()}")
    _e8.set_level(LEVELS.index(name))


def uses_kernel(implementation: str) -> bool:
    """Check the name of an implementation: True for the kernel, False for the reference."""
    if implementation not in ("kernel", "reference"):
        raise UsageError(f"implementation is 'kernel' or 'reference', not {implementation!r}")
    return implementation == "kernel"


def as_vectors(x: ArrayLike, *, keep_float32: bool = True) -> NDArray[Any]:
    """Check vectors (..., 8) and return them as a C-contiguous, aligned float array (n, 8).

    float32 stays float32 if asked for; other real dtypes become float64. Raises InputError.
    """
    a = np.asarray(x)
    if a.ndim < 1 or a.shape[-1] != 8:
        raise InputError(f"vectors have the shape (..., 8), not {a.shape}")
    if not (np.issubdtype(a.dtype, np.floating) or np.issubdtype(a.dtype, np.integer)):
        raise InputError(f"vectors are real numbers, not {a.dtype}")
    dtype = np.float32 if keep_float32 and a.dtype == np.float32 else np.float64
    # The kernels take pointers: the array must also be aligned. Most are as they should be, and
    # np.require costs more than a hundred points.
    if type(a) is np.ndarray and a.dtype == dtype and a.flags.c_contiguous and a.flags.aligned:
        return a.reshape(-1, 8)
    return np.require(a, dtype=dtype, requirements=["C", "A"]).reshape(-1, 8)


def _too_long(dtype: np.dtype[Any]) -> InputError:
    return InputError(
        f"a vector is not finite or longer than {MAX_NORM[dtype]:.0f}, the limit of {dtype}; "
        "scale the data down"
    )


def _decode(
    x: ArrayLike, points: bool, implementation: str
) -> tuple[NDArray[np.int32] | None, NDArray[Any]]:
    kernel = uses_kernel(implementation)
    shape = np.shape(x)
    vectors = as_vectors(x)
    doubled = np.empty(vectors.shape, dtype=np.int32) if points else None
    distance = np.empty(len(vectors), dtype=vectors.dtype)
    if len(vectors) and kernel:
        decode = _e8.nearest_f32 if vectors.dtype == np.float32 else _e8.nearest_f64
        if decode(vectors, doubled, distance) != _e8.OK:
            raise _too_long(vectors.dtype)
    elif len(vectors):
        with np.errstate(over="ignore", invalid="ignore"):
            fits = reference.squared_norm(vectors) <= MAX_NORM[vectors.dtype] ** 2
        if not np.all(fits):
            raise _too_long(vectors.dtype)
        nearest_points, distance = reference.nearest(vectors)
        doubled = nearest_points if points else None
    return (None if doubled is None else doubled.reshape(shape)), distance.reshape(shape[:-1])


def nearest(x: ArrayLike, *, implementation: Implementation = "kernel") -> NDArray[np.int32]:
    """Nearest E8 points of vectors, as doubled coordinates.

    Shape (..., 8), float64 or float32 (decoded in that precision) -> int32 of the same shape.
    Raises InputError for other shapes, for what is not finite and for vectors beyond MAX_NORM.
    """
    doubled, _ = _decode(x, True, implementation)
    assert doubled is not None
    return doubled


def nearest_with_distance(
    x: ArrayLike, *, implementation: Implementation = "kernel"
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Nearest E8 points and squared distances: shapes (..., 8) and (...,); see nearest."""
    doubled, distance = _decode(x, True, implementation)
    assert doubled is not None
    return doubled, distance


def distance2(x: ArrayLike, *, implementation: Implementation = "kernel") -> NDArray[Any]:
    """Squared distances to E8, shape (..., 8) -> (...,) in the dtype of x; see nearest."""
    return _decode(x, False, implementation)[1]


def _as_metric(metric: ArrayLike | None) -> NDArray[np.float64]:
    if metric is None:
        return np.eye(8)
    U = np.require(metric, dtype=np.float64, requirements=["C", "A"])
    if U.shape != (8, 8):
        raise InputError(f"a tile's metric is an upper triangular 8x8 matrix, not {U.shape}")
    if not np.all(np.isfinite(U)) or np.any(np.diag(U) <= 0):
        raise InputError("a tile's metric needs finite entries and a positive diagonal")
    if np.any(np.tril(U, -1)):
        raise InputError("a tile's metric is upper triangular: entries below the diagonal are 0")
    return U


def k_nearest_batch(
    centres: ArrayLike,
    k: int,
    *,
    metric: ArrayLike | None = None,
    base: float = 0.0,
    limit: float = math.inf,
    after: Cursor | None = None,
    implementation: Implementation = "kernel",
) -> NeighbourBatch:
    """The k nearest E8 points of each centre, in canonical order (cost, doubled).

    centres (n, 8); metric U upper triangular (8, 8), the identity unless given. The cost of a
    point p is base + ||U (p - centre)||^2, computed as csrc/include/e8_knearest.h says. Only
    points with cost <= limit and strictly after the cursor `after` count. Raises InputError for
    bad data and UsageError for a k out of range.
    """
    kernel = uses_kernel(implementation)
    if not 1 <= k <= MAX_NEIGHBOURS:
        raise UsageError(f"k is between 1 and {MAX_NEIGHBOURS}, not {k}")
    if not math.isfinite(base) or math.isnan(limit):
        raise InputError("base must be finite and limit not NaN")
    points = as_vectors(centres, keep_float32=False)
    if not np.all(np.abs(points) <= MAX_NORM[points.dtype]):
        raise _too_long(points.dtype)
    U = _as_metric(metric)
    n = len(points)
    doubled = np.zeros((n, k, 8), dtype=np.int32)
    cost = np.full((n, k), np.inf)
    found = np.zeros(n, dtype=np.int32)
    nodes = 0
    start: reference.Costed | None = None
    if after is not None:
        place = np.require(after[1], dtype=np.int32, requirements=["C", "A"])
        if place.shape != (8,):
            raise InputError(f"a cursor is a cost and 8 doubled coordinates, not {place.shape}")
        start = (float(after[0]), tuple(int(a) for a in place))
    if kernel and n:
        after_cost = None if start is None else np.array([start[0]])
        after_place = None if start is None else place
        status, nodes = _e8.k_nearest(
            U, points, base, limit, after_cost, after_place, k, doubled, cost, found
        )
        if status != _e8.OK:
            raise InputError("points lie beyond 2^29: the metric is too nearly singular")
    elif n:
        for row, centre in enumerate(points):
            listed = reference.k_nearest(U, centre, k, base, limit, start)
            found[row] = len(listed)
            for i, (value, point) in enumerate(listed):
                cost[row, i], doubled[row, i] = value, point
    return NeighbourBatch(doubled, cost, found, nodes)


def k_nearest(
    centre: ArrayLike,
    k: int,
    *,
    metric: ArrayLike | None = None,
    base: float = 0.0,
    limit: float = math.inf,
    after: Cursor | None = None,
    implementation: Implementation = "kernel",
) -> Neighbours:
    """The k nearest E8 points of one centre (8,); see k_nearest_batch.

    Fewer than k rows mean that there are no more points within the limit.
    """
    if np.shape(centre) != (8,):
        raise InputError(f"a centre has the shape (8,), not {np.shape(centre)}")
    batch = k_nearest_batch(
        centre,
        k,
        metric=metric,
        base=base,
        limit=limit,
        after=after,
        implementation=implementation,
    )
    count = int(batch.found[0])
    return Neighbours(batch.doubled[0, :count], batch.cost[0, :count], batch.nodes)
