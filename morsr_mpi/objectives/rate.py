"""The term `rate`: lambda times the bits of a point under a given distribution.

With it the search minimises distortion + lambda * rate.  The distribution says the bits of every
shell (squared norm 2k) or of every doubled coordinate; where they are infinite, or beyond the
table, a point cannot be coded and is not allowed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from morsr_mpi.base.config import MAX_RATE_ENTRIES
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.radial import RadialTerm
from morsr_mpi.objectives.separable import SeparableTerm
from morsr_mpi.objectives.tile_term import Array, Parameter, TileTerm, number, table, take

RATE = "rate"


def rate(parameters: Mapping[str, object]) -> TileTerm:
    """Return the term `rate`: lambda times the bits of a point under a given distribution.

    Bits by shell (`shells`) or by doubled coordinate (`coordinates` with `first`).  Raises
    InputError for parameters that make no sense.
    """
    given = take(RATE, parameters, ("lambda",), ("shells", "coordinates", "first"))
    strength = number(RATE, "lambda", given["lambda"])
    if strength < 0.0:
        raise InputError(f"tile term rate: lambda = {strength!r} is negative")
    if ("shells" in given) == ("coordinates" in given):
        raise InputError("tile term rate needs bits: either shells or coordinates with first")
    if "shells" in given:
        if "first" in given:
            raise InputError("tile term rate: first goes with coordinates, not with shells")
        return _by_shell(given, strength)
    return _by_coordinate(given, strength)


def _by_shell(given: Mapping[str, object], strength: float) -> RadialTerm:
    """Return the term `rate` with bits[k] of every point of squared norm 2k."""
    bits = table(RATE, "shells", given["shells"], (1,), MAX_RATE_ENTRIES)
    if not np.isfinite(bits[0]):
        raise InputError("tile term rate: shells[0] must be finite: the point 0 is always allowed")
    return RadialTerm(RATE, {"lambda": strength, "shells": bits}, _priced(bits, strength))


def _by_coordinate(given: Mapping[str, object], strength: float) -> SeparableTerm:
    """Return the term `rate` with bits of each doubled coordinate: one row for all, or eight."""
    bits = table(RATE, "coordinates", given["coordinates"], (1, 2), MAX_RATE_ENTRIES)
    if bits.ndim == 2 and bits.shape[0] != 8:
        raise InputError(
            f"tile term rate: coordinates has shape {bits.shape}; it must be (count,) or (8, count)"
        )
    if "first" not in given:
        raise InputError("tile term rate: coordinates needs first, where its entries begin")
    first = number(RATE, "first", given["first"])
    if first != int(first) or not -(2**27) < first <= 0 or int(first) + bits.shape[-1] <= 0:
        raise InputError(f"tile term rate: first = {first!r}; an integer so that 0 has an entry")
    if not np.isfinite(bits[..., -int(first)]).all():
        raise InputError("tile term rate: the bits of coordinate 0 must be finite")
    parameters: dict[str, Parameter] = {
        "lambda": strength,
        "coordinates": bits,
        "first": int(first),
    }
    return SeparableTerm(RATE, parameters, _priced(bits, strength), int(first))


def _priced(bits: Array, strength: float) -> Array:
    """Bits times their price; what has infinitely many stays forbidden at price 0."""
    finite = np.isfinite(bits)
    return np.where(finite, strength * np.where(finite, bits, 0.0), np.inf)
