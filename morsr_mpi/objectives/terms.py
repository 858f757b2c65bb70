"""All kinds of tile terms by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from morsr_mpi.base.canonical import CanonicalError, decode
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.radial import BALL, ball
from morsr_mpi.objectives.rate import RATE, rate
from morsr_mpi.objectives.separable import BOX, box
from morsr_mpi.objectives.tile_term import TileTerm, decoded

KINDS: dict[str, Callable[[Mapping[str, object]], TileTerm]] = {
    BALL: ball,
    BOX: box,
    RATE: rate,
}


def make_term(given: TileTerm | Mapping[str, object] | str | None) -> TileTerm | None:
    """Return a term from a mapping with `kind` and its parameters, or from a kind alone.

    Raises InputError, one line that names the term, for anything else.
    """
    if given is None or isinstance(given, TileTerm):
        return given
    if isinstance(given, str):
        given = {"kind": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("kind"), str):
        raise InputError("a tile term is a mapping with its kind and parameters, or None")
    kind = str(given["kind"])
    if kind not in KINDS:
        raise InputError(f"unknown tile term {kind!r}; known are {', '.join(sorted(KINDS))}")
    return KINDS[kind]({name: value for name, value in given.items() if name != "kind"})


def term_of_bytes(data: bytes) -> TileTerm | None:
    """Inverse of TileTerm.to_bytes; none for no bytes. Raises InputError when malformed."""
    if not data:
        return None
    try:
        match decode(data):
            case (str(kind), tuple(items)):
                parameters: dict[str, object] = {"kind": kind}
                for item in items:
                    match item:
                        case (str(name), value):
                            parameters[name] = decoded(value)
                        case _:
                            raise InputError("malformed tile term")
                return make_term(parameters)
    except CanonicalError as error:
        raise InputError(f"malformed tile term: {error}") from None
    raise InputError("malformed tile term")
