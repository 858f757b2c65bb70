"""What others offer for the same problem, each with all its set-up, for the quality benchmark."""

from __future__ import annotations

import math
import time

import numpy as np
from fpylll import BKZ, GSO, LLL, IntegerMatrix
from numpy.typing import NDArray

from morsr_mpi.lattice.points import basis
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search import _engine
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.ldlq import ldlq_with_descent
from morsr_mpi.search.orders import DIAGONAL, VBLAST
from morsr_mpi.search.prepare import prepare

Array = NDArray[np.float64]


def ldlq(problem: QuadraticProblem, seconds: float) -> Array:
    """LDLQ with ten sweeps of coordinate descent, best iterate of both orders, per target.

    It ends long before its time is up and has nothing more to try.
    """
    del seconds
    return ldlq_with_descent(problem).objective


def plain_k_best(problem: QuadraticProblem, seconds: float) -> Array:
    """K-best without look-ahead (our kernel, weight 0), width doubling until the time is up.

    The children of a node are its best 8; both orders; a descent over root moves at the end.
    """
    start = time.process_time()
    prepared = prepare(problem)
    part = prepared.parts[0]
    explorer = Explorer(problem, prepared).parts[0]
    best = np.full(problem.k, np.inf)
    width = 16
    while True:
        for name in (VBLAST, DIAGONAL):
            ranking = explorer.rankings.get(name)
            for t in range(problem.k):
                if time.process_time() - start > seconds * problem.k:
                    return best
                centre = np.ascontiguousarray(part.centres[t][ranking.places])
                beam = _engine.Beam(ranking.view, centre, width, 8, 0.0, math.inf)
                while not beam.step(1 << 20):
                    pass
                found = np.empty(problem.n, dtype=np.int32)
                beam.best(found)
                doubled = part.origins[t].copy()
                doubled[ranking.places] += found
                objective = explorer.objective(t)
                objective.descend(part.quad, doubled, 64)
                best[t] = min(best[t], objective.evaluate(doubled))
        width *= 2


def reduced_babai(problem: QuadraticProblem, block: int) -> Array:
    """LLL, or BKZ where block > 0, by fpylll; then Babai's nearest plane for every target."""
    n = problem.n
    upper = np.linalg.cholesky(problem.Q).T
    points = np.kron(np.eye(n // 8), basis() / 2.0) * problem.scale
    rows = [[round(x * 2.0**30) for x in row] for row in points @ upper.T]
    lattice = IntegerMatrix.from_matrix(rows)
    transform = IntegerMatrix.identity(n)
    gso = GSO.Mat(lattice, U=transform)
    gso.update_gso()
    reduction = LLL.Reduction(gso)
    reduction()
    if block:
        BKZ.Reduction(gso, reduction, BKZ.Param(block, flags=BKZ.AUTO_ABORT))()
    change = np.array([[transform[i, j] for j in range(n)] for i in range(n)], dtype=float)
    vectors = change @ points
    q, r = np.linalg.qr((vectors @ upper.T).T)
    rest = problem.targets @ upper.T @ q
    chosen = np.zeros_like(rest)
    for i in range(n - 1, -1, -1):
        chosen[:, i] = np.rint(rest[:, i] / r[i, i])
        rest -= np.outer(chosen[:, i], r[:, i])
    error = chosen @ vectors - problem.targets
    return np.asarray(np.einsum("ki,ki->k", error @ problem.Q, error))


def lll_babai(problem: QuadraticProblem, seconds: float) -> Array:
    """LLL + Babai."""
    del seconds
    return reduced_babai(problem, 0)


def bkz_babai(problem: QuadraticProblem, seconds: float) -> Array:
    """BKZ-20 + Babai."""
    del seconds
    return reduced_babai(problem, 20)


#: Name, method, largest n it is run for: reductions of larger lattices take minutes.
PEERS = (
    ("LDLQ+CD", ldlq, 1 << 20),
    ("K-best", plain_k_best, 1 << 20),
    ("LLL+Babai", lll_babai, 128),
    ("BKZ20+Babai", bkz_babai, 128),
)
