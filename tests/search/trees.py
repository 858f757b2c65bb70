"""Chambers of a made-up tree: every node has the same number of children, every leaf a value.

Exploring a chamber is exact here, so that what a frontier does can be judged by plain sets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from morsr_mpi.search.chambers import Chamber, Prefix

Leaf = tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """depth levels of `branches` children each; seed: of the values of its leaves."""

    depth: int
    branches: int
    seed: int

    def leaves(self) -> Iterator[Leaf]:
        """Every leaf by its ranks."""
        return product(range(self.branches), repeat=self.depth)

    def value(self, leaf: Leaf) -> float:
        """A number from 0 to 1."""
        data = hashlib.sha256(repr((self.seed, leaf)).encode()).digest()
        return int.from_bytes(data[:4], "big") / 2**32

    def covered(self, chamber: Chamber) -> list[Leaf]:
        """Leaves of a chamber."""
        path = path_of(chamber)
        rest = self.depth - len(path) - 1
        return [
            (*path, child, *more)
            for child in range(chamber.skip, self.branches)
            for more in product(range(self.branches), repeat=rest)
        ]

    def chamber(self, path: Leaf, skip: int) -> Chamber:
        """The chamber of a node less its first children, with the exact bound."""
        prefix = None
        for rank in path:
            prefix = Prefix(prefix, tile_of(rank), rank)
        after = tile_of(skip - 1) if skip else b""
        bound = min(map(self.value, self.covered(Chamber(prefix, skip, after, 0.0))))
        return Chamber(prefix, skip, after, bound)

    def explore(self, chamber: Chamber, leaf: Leaf) -> list[Chamber]:
        """What is left of a chamber when everything up to one of its leaves is done."""
        path = path_of(chamber)
        return [
            self.chamber(leaf[:d], leaf[d] + 1)
            for d in range(len(path), self.depth)
            if leaf[d] + 1 < self.branches
        ]


def tile_of(rank: int) -> bytes:
    """Eight coordinates that stand for a rank; a larger rank is not a larger tile."""
    return hashlib.sha256(bytes([rank])).digest()


def path_of(chamber: Chamber) -> Leaf:
    """Ranks of the pinned tiles."""
    return () if chamber.prefix is None else tuple(x.rank for x in chamber.prefix.links())
