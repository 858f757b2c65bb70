"""The slow, obvious twin of the frontier: a list, sorted and rehashed whenever something is asked.

The tests hold `frontier.Frontier` and `folding.fold` against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from morsr_mpi.base.config import FRONTIER_HIGH_WATER
from morsr_mpi.base.digest import sha256
from morsr_mpi.search.chambers import Chamber, Prefix

INFINITY = float("inf")


def links_of(chamber: Chamber) -> list[Prefix]:
    """Pinned tiles from the root on."""
    return [] if chamber.prefix is None else chamber.prefix.links()


def place_of(chamber: Chamber) -> list[int]:
    """Where a chamber begins in depth-first order: ranks of its path, then of its next child."""
    return [link.rank for link in links_of(chamber)] + [chamber.skip]


class Frontier:
    """Same interface and meaning as frontier.Frontier."""

    def __init__(self, limit: int, tiles: int) -> None:
        self.limit = max(limit, 4 * tiles)
        self.folded = False
        self.chambers: list[Chamber] = []

    def add(self, chambers: Iterable[Chamber], cutoff: float = INFINITY) -> None:
        """Take in chambers within the cutoff."""
        self.chambers += [chamber for chamber in chambers if chamber.bound <= cutoff]

    def prune(self, cutoff: float) -> None:
        """Drop what cannot be better."""
        self.chambers = [chamber for chamber in self.chambers if chamber.bound <= cutoff]

    @property
    def deep(self) -> bool:
        """Whether the deepest go first."""
        return self.folded or len(self.chambers) > min(FRONTIER_HIGH_WATER, self.limit // 2)

    @property
    def least(self) -> float:
        """Least bound."""
        return min((chamber.bound for chamber in self.chambers), default=INFINITY)

    def take(self, count: int) -> list[Chamber]:
        """Take out the next chambers."""
        deep = self.deep
        order = sorted(self.chambers, key=lambda c: (-c.depth if deep else 0, c.bound, c.key))
        if self.folded and order:
            first = min(order, key=place_of)
            order.remove(first)
            order.insert(0, first)
        self.chambers = order[count:]
        return order[:count]

    def shrink(self, in_flight: Callable[[], Sequence[Chamber]]) -> None:
        """Fold when there are too many."""
        if len(self.chambers) <= self.limit:
            return
        self.folded = True
        fixed = [*in_flight(), min(self.chambers, key=place_of)]
        excess = len(self.chambers) - self.limit // 2
        self.chambers = fold_below([], self.chambers, fixed, excess)

    def root(self) -> bytes:
        """Merkle root of the set as set_digest defines it, from scratch."""
        levels = 0
        while levels < 4 and 64 * 64**levels < self.limit:
            levels += 1
        return merkle({chamber.content() for chamber in self.chambers}, levels, 0)


def merkle(leaves: set[bytes], levels: int, level: int) -> bytes:
    """Root of the subtree over these leaves; `level` branchings of six bits are behind."""
    if not leaves and level == 0:
        return sha256(b"")
    if level == levels:
        return sha256(b"\0" + b"".join(sorted(leaves)))

    def branch_of(leaf: bytes) -> int:
        bits = "".join(f"{byte:08b}" for byte in leaf)
        return int(bits[6 * level : 6 * level + 6], 2)

    below = b"\1"
    for branch in range(64):
        inside = {leaf for leaf in leaves if branch_of(leaf) == branch}
        if inside:
            below += bytes([branch]) + merkle(inside, levels, level + 1)
    return sha256(below)


def fold_below(
    path: list[Prefix], chambers: list[Chamber], fixed: Sequence[Chamber], excess: int
) -> list[Chamber]:
    """Fold among the chambers below one node, last children first; return what is open then.

    path: links from the root to the node.  fixed: chambers nothing may cover.
    """
    depth = len(path)
    link = path[-1] if path else None

    def under(chamber: Chamber, tile: bytes) -> bool:
        links = links_of(chamber)
        return len(links) > depth and links[depth].tile == tile

    below = [c for c in [*chambers, *fixed] if c.depth > depth]
    children = {links_of(c)[depth].tile: links_of(c)[depth] for c in below}
    may_fold = not any(c.depth == depth for c in fixed)
    target = len(chambers) - excess
    order = sorted(children.values(), key=lambda child: -child.rank)
    for child, following in zip(order, [*order[1:], None], strict=False):
        excess = len(chambers) - target
        inside = [c for c in chambers if under(c, child.tile)]
        rest = [c for c in chambers if not under(c, child.tile)]
        fixed_inside = [c for c in fixed if under(c, child.tile)]
        own = [c for c in rest if c.depth == depth]
        may_fold = may_fold and not fixed_inside
        last = following is None or any(under(c, following.tile) for c in fixed)
        alone = len(inside) == 1 and not own and last
        if excess <= 0:
            break
        if may_fold and len(inside) <= excess and not alone:
            bound = min(c.bound for c in inside + own)
            after = child.tile if child.rank else b""
            folded = Chamber(link, child.rank, after, bound, inclusive=child.rank > 0)
            chambers = [c for c in rest if c not in own] + [folded]
        else:
            may_fold = False
            chambers = rest + fold_below([*path, child], inside, fixed_inside, excess)
    return chambers
