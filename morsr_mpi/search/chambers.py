"""Chambers: an order, pinned tiles, and how many children of that node are done (DESIGN 2).

Prefixes are shared: each pinned tile is one link of a trie, so that the remainders of one
enumeration, which differ by one tile each, cost one tile each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from struct import Struct

from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError

#: Eight doubled coordinates as little-endian int32.
TILE_BYTES = 32
#: A rank among the children of a node: at n = 4096 a node has some 10**10.
RANK_BYTES = 8
#: One link of a prefix as `pack` writes it: its tile and its rank.
LINK_BYTES = TILE_BYTES + RANK_BYTES
_F64 = Struct("<d")


class Prefix:
    """One pinned tile on top of its parent; None stands for nothing pinned.

    rank: place of the tile among the children of its node in canonical order, from 0.
    """

    __slots__ = ("depth", "digest", "parent", "rank", "tile")

    def __init__(self, parent: Prefix | None, tile: bytes, rank: int) -> None:
        self.parent = parent
        self.tile = tile
        self.rank = rank
        self.depth: int = 1 if parent is None else parent.depth + 1
        head = b"" if parent is None else parent.digest
        self.digest: bytes = sha256(head + tile + rank.to_bytes(RANK_BYTES, "little"))

    def links(self) -> list[Prefix]:
        """All links of the prefix, the one decided first in front."""
        out = [self]
        at = self.parent
        while at is not None:
            out.append(at)
            at = at.parent
        return out[::-1]

    def tiles(self) -> list[bytes]:
        """Pinned tiles, the one decided first in front."""
        return [link.tile for link in self.links()]


@dataclass(frozen=True, slots=True)
class Chamber:
    """All points with the prefix whose next tile is not among the first `skip` of its order.

    bound: lower bound of the computed objective in lattice units (the contract).  after: where the
    rest of the children begins, 32 bytes, empty when skip is 0: the last child that is done, or,
    when inclusive, the first that is not.
    """

    prefix: Prefix | None
    skip: int
    after: bytes
    bound: float
    inclusive: bool = False
    key: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if (self.skip > 0) != (len(self.after) == TILE_BYTES) or self.skip < 0:
            raise InternalError("a chamber names a child exactly when it skips some")
        if self.inclusive and not self.skip:
            raise InternalError("a chamber without a cursor cannot begin at one")
        head = b"" if self.prefix is None else self.prefix.digest
        object.__setattr__(self, "key", sha256(head + self.skip.to_bytes(8, "little")))

    @property
    def depth(self) -> int:
        """Number of pinned tiles."""
        return 0 if self.prefix is None else self.prefix.depth

    def prefix_bytes(self) -> bytes:
        """Pinned tiles as bytes, the one decided first in front."""
        return b"" if self.prefix is None else b"".join(self.prefix.tiles())

    def chamber_id(self, problem_digest: bytes, target: int, part: int) -> bytes:
        """SHA-256 of problem, target, component, prefix and skip (paper definition 3.1).

        The proof order follows from the problem, so it needs no place of its own; the ranks in
        the digest of the prefix follow from its tiles.
        """
        where = target.to_bytes(8, "little") + part.to_bytes(8, "little")
        return sha256(problem_digest + where + self.key)

    def content(self) -> bytes:
        """SHA-256 of everything in it, the contract included: what a state digest covers."""
        cursor = bytes((self.inclusive,)) + self.after + _F64.pack(self.bound)
        return sha256(self.key + cursor)


def pack(chambers: Iterable[Chamber]) -> tuple[tuple[int, bytes, int, bytes, float], ...]:
    """Encode chambers as (links shared with the one before, new links, skip, after, bound).

    A link is its tile and its rank; after has one more byte when the chamber begins at it.
    """
    out = []
    before: list[Prefix] = []
    for chamber in chambers:
        links = [] if chamber.prefix is None else chamber.prefix.links()
        shared, most = 0, min(len(links), len(before))
        while shared < most and links[shared].digest == before[shared].digest:
            shared += 1
        more = b"".join([x.tile + x.rank.to_bytes(RANK_BYTES, "little") for x in links[shared:]])
        after = chamber.after + b"\1" if chamber.inclusive else chamber.after
        out.append((shared, more, chamber.skip, after, chamber.bound))
        before = links
    return tuple(out)


def unpack(packed: Iterable[object]) -> Iterator[Chamber]:
    """Inverse of pack; the prefixes share their links.  Raises InternalError when malformed."""
    chain: list[Prefix] = []
    for item in packed:
        match item:
            case (int(shared), bytes(more), int(skip), bytes(after), float(bound)):
                pass
            case _:
                raise InternalError("malformed chamber")
        if not 0 <= shared <= len(chain) or len(more) % LINK_BYTES:
            raise InternalError("malformed chamber prefix")
        del chain[shared:]
        for i in range(0, len(more), LINK_BYTES):
            parent = chain[-1] if chain else None
            rank = int.from_bytes(more[i + TILE_BYTES : i + LINK_BYTES], "little")
            chain.append(Prefix(parent, more[i : i + TILE_BYTES], rank))
        inclusive = len(after) > TILE_BYTES
        if inclusive and (len(after) != TILE_BYTES + 1 or after[-1] != 1):
            raise InternalError("malformed cursor of a chamber")
        yield Chamber(
            chain[-1] if chain else None, skip, after[:TILE_BYTES], bound, inclusive=inclusive
        )
