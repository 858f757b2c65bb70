"""Tile terms: what is added to the quadratic objective for every tile (DESIGN section 2).

The objective is (v - t)^T Q (v - t) + sum over tiles of f(v_b).  A term f is a function of the
point v_b / s of E8, non-negative, finite at 0, infinite where a point is not allowed.  Kinds and
their formulas: docs/objectives.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives import _terms

Array = NDArray[np.float64]
Doubled = NDArray[np.int32]
#: A parameter as files and digests hold it.
Parameter = float | int | str | Array

#: Relative room for the rounding of a bound: far above what a few dozen operations lose.
BOUND_MARGIN = 1e-9


class TileTerm(ABC):
    """One term, the same function for every tile; immutable.

    kind: as in problem files.  parameters: everything that decides its values, by name.
    """

    kind: str
    parameters: Mapping[str, Parameter]
    #: Radius of the smallest ball around 0 that holds all allowed points v_b / s; inf: no limit.
    rim: float = float("inf")

    @abstractmethod
    def values(self, points: Doubled) -> Array:
        """Return f at doubled points: int32 (..., 8) -> float64 (...,), objective units."""

    @abstractmethod
    def reference_values(self, points: Doubled) -> Array:
        """Return the same bits as `values`, the slow and obvious way."""

    @abstractmethod
    def native(self, unit: float) -> _terms.Term | None:
        """Return the term for the kernels, f divided by `unit`; None: Python computes it."""

    @abstractmethod
    def start(self, x: Array) -> Doubled:
        """Return a point near each x (float64 (p, 8), lattice units): doubled, int32 (p, 8)."""

    @abstractmethod
    def bound(
        self, centres: Array, origins: Doubled, weights: Array, parts: Array, unit: float
    ) -> Array:
        """Return a lower bound for each tile of the least weighted distance with term.

        The least over p in E8 of sum_i weights_i (p_i - c_i)^2 + f(p + origin) / unit, with rows
        of float64 (j, 8); origins doubled.  parts: float64 (j,), a bound of the first sum alone.
        """

    def clip(self, x: Array) -> Array:
        """Return the point of the convex hull of what is allowed nearest to x, float64 [8]."""
        return x

    def least_product(self, g: Array) -> float:
        """Return the least of g . p over that hull; -inf where there is none."""
        return 0.0 if not g.any() else -float("inf")

    def points(self, most: int) -> Doubled | None:
        """Return all allowed points, int32 (count, 8), when there are at most `most`."""
        del most
        return None

    def fields(self) -> tuple[object, ...]:
        """What the problem digest covers: kind, then name and value of each parameter by name."""
        return (
            self.kind,
            tuple((name, _coded(self.parameters[name])) for name in sorted(self.parameters)),
        )

    def to_bytes(self) -> bytes:
        """Canonical bytes of `fields`."""
        return encode(self.fields())


def _coded(value: Parameter) -> object:
    """A parameter as canonical values: arrays as shape and little-endian bytes."""
    if isinstance(value, np.ndarray):
        return ("f8", tuple(int(x) for x in value.shape), value.astype("<f8").tobytes())
    return value


def decoded(value: object) -> Parameter:
    """Inverse of the coding of parameters; raises InputError for what is none."""
    match value:
        case ("f8", tuple(shape), bytes(data)):
            sizes = [int(x) for x in shape if isinstance(x, int)]
            return np.frombuffer(data, dtype="<f8").astype(np.float64).reshape(sizes)
        case float() | int() | str():
            return value
    raise InputError("malformed parameter of a tile term")


def number(kind: str, name: str, value: object) -> float:
    """Return a finite parameter as float; raises InputError naming term and parameter."""
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value[()]
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.integer | np.floating
    ):
        raise InputError(f"tile term {kind}: {name} = {value!r} is not a number")
    found = float(value)
    if not np.isfinite(found):
        raise InputError(f"tile term {kind}: {name} is {found}; it must be finite")
    return found + 0.0  # -0.0 becomes 0.0: equal terms have equal digests


def take(
    kind: str, parameters: Mapping[str, object], needed: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, object]:
    """Return the parameters after a check of their names; raises InputError."""
    given = {name: value for name, value in parameters.items() if value is not None}
    for name in given:
        if name not in needed and name not in optional:
            known = ", ".join((*needed, *optional)) or "none"
            raise InputError(f"tile term {kind} has no parameter {name!r}; it knows: {known}")
    for name in needed:
        if name not in given:
            raise InputError(f"tile term {kind} needs the parameter {name}")
    return given


def table(kind: str, name: str, value: object, dimensions: tuple[int, ...], most: int) -> Array:
    """Return an array parameter, entries at least 0, inf allowed; raises InputError."""
    try:
        found = np.array(value, dtype=np.float64, order="C")
    except (TypeError, ValueError):
        raise InputError(f"tile term {kind}: {name} is not an array of numbers") from None
    if found.ndim not in dimensions or not found.size or found.shape[-1] > most:
        raise InputError(
            f"tile term {kind}: {name} has shape {found.shape}; it must have 1 to {most} entries"
        )
    if np.isnan(found).any() or (found < 0.0).any():
        raise InputError(f"tile term {kind}: {name} has an entry that is negative or not a number")
    found += 0.0
    found.setflags(write=False)
    return found


def in_rows(points: Doubled) -> Doubled:
    """Points (..., 8) as int32 (count, 8), C-contiguous; raises InputError for other shapes."""
    d = np.ascontiguousarray(points, dtype=np.int32)
    if d.ndim < 1 or d.shape[-1] != 8:
        raise InputError(f"doubled coordinates have the shape (..., 8), not {d.shape}")
    return d.reshape(-1, 8)


def kernel_values(term: _terms.Term, points: Doubled) -> Array:
    """Values of a native term at points (..., 8)."""
    rows = in_rows(points)
    out = np.empty(len(rows))
    if len(rows):
        term.values(rows, out)
    return out.reshape(np.shape(points)[:-1])
