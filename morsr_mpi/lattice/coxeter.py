"""Coxeter element of E8 and its plane.

The Coxeter element is the product of the eight simple reflections. It has order 30, and its
eigenvalues e^{+-2 pi i / 30} belong to one plane, on which it turns by 12 degrees; the 240 roots
fall there on eight rings of 30. The projection enters the Coxeter component of the paper's
objective, so it is computed without LAPACK and without trigonometric functions of the C library,
whose last bits differ between machines: square roots and sums in a fixed order only.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice import reference

#: Order of the Coxeter element (Coxeter number of E8).
COXETER_NUMBER = 30

# cos and sin of 2 pi / 30 = 12 degrees by radicals.
_COS = (math.sqrt(30 + 6 * math.sqrt(5)) + math.sqrt(5) - 1) / 8
_SIN = math.sqrt((1 - _COS) * (1 + _COS))


@cache
def coxeter_element() -> NDArray[np.float64]:
    """Matrix C of the Coxeter element, shape (8, 8), read-only: v -> C v reflects in the simple
    roots 7, 6, ..., 0. Its entries are multiples of 1/4, so all its powers are exact."""
    C = np.eye(8)
    for root in reference.SIMPLE_ROOTS:
        a = 0.5 * root.astype(np.float64)
        C = C @ (np.eye(8) - np.outer(a, a))
    C.setflags(write=False)
    return C


@cache
def coxeter_projector() -> NDArray[np.float64]:
    """Orthogonal projector onto the Coxeter plane, shape (8, 8), read-only.

    P = (2/30) sum over k of cos(2 pi k / 30) C^k: averaging over the cyclic group picks the
    eigenvalues e^{+-2 pi i / 30}. Symmetric to the bit.
    """
    power, total = np.eye(8), np.zeros((8, 8))
    before, cosine = _COS, 1.0
    for _ in range(COXETER_NUMBER):
        total = total + cosine * power
        before, cosine = cosine, 2 * _COS * cosine - before
        power = coxeter_element() @ power
    P = np.asarray((total + total.T) / COXETER_NUMBER)
    P.setflags(write=False)
    return P


@cache
def coxeter_plane() -> NDArray[np.float64]:
    """Orthonormal basis of the plane, rows of shape (2, 8), read-only.

    The first axis is the image of e_1; the Coxeter element turns the first axis toward the second
    by 12 degrees.
    """
    first = coxeter_projector()[:, 0].copy()
    first /= math.sqrt(math.fsum(a * a for a in first))
    turned = np.array([math.fsum(row * first) for row in coxeter_element()])
    second = (turned - _COS * first) / _SIN
    second -= math.fsum(first * second) * first
    second /= math.sqrt(math.fsum(a * a for a in second))
    plane = np.stack([first, second])
    plane.setflags(write=False)
    return plane


def project(x: ArrayLike) -> NDArray[np.float64]:
    """Coordinates of vectors (..., 8) in the Coxeter plane, shape (..., 2).

    Raises InputError for other shapes.
    """
    v = np.asarray(x, dtype=np.float64)
    if v.ndim < 1 or v.shape[-1] != 8:
        raise InputError(f"vectors have the shape (..., 8), not {v.shape}")
    result = np.zeros((*v.shape[:-1], 2))
    for i in range(8):
        result = result + v[..., i, None] * coxeter_plane()[:, i]
    return np.asarray(result)
