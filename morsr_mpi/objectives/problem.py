"""The problem: minimise (v - t)^T Q (v - t) + sum_b f(v_b) over v in s * E8^m (DESIGN section 2).

Everything about the data is checked here, once, whether it comes from a file or from
Python. Positive definiteness is left to the factorisation, which finds it out anyway.
The largest problems have a Q of many times the caches, so checks, symmetrisation and
digest go through it in blocks and never make a second copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.config import (
    BLOCK_BYTES,
    DIAGONAL_RANGE,
    MAX_DIMENSION,
    MAX_DOUBLED,
    MAX_TARGETS,
    SCALE_RANGE,
    SYMMETRY_TOLERANCE,
)
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.terms import make_term
from morsr_mpi.objectives.tile_term import TileTerm

#: First field of what the digest covers, and the file type of problem files.
PROBLEM_TAG = "morsr-problem"
#: Version of the digest's definition (docs/formats/problem.md).
DIGEST_VERSION = 1

Array = NDArray[np.float64]


def rows_per_block(columns: int, itemsize: int = 8) -> int:
    """Return how many rows of so many columns make one block of about BLOCK_BYTES."""
    return max(1, BLOCK_BYTES // max(1, columns * itemsize))


@dataclass(frozen=True, eq=False)
class QuadraticProblem:
    """A checked problem; build it with `create` (copies) or `adopt` (takes over arrays).

    Q: float64 (n, n), C-contiguous, read-only, exactly symmetric, finite.
    targets: float64 (k, n), C-contiguous, read-only, finite.
    scale: s > 0; the lattice is s * E8^m with n = 8 m.
    term: what is added for every tile, or None (tile_term.py).
    """

    Q: Array
    targets: Array
    scale: float
    term: TileTerm | None = None

    @property
    def n(self) -> int:
        """Dimension, a multiple of 8."""
        return int(self.Q.shape[0])

    @property
    def k(self) -> int:
        """Number of targets, at least 1."""
        return int(self.targets.shape[0])

    @property
    def m(self) -> int:
        """Number of E8 tiles, n / 8."""
        return self.n // 8

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) of the problem, as defined in docs/formats/problem.md."""
        term = () if self.term is None else self.term.fields()
        header = (PROBLEM_TAG, DIGEST_VERSION, self.n, self.k, self.scale, term)
        sha = hashlib.sha256(encode(header))
        for array in (self.Q, self.targets):
            step = rows_per_block(array.shape[1])
            for start in range(0, array.shape[0], step):
                sha.update(np.ascontiguousarray(array[start : start + step], dtype="<f8").data)
        return sha.digest()

    @classmethod
    def create(
        cls,
        Q: ArrayLike,
        target: ArrayLike,
        scale: float = 1.0,
        term: TileTerm | Mapping[str, object] | str | None = None,
    ) -> QuadraticProblem:
        """Return a checked problem with its own copy of the data.

        Q: (n, n) real; asymmetry of the size of rounding is removed by averaging.
        target: (n,) or (k, n) real. scale: positive number, the factor s of the lattice.
        term: a tile term, or a mapping with its kind and parameters (docs/objectives.md).
        Raises InputError, one line, for anything that cannot be solved.
        """
        return cls.adopt(_as_float(Q, "Q"), _as_float(target, "target"), scale, make_term(term))

    @classmethod
    def adopt(
        cls, Q: Array, target: Array, scale: float, term: TileTerm | None = None
    ) -> QuadraticProblem:
        """Like `create`, but takes over float64 C-contiguous arrays: the caller lets go of them.

        The arrays are symmetrised in place and made read-only.
        """
        for name, array in (("Q", Q), ("target", target)):
            if array.dtype != np.float64 or not array.flags.c_contiguous:
                raise InputError(f"{name} must be a C-contiguous float64 array")
        targets = _check_shapes(Q, target)
        value = _check_scale(scale)
        _check_finite(Q, "Q")
        _check_finite(target, "target")
        _check_reach(targets, value)
        _check_diagonal(Q)
        _symmetrise(Q)
        targets += 0.0  # -0.0 becomes 0.0: equal problems have equal digests
        Q.setflags(write=False)
        targets.setflags(write=False)
        return cls(Q, targets, value, term)


def _as_float(data: ArrayLike, name: str) -> Array:
    """Return a fresh C-contiguous float64 copy; complex numbers and text are refused."""
    try:
        given = np.asarray(data)
        if given.dtype.kind not in "fiub":
            raise TypeError
        return np.array(given, dtype=np.float64, order="C", copy=True)
    except (TypeError, ValueError):
        raise InputError(f"{name} is not a rectangular array of real numbers") from None


def _check_shapes(Q: Array, target: Array) -> Array:
    """Return the targets as (k, n); raise InputError when the shapes do not fit."""
    if Q.ndim != 2 or Q.shape[0] != Q.shape[1]:
        raise InputError(f"Q has shape {Q.shape}; it must be a square matrix (n, n)")
    n = Q.shape[0]
    if n == 0 or n % 8:
        raise InputError(
            f"n = {n} is not a positive multiple of 8; pad Q and target to whole E8 tiles"
        )
    if n > MAX_DIMENSION:
        raise InputError(f"n = {n} is more than the largest dimension {MAX_DIMENSION}")
    if target.ndim not in (1, 2) or target.shape[-1] != n:
        raise InputError(
            f"target has shape {target.shape}; with this Q it must be ({n},) or (k, {n})"
        )
    targets = target.reshape(-1, n)
    if not 1 <= targets.shape[0] <= MAX_TARGETS:
        raise InputError(f"{targets.shape[0]} targets; there must be 1 to {MAX_TARGETS}")
    return targets


def _check_scale(scale: float) -> float:
    """Return the scale as a Python float; raise InputError unless it is positive and finite."""
    try:
        value = float(scale)
    except (TypeError, ValueError):
        raise InputError(f"scale must be a positive number, not {scale!r}") from None
    if not 0.0 < value < float("inf"):
        raise InputError(f"scale = {value!r}; it must be positive and finite")
    if not SCALE_RANGE[0] <= value <= SCALE_RANGE[1]:
        raise InputError(
            f"scale = {value!r} is outside {SCALE_RANGE[0]:g} to {SCALE_RANGE[1]:g}; choose other "
            "units for scale and target"
        )
    return value


def _check_diagonal(Q: Array) -> None:
    """Raise InputError for a diagonal too far from 1 for error bounds in float64.

    Entries that are not positive are left to the factorisation, which names the pivot.
    """
    diagonal = np.diagonal(Q)
    far = (diagonal > 0.0) & ((diagonal < DIAGONAL_RANGE[0]) | (diagonal > DIAGONAL_RANGE[1]))
    if far.any():
        i = int(np.argmax(far))
        raise InputError(
            f"Q[{i},{i}] = {diagonal[i]!r} is outside {DIAGONAL_RANGE[0]:g} to "
            f"{DIAGONAL_RANGE[1]:g}; multiply Q by a constant"
        )


def _check_finite(array: Array, name: str) -> None:
    """Raise InputError that names the first entry (row-major) that is NaN or infinite."""
    rows = array.reshape(-1, array.shape[-1])
    step = rows_per_block(rows.shape[1])
    for start in range(0, rows.shape[0], step):
        finite = np.isfinite(rows[start : start + step])
        if not finite.all():
            i, j = (int(x) for x in np.argwhere(~finite)[0])
            place = f"{start + i}, {j}" if array.ndim == 2 else f"{j}"
            raise InputError(
                f"{name}[{place}] is {rows[start + i, j]}; all entries must be finite "
                "(indices from 0)"
            )


def _check_reach(targets: Array, scale: float) -> None:
    """Raise InputError when a target's doubled coordinate 2 t / s reaches MAX_DOUBLED."""
    step = rows_per_block(targets.shape[1])
    for start in range(0, targets.shape[0], step):
        with np.errstate(over="ignore"):
            doubled = np.abs(targets[start : start + step] / scale) * 2.0
        far = doubled >= MAX_DOUBLED
        if far.any():
            i, j = (int(x) for x in np.argwhere(far)[0])
            raise InputError(
                f"target {start + i} is too far out: |2 * target[{j}] / scale| = "
                f"{doubled[i, j]:.3g} must stay below 2**28; subtract a lattice point first "
                "or use a larger scale"
            )


def _symmetrise(Q: Array) -> None:
    """Make Q exactly symmetric in place; raise InputError when it is more than rounding off.

    Both entries become Qij + (Qji - Qij) / 2, i < j: equal entries keep their bits.
    """
    n = Q.shape[0]
    diagonal = np.abs(np.diagonal(Q))
    side = max(8, int((BLOCK_BYTES // 8) ** 0.5))
    worst: tuple[int, int] | None = None
    for a in range(0, n, side):
        for b in range(a, n, side):
            upper = Q[a : a + side, b : b + side]
            lower = Q[b : b + side, a : a + side].T
            allowed = np.maximum(diagonal[a : a + side, None], diagonal[None, b : b + side])
            with np.errstate(over="ignore"):
                difference = lower - upper
            off = np.abs(difference) > SYMMETRY_TOLERANCE * allowed
            if off.any():
                i, j = (int(x) for x in np.argwhere(off)[0])
                place = (a + i, b + j) if a + i < b + j else (b + j, a + i)
                worst = place if worst is None else min(worst, place)
                continue
            mean = upper + 0.5 * difference + 0.0
            if a == b:
                mean = np.triu(mean) + np.triu(mean, 1).T
            Q[a : a + side, b : b + side] = mean
            Q[b : b + side, a : a + side] = mean.T
    if worst is not None:
        i, j = worst
        raise InputError(
            f"Q is not symmetric: Q[{i}, {j}] = {float(Q[i, j])!r} but Q[{j}, {i}] = "
            f"{float(Q[j, i])!r} (indices from 0); pass (Q + Q.T) / 2 if that is meant"
        )
