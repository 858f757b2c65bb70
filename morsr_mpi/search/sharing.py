"""What the ranks of a node share: a prepared problem as a list of arrays and back.

Pure: where the arrays lie (this process, a file that several processes map) is decided above.
Arrays that two objects share stay shared, and nothing is computed again but views.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.errors import InternalError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.terms import term_of_bytes
from morsr_mpi.search.factor import Factor, make_factor
from morsr_mpi.search.prepare import Part, Prepared

Array = NDArray[np.generic]


@dataclass
class Flat:
    """tree: canonical values in which ("array", i) stands for arrays[i]."""

    tree: object = None
    arrays: list[Array] = field(default_factory=list)

    def put(self, array: Array) -> tuple[str, int]:
        """Return what stands for an array; the same for the same array."""
        for number, other in enumerate(self.arrays):
            if other is array:
                return ("array", number)
        self.arrays.append(np.ascontiguousarray(array))
        return ("array", len(self.arrays) - 1)


def flatten_problem(problem: QuadraticProblem) -> Flat:
    """Return the arrays of a problem; rebuild_problem is the inverse."""
    flat = Flat()
    flat.tree = _problem(flat, problem)
    return flat


def rebuild_problem(tree: object, arrays: list[Array]) -> QuadraticProblem:
    """Return the problem on these arrays, which were checked before they were shared."""
    match tree:
        case (("array", int(Q)), ("array", int(targets)), float(scale), bytes(term)):
            parts = (_double(arrays[Q]), _double(arrays[targets]), scale, term_of_bytes(term))
            return QuadraticProblem(*parts)
        case _:
            raise InternalError("malformed shared problem")


def flatten_prepared(prepared: Prepared) -> Flat:
    """Return the arrays of a prepared problem, those of the problem itself left out.

    A single component is the problem; several hold blocks of Q of their own.
    """
    flat = Flat()
    flat.tree = tuple(_part(flat, prepared, part) for part in prepared.parts)
    return flat


def rebuild_prepared(problem: QuadraticProblem, tree: object, arrays: list[Array]) -> Prepared:
    """Inverse of flatten_prepared."""
    if not isinstance(tree, tuple):
        raise InternalError("malformed shared factors")
    return Prepared(problem, tuple(_rebuild_part(problem, part, arrays) for part in tree))


def flatten_factor(factor: Factor) -> Flat:
    """Return the arrays of a factor; rebuild_factor is the inverse."""
    flat = Flat()
    flat.tree = _factor(flat, factor)
    return flat


def rebuild_factor(tree: object, arrays: list[Array]) -> Factor:
    """Bind the arrays of a factor to the kernels."""
    if not isinstance(tree, tuple):
        raise InternalError("malformed shared factor")
    found = {}
    for item in tree:
        match item:
            case (str(name), ("array", int(index))):
                found[name] = arrays[index]
            case _:
                raise InternalError("malformed shared factor")
    return make_factor(**found)  # type: ignore[arg-type]


def _problem(flat: Flat, problem: QuadraticProblem) -> tuple[object, ...]:
    term = b"" if problem.term is None else problem.term.to_bytes()
    return (flat.put(problem.Q), flat.put(problem.targets), problem.scale, term)


def _factor(flat: Flat, factor: Factor) -> tuple[object, ...]:
    named = ((item.name, getattr(factor, item.name)) for item in fields(factor))
    return tuple(
        (name, flat.put(value))
        for name, value in named
        if isinstance(value, np.ndarray) and value.size
    )


def _part(flat: Flat, prepared: Prepared, part: Part) -> tuple[object, ...]:
    out: list[tuple[str, object]] = []
    for item in fields(part):
        value = getattr(part, item.name)
        if isinstance(value, QuadraticProblem):
            whole = value is prepared.problem
            out.append((item.name, () if whole else _problem(flat, value)))
        elif isinstance(value, Factor):
            out.append((item.name, ("factor", _factor(flat, value))))
        elif isinstance(value, np.ndarray):
            out.append((item.name, flat.put(value)))
        elif isinstance(value, float):
            out.append((item.name, value))
        elif item.name != "store":  # each rank brings its own
            raise InternalError(f"cannot share {item.name} of a component")
    return tuple(out)


def _rebuild_part(problem: QuadraticProblem, tree: object, arrays: list[Array]) -> Part:
    if not isinstance(tree, tuple):
        raise InternalError("malformed shared component")
    found: dict[str, object] = {}
    for item in tree:
        match item:
            case ("problem", ()):
                found["problem"] = problem
            case ("problem", value):
                found["problem"] = rebuild_problem(value, arrays)
            case (str(name), ("factor", value)):
                found[name] = rebuild_factor(value, arrays)
            case (str(name), ("array", int(index))):
                found[name] = arrays[index]
            case (str(name), float(value)):
                found[name] = value
            case _:
                raise InternalError("malformed shared component")
    return Part(**found)  # type: ignore[arg-type]


def _double(array: Array) -> NDArray[np.float64]:
    if array.dtype != np.float64:
        raise InternalError("a shared matrix is not float64")
    return array  # type: ignore[return-value]
