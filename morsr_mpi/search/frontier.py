"""The frontier of one target: its open chambers, bounded in number, nothing ever dropped.

Costs of a change are those of the change: the least bounds come from heaps, the digest from a
Merkle tree over the set, prefixes are shared links of a trie.  What it does is a function of
the set of its chambers and of `folded` alone; `frontier_reference.Frontier` is its slow twin.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from morsr_mpi.base.config import FRONTIER_HIGH_WATER
from morsr_mpi.base.digest import digest_of
from morsr_mpi.base.errors import InternalError
from morsr_mpi.search.chambers import Chamber, Prefix
from morsr_mpi.search.folding import fold
from morsr_mpi.search.set_digest import SetDigest

INFINITY = float("inf")

#: The least limit in chambers per tile: one path takes one, and tasks need room for theirs.
LEAST_PER_TILE = 4


def place(chamber: Chamber) -> bytes:
    """Bytes that sort as the depth-first order: children by rank, then the remainder."""
    links = [] if chamber.prefix is None else chamber.prefix.links()
    return b"".join([_ordered(link.rank) for link in links]) + _ordered(chamber.skip)


def _ordered(value: int) -> bytes:
    """Prefix-free bytes of a number from 0 that sort as the numbers do."""
    size = (value.bit_length() + 7) // 8
    return bytes((size,)) + value.to_bytes(size, "big")


class _Heap:
    """Chambers by some order; entries that are open no more are skipped when they surface."""

    def __init__(self, order: Callable[[Chamber], tuple[object, ...]]) -> None:
        self._order = order
        self._heap: list[tuple[object, ...]] = []

    def rebuild(self, chambers: Iterable[Chamber]) -> None:
        self._heap = [(*self._order(chamber), chamber.key) for chamber in chambers]
        heapq.heapify(self._heap)

    def push(self, chamber: Chamber) -> None:
        heapq.heappush(self._heap, (*self._order(chamber), chamber.key))

    def least(self, open_chambers: dict[bytes, Chamber]) -> Chamber | None:
        """The first chamber, left where it is."""
        while self._heap:
            entry = self._heap[0]
            key = entry[-1]
            assert isinstance(key, bytes)
            chamber = open_chambers.get(key)
            if chamber is not None and self._order(chamber) == entry[:-1]:
                return chamber
            heapq.heappop(self._heap)
        return None

    def __len__(self) -> int:
        return len(self._heap)


def _by_bound(chamber: Chamber) -> tuple[object, ...]:
    return (chamber.bound,)


def _by_depth(chamber: Chamber) -> tuple[object, ...]:
    return (-chamber.depth, chamber.bound)


def _by_place(chamber: Chamber) -> tuple[object, ...]:
    return (place(chamber),)


@dataclass(slots=True)
class _Link:
    """A link of the trie; users: chambers that stand on it and links below."""

    link: Prefix
    users: int = 1


@dataclass(frozen=True, slots=True)
class View:
    """What a frontier consisted of at some time: chambers and links change no more once they are
    in it, so it can be read while the frontier goes on, in another thread too."""

    limit: int
    folded: bool
    _links: list[_Link]
    _chambers: list[Chamber]

    def links(self) -> list[Prefix]:
        """Links of the trie, in no particular order."""
        return [shared.link for shared in self._links]

    def chambers(self) -> list[Chamber]:
        """Open chambers by key."""
        return sorted(self._chambers, key=attrgetter("key"))


class Frontier:
    """limit: open chambers it holds at most between commits; tiles: of the problem's part.

    folded: whether chambers were ever folded; from then on the search is depth first.
    """

    def __init__(self, limit: int, tiles: int, *, folded: bool = False) -> None:
        self.limit = max(limit, LEAST_PER_TILE * tiles)
        self.tiles = tiles
        self.folded = folded
        self._open: dict[bytes, Chamber] = {}
        self._links: dict[bytes, _Link] = {}
        self._digest = SetDigest(self.limit)
        self._bounds = _Heap(_by_bound)
        self._depths: _Heap | None = None
        self._places: _Heap | None = None

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Chamber]:
        """Open chambers by key."""
        return iter(sorted(self._open.values(), key=attrgetter("key")))

    def view(self) -> View:
        """The chambers and links as they are now, at the cost of copying their references."""
        return View(self.limit, self.folded, list(self._links.values()), list(self._open.values()))

    @property
    def deep(self) -> bool:
        """Whether the deepest chambers go first, so that the frontier stops growing."""
        return self.folded or len(self._open) > min(FRONTIER_HIGH_WATER, self.limit // 2)

    @property
    def room(self) -> int:
        """Open chambers that may still come."""
        return max(0, self.limit - len(self._open))

    @property
    def least(self) -> float:
        """Least bound of an open chamber, inf when there is none."""
        chamber = self._bounds.least(self._open)
        return INFINITY if chamber is None else chamber.bound

    def add(self, chambers: Iterable[Chamber], cutoff: float = INFINITY) -> None:
        """Take in chambers whose bound is at most the cutoff.

        Raises InternalError for one that is open already: chambers are a partition.
        """
        for chamber in chambers:
            if chamber.bound <= cutoff:
                self._insert(chamber)

    def _insert(self, chamber: Chamber) -> None:
        if chamber.key in self._open:
            raise InternalError("a chamber was opened twice")
        chamber = self._adopt(chamber)
        self._open[chamber.key] = chamber
        self._digest.add(chamber.content())
        for heap in (self._bounds, self._depths, self._places):
            if heap is not None:
                heap.push(chamber)

    def _remove(self, chamber: Chamber) -> None:
        del self._open[chamber.key]
        self._digest.remove(chamber.content())
        self._release(chamber.prefix)

    def _adopt(self, chamber: Chamber) -> Chamber:
        """Return the chamber on links that the trie shares, and count them as used."""
        new: list[Prefix] = []
        at = chamber.prefix
        while at is not None and at.digest not in self._links:
            new.append(at)
            at = at.parent
        parent: Prefix | None = None
        if at is not None:
            shared = self._links[at.digest]
            shared.users += 1
            parent = shared.link
        for link in reversed(new):
            link.parent = parent  # the same prefix, on links that are shared
            self._links[link.digest] = _Link(link)
            parent = link
        return chamber if parent is chamber.prefix else replace(chamber, prefix=parent)

    def _release(self, prefix: Prefix | None) -> None:
        at = prefix
        while at is not None:
            shared = self._links[at.digest]
            shared.users -= 1
            if shared.users:
                return
            del self._links[at.digest]
            at = at.parent

    def prune(self, cutoff: float) -> None:
        """Drop the chambers whose bound is above the cutoff: nothing in them can be better."""
        gone = [chamber for chamber in self._open.values() if chamber.bound > cutoff]
        for chamber in gone:
            self._remove(chamber)
        self._tidy()

    def take(self, count: int) -> list[Chamber]:
        """Take out the next `count` chambers: least bound first, or deepest first when `deep`.

        Once chambers were folded, the first in depth-first order is in front of all.
        """
        heap = self._heap_of_depths() if self.deep else self._bounds
        taken: list[Chamber] = []
        if self.folded and count > 0:
            taken.extend(self._take_from(self._heap_of_places(), 1))
        taken.extend(self._take_from(heap, count - len(taken)))
        self._tidy()
        return taken

    def _take_from(self, heap: _Heap, count: int) -> list[Chamber]:
        out: list[Chamber] = []
        while len(out) < count:
            chamber = heap.least(self._open)
            if chamber is None:
                break
            self._remove(chamber)
            out.append(chamber)
        return out

    def _heap_of_depths(self) -> _Heap:
        if self._depths is None:
            self._depths = _Heap(_by_depth)
            self._depths.rebuild(self._open.values())
        return self._depths

    def _heap_of_places(self) -> _Heap:
        if self._places is None:
            self._places = _Heap(_by_place)
            self._places.rebuild(self._open.values())
        return self._places

    def _tidy(self) -> None:
        """Rebuild heaps in which most entries are open no more; drop those not needed."""
        if not self.deep and len(self._open) < self.limit // 4:
            self._depths = None
        for heap in (self._bounds, self._depths, self._places):
            if heap is not None and len(heap) > 64 + 2 * len(self._open):
                heap.rebuild(self._open.values())

    def shrink(self, in_flight: Callable[[], Sequence[Chamber]]) -> None:
        """When there are more than `limit`, fold until half of it is free.

        in_flight: returns chambers that are neither open nor done; they stay as they are.
        """
        if len(self._open) <= self.limit:
            return
        fixed = list(in_flight())
        self.folded = True
        first = self._heap_of_places().least(self._open)
        assert first is not None
        gone, new = fold(self._open.values(), [*fixed, first], len(self._open) - self.limit // 2)
        for chamber in gone:
            self._remove(chamber)
        for chamber in new:
            self._insert(chamber)
        self._tidy()

    def digest(self) -> bytes:
        """SHA-256 that stands for the open chambers, the limit and `folded`, 32 bytes."""
        return digest_of("morsr-frontier", self.limit, self.folded, self._digest.digest())
