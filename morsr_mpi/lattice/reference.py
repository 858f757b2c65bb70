"""The E8 kernels once more in NumPy: slow, obvious, and the same to the bit.

The tests hold the C kernels against this module; it can be used everywhere by
`implementation="reference"`. Shapes and values are checked by the callers.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Simple roots of E8 in Bourbaki's order, doubled.
SIMPLE_ROOTS: NDArray[np.int32] = np.array(
    [
        [1, -1, -1, -1, -1, -1, -1, 1],
        [2, 2, 0, 0, 0, 0, 0, 0],
        [-2, 2, 0, 0, 0, 0, 0, 0],
        [0, -2, 2, 0, 0, 0, 0, 0],
        [0, 0, -2, 2, 0, 0, 0, 0],
        [0, 0, 0, -2, 2, 0, 0, 0],
        [0, 0, 0, 0, -2, 2, 0, 0],
        [0, 0, 0, 0, 0, -2, 2, 0],
    ],
    dtype=np.int32,
)
SIMPLE_ROOTS.setflags(write=False)

#: Points with their costs: (cost, doubled coordinates), which is also the canonical order.
Costed = tuple[float, tuple[int, ...]]


def _sum_in_order(x: NDArray[Any]) -> NDArray[Any]:
    """Sum over the last axis from the first to the last entry (NumPy's own order may differ)."""
    total = np.zeros(x.shape[:-1], dtype=x.dtype)
    for i in range(x.shape[-1]):
        total = total + x[..., i]
    return total


def squared_norm(x: NDArray[Any]) -> NDArray[Any]:
    """Squared norms of vectors, shape (n, 8) -> (n,), summed in order."""
    return _sum_in_order(x * x)


def _nearest_in_coset(x: NDArray[Any], shift: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Nearest points of D8 + shift and squared distances, in the dtype of x."""
    one, shift_ = x.dtype.type(1), x.dtype.type(shift)
    y = x - shift_
    r = np.rint(y)  # half to even
    d = y - r
    half = _sum_in_order(r) * x.dtype.type(0.5)
    odd = half != np.rint(half)
    worst = np.argmax(np.abs(d), axis=-1)  # the first of the largest
    rows = np.arange(len(x))
    most = np.abs(d[rows, worst])
    point = r + shift_
    point[rows, worst] += np.where(odd, np.where(d[rows, worst] >= 0, one, -one), 0 * one)
    square = squared_norm(d)
    return point, np.where(odd, square + (one - (most + most)), square)


def nearest(x: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Nearest points (doubled) and squared distances; x is (n, 8), float32 or float64.

    Tie-break rule: docs/decisions/0002-tie-break.md.
    """
    whole, whole_distance = _nearest_in_coset(x, 0.0)
    half, half_distance = _nearest_in_coset(x, 0.5)
    closer = half_distance < whole_distance
    point = np.where(closer[:, None], half, whole)
    return (point + point).astype(np.int32), np.where(closer, half_distance, whole_distance)


def fma(a: float, b: float, c: float) -> float:
    """a * b + c rounded once."""
    return float(Fraction(a) * Fraction(b) + Fraction(c))


def cost_of(U: NDArray[np.float64], e: list[float], first: int, base: float) -> float:
    """base + sum over rows i >= first of (U e)_i squared, in the kernel's order of operations."""
    cost = base
    for i in range(7, first - 1, -1):
        z = 0.0
        for k in range(7, i - 1, -1):
            z = fma(float(U[i, k]), e[k], z)
        cost = fma(z, z, cost)
    return cost


def within(
    U: NDArray[np.float64], centre: NDArray[np.float64], base: float, limit: float
) -> list[Costed]:
    """All E8 points of cost <= limit (finite) in canonical order."""
    found: list[Costed] = []
    d, e = [0] * 8, [0.0] * 8

    def choose(j: int, partial: float) -> None:
        if j < 0:
            cost = cost_of(U, e, 0, base)
            if cost <= limit:
                found.append((cost, tuple(d)))
            return
        ideal = centre[j] - sum(U[j, k] * e[k] for k in range(j + 1, 8)) / U[j, j]
        # A generous interval: what does not belong is thrown out by its cost.
        reach = math.sqrt(max(limit - partial, 0.0)) / U[j, j] * (1 + 1e-9) + 1e-9
        for v in range(math.floor(2 * (ideal - reach)), math.ceil(2 * (ideal + reach)) + 1):
            if j < 7 and (v - d[7]) % 2:
                continue
            if j == 0 and (v + sum(d[1:])) % 4:
                continue
            d[j], e[j] = v, v / 2 - float(centre[j])
            cost = cost_of(U, e, j, base)
            if cost <= limit:
                choose(j - 1, cost)

    choose(7, base)
    return sorted(found)


def k_nearest(
    U: NDArray[np.float64],
    centre: NDArray[np.float64],
    k: int,
    base: float,
    limit: float,
    after: Costed | None,
) -> list[Costed]:
    """The first k points of cost <= limit strictly after `after`, in canonical order.

    Without a finite limit the radius grows until it holds enough points.
    """
    radius = float(min(U[i, i] for i in range(8)) ** 2)
    if after is not None:
        radius = max(radius, after[0] - base)
    while True:
        reached = min(limit, base + radius)
        points = [p for p in within(U, centre, base, reached) if after is None or p > after]
        if len(points) >= k or reached == limit:
            return points[:k]
        radius *= 1.5


def fold(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[list[int]]]:
    """Fold vectors (n, 8) into the fundamental chamber; returns them and the words used.

    Always the first simple root with a negative inner product. Exact integers: x rounded to 54
    bits below its largest coordinate, times 4 because Weyl elements have entries in Z/4.
    """
    folded, words = np.zeros_like(x), []
    simple = [[int(a) for a in row] for row in SIMPLE_ROOTS]
    for row, vector in enumerate(x):
        exponent = math.frexp(float(np.max(np.abs(vector))))[1]
        v = [4 * int(np.rint(np.ldexp(a, 54 - exponent))) for a in vector]
        word: list[int] = []
        while True:
            products = [sum(a * b for a, b in zip(v, root, strict=True)) for root in simple]
            negative = [s for s in range(8) if products[s] < 0]
            if not negative:
                break
            s = negative[0]
            # v - <v, root> root, with root = simple / 2 twice.
            v = [a - products[s] * b // 4 for a, b in zip(v, simple[s], strict=True)]
            word.append(s)
        folded[row] = [math.ldexp(float(a), exponent - 56) for a in v]
        words.append(word)
    return folded, words
