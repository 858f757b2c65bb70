"""A prepared problem survives being taken apart into arrays, with all of its bits."""

from __future__ import annotations

import numpy as np
import pytest
from instances import drive, random_problem

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.errors import InternalError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.factor_store import PrivateFactors
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.orders import DIAGONAL, NATURAL, OrderName
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.sharing import (
    Array,
    flatten_factor,
    flatten_prepared,
    flatten_problem,
    rebuild_factor,
    rebuild_prepared,
    rebuild_problem,
)


def frozen(arrays: list[Array]) -> list[Array]:
    """Copies that nobody can write, as maps are."""
    out = []
    for array in arrays:
        copy = array.copy()
        copy.setflags(write=False)
        out.append(copy)
    return out


def two_components() -> QuadraticProblem:
    one, two = random_problem(24, 10.0, 1), random_problem(16, 10.0, 2)
    Q = np.zeros((40, 40))
    Q[:24, :24], Q[24:, 24:] = one.Q, two.Q
    return QuadraticProblem.create(Q, np.concatenate([one.targets, two.targets], axis=1), 1.0)


@pytest.mark.parametrize("kind", ["one component", "two components"])
def test_a_search_on_shared_arrays_has_the_bits_of_one_on_its_own(kind: str) -> None:
    problem = random_problem(40, 30.0, 4, k=2) if kind == "one component" else two_components()
    prepared = prepare(problem)
    flat = flatten_problem(problem)
    again = rebuild_problem(decode(encode(flat.tree)), frozen(flat.arrays))
    assert again.digest == problem.digest
    parts = flatten_prepared(prepared)
    # One component is the problem itself, which is shared already.
    assert any(a is problem.Q for a in parts.arrays) is False
    shared = rebuild_prepared(again, decode(encode(parts.tree)), frozen(parts.arrays))
    assert shared.tolerance == prepared.tolerance
    options = SearchOptions(30_000)
    one = drive(problem, options, prepared=prepared)
    two = drive(again, options, prepared=shared)
    assert one.state_digest() == two.state_digest()
    assert one.solution().to_bytes() == two.solution().to_bytes()


def test_factors_share_what_they_have_in_common() -> None:
    prepared = prepare(random_problem(40, 30.0, 4))
    part = prepared.parts[0]
    flat = flatten_prepared(prepared)
    assert sum(a is part.rank.w for a in flat.arrays) == 1
    assert part.proof.w is part.rank.w
    shared = rebuild_prepared(prepared.problem, flat.tree, flat.arrays).parts[0]
    assert shared.proof.w is shared.rank.w
    for name in ("order", "diag", "w", "quad", "eigenvalues"):
        for one, two in ((part.rank, shared.rank), (part.proof, shared.proof)):
            assert np.array_equal(getattr(one, name), getattr(two, name))
    other = part.factor(DIAGONAL)
    assert other is not None
    loose = flatten_factor(other)
    rebuilt = rebuild_factor(loose.tree, frozen(loose.arrays))
    assert np.array_equal(rebuilt.w, other.w)


@pytest.mark.parametrize("tree", [None, (1,), ((("rank", ("factor", 1)),),), ((("x", "y"),),)])
def test_malformed_trees_are_refused(tree: object) -> None:
    problem = random_problem(16, 5.0, 1)
    with pytest.raises(InternalError):
        rebuild_prepared(problem, tree, [])
    with pytest.raises(InternalError):
        rebuild_problem(tree, [])
    with pytest.raises(InternalError):
        rebuild_factor(tree, [])


def test_private_factors_are_bounded_and_the_newest_stays() -> None:
    part = prepare(random_problem(24, 5.0, 1)).parts[0]
    size = part.rank.nbytes
    store = PrivateFactors(limit=2 * size)
    made: list[OrderName] = []

    def get(name: OrderName) -> None:
        def make():  # type: ignore[no-untyped-def]
            made.append(name)
            return part.rank

        store.get(name, make)

    orders = [NATURAL, DIAGONAL, NATURAL, OrderName("random", 1), NATURAL, DIAGONAL]
    for name in orders:
        get(name)
    assert made == [NATURAL, DIAGONAL, OrderName("random", 1), DIAGONAL]
