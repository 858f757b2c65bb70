"""Slow, obvious twins of the search kernels in NumPy; the tests hold the kernels against them.

They use dense matrices and plain sums, so figures agree to rounding, not to the bit.  Children of
a node come from the lattice layer, which has a twin and tests of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.lattice import reference as e8
from morsr_mpi.lattice.e8 import k_nearest
from morsr_mpi.search.factor import coordinates_of


def objective(
    Q: NDArray[np.float64],
    target: NDArray[np.float64],
    scale: float,
    doubled: NDArray[np.int32],
) -> float:
    """(v − t)ᵀ Q (v − t) at v = scale · doubled / 2."""
    error = 0.5 * scale * doubled - target
    return float(error @ Q @ error)


def vblast_order(Q: NDArray[np.float64]) -> NDArray[np.int32]:
    """Decide the tile with the least determinant of its block of Q⁻¹, condition, repeat."""
    covariance = np.linalg.inv(Q)
    m = Q.shape[0] // 8
    open_tiles = list(range(m))
    order = []
    while open_tiles:
        dets = []
        for tile in open_tiles:
            block = slice(8 * tile, 8 * tile + 8)
            dets.append(np.linalg.det(covariance[block, block]))
        best = open_tiles[int(np.argmin(dets))]
        b = slice(8 * best, 8 * best + 8)
        gain = covariance[:, b] @ np.linalg.inv(covariance[b, b])
        covariance = covariance - gain @ covariance[b, :]
        open_tiles.remove(best)
        order.append(best)
    return np.array(order[::-1], dtype=np.int32)


#: More children than any brute-force test has within its limit.
MAX_CHILDREN = 1 << 16


@dataclass
class Node:
    """Pinned tiles by position, their partial cost, the conditional centre of all coordinates."""

    pinned: dict[int, NDArray[np.int32]]
    partial: float
    centre: NDArray[np.float64]


class Tree:
    """The search tree of one target in one tile order.

    Q: [n,n]; centre: [n] in natural order, lattice units; least: least eigenvalue of each leading
    block in tile order, [m+1].
    """

    def __init__(
        self,
        Q: NDArray[np.float64],
        order: NDArray[np.int32],
        centre: NDArray[np.float64],
        least: NDArray[np.float64],
    ) -> None:
        places = coordinates_of(order)
        self.Q = Q[np.ix_(places, places)]
        self.U = np.linalg.cholesky(self.Q).T
        self.m = int(order.size)
        self.least = least
        self.root = Node({}, 0.0, centre[places].copy())

    def children(self, node: Node, count: int, limit: float) -> list[Node]:
        """The first children in canonical order, at most `count`, of cost at most `limit`."""
        j = self.m - 1 - len(node.pinned)
        tile = slice(8 * j, 8 * j + 8)
        found = k_nearest(
            node.centre[tile],
            count,
            metric=self.U[tile, tile],
            base=node.partial,
            limit=limit,
        )
        return [
            self.pin(node, point, float(cost))
            for point, cost in zip(found.doubled, found.cost, strict=True)
        ]

    def pin(self, node: Node, point: NDArray[np.int32], cost: float) -> Node:
        """The child of a node at a point of its next tile."""
        j = self.m - 1 - len(node.pinned)
        tile, free = slice(8 * j, 8 * j + 8), slice(0, 8 * j)
        step = 0.5 * point - node.centre[tile]
        centre = node.centre.copy()
        centre[free] -= np.linalg.solve(self.Q[free, free], self.Q[free, tile] @ step)
        centre[tile] = 0.5 * point
        return Node({**node.pinned, j: point}, cost, centre)

    def look_ahead(self, node: Node) -> float:
        """Sum over the free tiles of the squared distance of their centres to E8."""
        free = self.m - len(node.pinned)
        if free == 0:
            return 0.0
        return float(np.sum(e8.nearest(node.centre[: 8 * free].reshape(-1, 8))[1]))

    def bound(self, node: Node) -> float:
        """Lower bound of every point below a node."""
        return node.partial + float(self.least[self.m - len(node.pinned)]) * self.look_ahead(node)

    def points(self, node: Node, limit: float) -> list[Node]:
        """Every complete point below a node with cost at most `limit`, without look-ahead."""
        if len(node.pinned) == self.m:
            return [node]
        out = []
        for child in self.children(node, MAX_CHILDREN, limit):
            out.extend(self.points(child, limit))
        return out
