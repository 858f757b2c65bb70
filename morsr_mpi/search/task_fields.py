"""The parameters of each kind of task, checked."""

from __future__ import annotations

from morsr_mpi.base.config import MAX_DIMENSION
from morsr_mpi.base.errors import InternalError
from morsr_mpi.lattice.tilecode import unpack_tiles
from morsr_mpi.search.orders import OrderName


def beam(item: object) -> tuple[OrderName, int, int, float, int]:
    """Order, width, branch, gamma and patience of one beam of a complete task."""
    match item:
        case (str(kind), int(seed), int(width), int(branch), float(gamma), int(patience)):
            return OrderName(kind, seed), width, branch, gamma, patience
        case _:
            raise InternalError("malformed beam in a task")


def advance(body: tuple[object, ...]) -> tuple[bytes, int, int]:
    """Start, patience and seed of a walk."""
    match body:
        case (bytes(packed), int(patience), int(seed)) if patience >= 0 and seed >= 0:
            return unpack_tiles(packed, MAX_DIMENSION // 8), patience, seed
        case _:
            raise InternalError("malformed walk in a task")


def prove(body: tuple[object, ...]) -> tuple[tuple[object, ...], int, int]:
    """Packed chambers, split and budget of an enumeration."""
    match body:
        case (tuple(packed), int(split), int(budget)) if packed:
            return packed, split, budget
        case _:
            raise InternalError("malformed enumeration in a task")
