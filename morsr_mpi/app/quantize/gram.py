"""X^T X of calibration samples as a stream, in float64, the same bits on every machine.

Products are left to BLAS, whose bits depend on CPU and threads, but only where they come out exact:
samples are split into two parts of 21 bits below the largest of their column, so that a sum of
CALIBRATION_BLOCK products needs no more than 53 bits, in whatever order it is formed (Ozaki, Ogita,
Oishi, Rump 2012, with two slices). What is left out is below 2^-42 of the product of the largest
entries of two columns.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.config import CALIBRATION_BLOCK
from morsr_mpi.base.errors import InputError

Matrix = NDArray[np.float64]
_BITS = 21


def mean_gram(blocks: Iterable[Matrix], n: int) -> Matrix:
    """Return X^T X / samples, float64 [n,n], exactly symmetric.

    blocks: parts of X, [samples, n] each. Raises InputError without any sample.
    """
    total = np.zeros((n, n))
    samples = 0
    for block in blocks:
        for first in range(0, len(block), CALIBRATION_BLOCK):
            total += _exact(block[first : first + CALIBRATION_BLOCK])
        samples += len(block)
    if not samples:
        raise InputError("there is no sample of calibration in it")
    total /= samples
    return total


def _exact(x: Matrix) -> Matrix:
    """X^T X of one block, sums without rounding error."""
    _, exponent = np.frexp(np.abs(x).max(axis=0))
    scaled = np.ldexp(x, -exponent)
    high = np.ldexp(np.rint(np.ldexp(scaled, _BITS)), -_BITS)
    low = np.ldexp(np.rint(np.ldexp(scaled - high, 2 * _BITS)), -2 * _BITS)
    cross = high.T @ low
    product = high.T @ high
    product += cross + cross.T
    return np.asarray(np.ldexp(product, exponent[:, None] + exponent[None, :]), dtype=np.float64)
