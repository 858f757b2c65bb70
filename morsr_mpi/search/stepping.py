"""What all runs of tasks need: ticks and units, kernels that leave their range, bytes of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.errors import InputError
from morsr_mpi.search import _engine

T = TypeVar("T")

TICKS = int(_engine.TICKS_PER_UNIT)


def units_of(ticks: int) -> int:
    """Ticks to work units, rounded up."""
    return -(-ticks // TICKS)


def kernel_step(call: Callable[[], T]) -> T:
    """Call a kernel; InputError where a coordinate leaves the range of int32."""
    try:
        return call()
    except OverflowError:
        raise InputError(
            "Q is too ill-conditioned to search: a conditional centre lies beyond 2**28 lattice "
            "steps; add damping to the diagonal of Q or rescale its coordinates"
        ) from None


def little_endian(doubled: NDArray[np.int32]) -> bytes:
    """A point as tasks and chambers carry it."""
    return doubled.astype("<i4").tobytes()
