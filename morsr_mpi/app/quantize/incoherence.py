"""Incoherence processing: seeded random signs, then a Hadamard transform, of a layer's inputs.

R = S K with S the diagonal of signs and K block-diagonal, its blocks Sylvester's Hadamard matrices
of the largest order that divides n, scaled to be orthogonal (QuIP#'s idea without its row side and
its factors for other orders). W becomes W R and H becomes R^T H R; the loss stays as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.digest import sha256

Matrix = NDArray[np.float64]


def signs_of(seed: int, n: int) -> Matrix:
    """Return n signs: the bits of SHA-256 of "morsr-signs SEED NUMBER", number 0, 1, ..."""
    blocks = [sha256(f"morsr-signs {seed} {i}".encode()) for i in range(-(-n // 256))]
    bits = np.unpackbits(np.frombuffer(b"".join(blocks), dtype=np.uint8), bitorder="little")
    return np.where(bits[:n] != 0, -1.0, 1.0)


def hadamard(rows: Matrix) -> Matrix:
    """Return rows [k,n] times K; K is its own inverse. Additions in one fixed order."""
    k, n = rows.shape
    order = n & -n
    out = rows.reshape(k, n // order, order).copy()
    half = 1
    while half < order:
        pairs = out.reshape(k, n // order, order // (2 * half), 2, half)
        first, second = pairs[:, :, :, 0].copy(), pairs[:, :, :, 1]
        pairs[:, :, :, 0] += second
        np.subtract(first, second, out=pairs[:, :, :, 1])
        half *= 2
    out *= 1.0 / np.sqrt(float(order))
    return out.reshape(k, n)


def rotate(rows: Matrix, seed: int) -> Matrix:
    """Return rows [k,n] times R."""
    return hadamard(rows * signs_of(seed, rows.shape[1]))


def unrotate(rows: Matrix, seed: int) -> Matrix:
    """Return rows [k,n] times the transpose of R, which undoes `rotate`."""
    return hadamard(rows) * signs_of(seed, rows.shape[1])


def rotate_form(form: Matrix, seed: int) -> Matrix:
    """Return R^T H R of a symmetric matrix, exactly symmetric."""
    turned = rotate(rotate(form, seed).T, seed)
    turned += turned.T.copy()
    turned *= 0.5
    return turned
