"""Independent components of a problem: sets of tiles that Q does not couple.

When Q is block diagonal over tiles (after some permutation), the minimum over all coordinates is
the sum of the minima over the components, each much smaller to search and to certify.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.objectives.problem import QuadraticProblem


def coupled_tiles(Q: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether any entry of Q couples two tiles: bool [m,m]."""
    m = Q.shape[0] // 8
    coupled = np.zeros((m, m), dtype=bool)
    for tile in range(m):  # one row of tiles at a time: Q may be large
        rows = Q[8 * tile : 8 * tile + 8].reshape(8, m, 8)
        coupled[tile] = np.any(rows != 0.0, axis=(0, 2))
    return coupled


def components_of(Q: NDArray[np.float64]) -> list[NDArray[np.int32]]:
    """Return the tiles of each component in ascending order, components by their first tile."""
    coupled = coupled_tiles(Q)
    m = coupled.shape[0]
    seen = np.zeros(m, dtype=bool)
    out = []
    for first in range(m):
        if seen[first]:
            continue
        inside = np.zeros(m, dtype=bool)
        inside[first] = True
        edge = inside
        while edge.any():
            edge = np.any(coupled[edge], axis=0) & ~inside
            inside |= edge
        seen |= inside
        out.append(np.flatnonzero(inside).astype(np.int32))
    return out


def restrict(problem: QuadraticProblem, coordinates: NDArray[np.intp]) -> QuadraticProblem:
    """The problem over some of the coordinates (int [n'], whole tiles)."""
    Q = np.ascontiguousarray(problem.Q[np.ix_(coordinates, coordinates)])
    targets = np.ascontiguousarray(problem.targets[:, coordinates])
    return QuadraticProblem.adopt(Q, targets, problem.scale, problem.term)
