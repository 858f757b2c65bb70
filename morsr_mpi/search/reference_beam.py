"""Slow, obvious twin of the beams in NumPy: dense matrices, float64, no residues.

The kernel ranks in float32, so keys agree to some six digits; a point differs only where two
children are that close.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.lattice import reference as e8
from morsr_mpi.lattice.points import roots
from morsr_mpi.search.factor import coordinates_of

#: csrc/src/engine_rank.inc says what they are.
DAMPING, SLOPE, LEAST, START, RATE, STEP2 = 25.0, 2.75, 0.03, 0.64, 3.0, 0.6
SECOND_MOMENT = 929 / 12960
#: Children looked at for each node kept, where some are merged.
MERGE_OFFERS = 4


@dataclass
class RankedNode:
    """Pinned tiles by position, partial cost, conditional centres [m,8]."""

    pinned: dict[int, NDArray[np.int32]]
    partial: float
    centres: NDArray[np.float64]


class RankedTree:
    """The tree of one target in one order as beams see it; costs in lattice units.

    Q: [n,n]; centre: [n] in natural order; least: least eigenvalue of each leading block, [m+1].
    """

    def __init__(
        self,
        Q: NDArray[np.float64],
        order: NDArray[np.int32],
        centre: NDArray[np.float64],
        least: NDArray[np.float64],
    ) -> None:
        places = coordinates_of(order)
        U = np.linalg.cholesky(Q[np.ix_(places, places)]).T
        G = np.linalg.inv(U)
        self.m = int(order.size)
        self.least = least
        tile = [slice(8 * j, 8 * j + 8) for j in range(self.m)]
        self.metric = [U[t, t].T @ U[t, t] for t in tile]
        self.scale = [float(np.prod(np.diag(U[t, t])) ** 0.25) for t in tile]
        #: W[j][b]: how far the centre of tile b moves when tile j is decided off its centre.
        self.W = [
            [G[tile[b], tile[j]] @ U[tile[j], tile[j]] for b in range(j)] for j in range(self.m)
        ]
        self.root = RankedNode({}, 0.0, centre[places].reshape(-1, 8).copy())

    def weight(self, j: int, b: int) -> float:
        """Weight of dist^2(c_b, E8) while tile j is decided: damped by the tiles in between."""
        variance = sum(
            SECOND_MOMENT * float(np.sum(self.W[i][b] ** 2)) / 8 for i in range(b + 1, j)
        )
        return float(self.scale[b] * (1.0 + DAMPING * variance / 16.0) ** -16)

    def slope(self, j: int, b: int, dist2: float) -> float:
        """Share of the slope of dist^2 that is left when moves may leave the Voronoi cell."""
        deviation = np.sqrt(float(np.sum(self.W[j][b] ** 2)) / 64 * STEP2)
        return float(np.clip(1.0 - SLOPE * (dist2 - (START - RATE * deviation)), LEAST, 1.0))

    def look_ahead(self, node: RankedNode, j: int) -> tuple[float, NDArray[np.float64]]:
        """S of a node whose next tile is j, and its pull [8] on that tile, both for γ = 1."""
        total, pull = 0.0, np.zeros(8)
        for b in range(j):
            doubled, dist2 = e8.nearest(node.centres[b][None, :])
            residue = node.centres[b] - 0.5 * doubled[0]
            weight = self.weight(j, b)
            total += weight * float(dist2[0])
            pull += weight * self.slope(j, b, float(dist2[0])) * (self.W[j][b].T @ residue)
        return total, pull

    def children(
        self, node: RankedNode, j: int, branch: int, gamma: float
    ) -> list[tuple[float, NDArray[np.int32]]]:
        """The children a beam offers: (key, point), best first."""
        look, pull = self.look_ahead(node, j)
        metric, centre = self.metric[j], node.centres[j]

        def estimate(point: NDArray[np.int32]) -> float:
            d = 0.5 * point - centre
            return float(d @ metric @ d + 2.0 * gamma * pull @ d)

        start = centre - gamma * np.linalg.solve(metric, pull)
        point = e8.nearest(start[None, :])[0][0]
        while estimate(best := min((point + r for r in roots()), key=estimate)) < estimate(point):
            point = best
        others = sorted((point + r for r in roots()), key=estimate)
        chosen = [point, *others][: branch if j else 1]
        return [(node.partial + gamma * look + estimate(p), p) for p in chosen]

    def pin(self, node: RankedNode, j: int, point: NDArray[np.int32]) -> RankedNode:
        """The child of a node at a point of tile j."""
        d = 0.5 * point - node.centres[j]
        centres = node.centres.copy()
        for b in range(j):
            centres[b] += self.W[j][b] @ d
        return RankedNode(
            {**node.pinned, j: point}, node.partial + float(d @ self.metric[j] @ d), centres
        )

    def beam(
        self, width: int, branch: int, gamma: float, limit: float, band: int = 0
    ) -> RankedNode | None:
        """Look-ahead K-best; None when the bound leaves nothing.

        band: nodes that agree in so many tiles decided last have the same completions, and the
        cheapest of them stands for all; 0 for none.
        """
        level = [self.root]
        for j in range(self.m - 1, -1, -1):
            offers = [
                (key, parent, point)
                for parent in level
                for key, point in self.children(parent, j, branch, gamma)
            ]
            most = MERGE_OFFERS * width if band else width
            bar = sorted(key for key, _, _ in offers)[:most][-1] if offers else 0.0
            if band:
                offers.sort(key=lambda offer: offer[0])
            kept = [self.pin(parent, j, point) for key, parent, point in offers if key <= bar]
            level = [n for n in kept if n.partial + self.least[j] * self.spread(n, j) <= limit]
            if band and j:
                level = merged(level, j, band, width)
        return min(level, key=lambda node: node.partial) if level else None

    def spread(self, node: RankedNode, j: int) -> float:
        """Sum of dist^2 over the free tiles."""
        return float(np.sum(e8.nearest(node.centres[:j])[1])) if j else 0.0


def merged(nodes: list[RankedNode], j: int, band: int, width: int) -> list[RankedNode]:
    """The first `width` nodes that differ in the `band` tiles from position j on, each the cheapest
    of those met until then.
    """
    best: dict[bytes, RankedNode] = {}
    for node in nodes:
        if len(best) == width:
            break
        recent = range(j, min(j + band, max(node.pinned) + 1))
        key = b"".join(node.pinned[i].tobytes() for i in recent)
        if key not in best or node.partial < best[key].partial:
            best[key] = node
    return list(best.values())
