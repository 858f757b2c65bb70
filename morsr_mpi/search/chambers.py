"""Chambers: an order, pinned tiles, and how many children of that node are done (DESIGN 2).

Prefixes are shared: each pinned tile is one link of a trie, so that the remainders of one
enumeration, which differ by one tile each, cost one tile each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError

#: Eight doubled coordinates as little-endian int32.
TILE_BYTES = 32
#: One link of a prefix as `pack` writes it: its tile, and what else identifies it.
LINK_BYTES = TILE_BYTES


class Prefix:
    """One pinned tile on top of its parent; None stands for nothing pinned."""

    __slots__ = ("depth", "digest", "parent", "tile")

    def __init__(self, parent: Prefix | None, tile: bytes) -> None:
        self.parent = parent
        self.tile = tile
        self.depth: int = 1 if parent is None else parent.depth + 1
        self.digest: bytes = sha256((b"" if parent is None else parent.digest) + tile)

    def tiles(self) -> list[bytes]:
        """Pinned tiles, the one decided first in front."""
        out = [self.tile]
        at = self.parent
        while at is not None:
            out.append(at.tile)
            at = at.parent
        return out[::-1]


@dataclass(frozen=True)
class Chamber:
    """All points with the prefix whose next tile is not among the first `skip` of its order.

    bound: lower bound of the computed objective in lattice units (the contract).  after: the last
    child that is done, 32 bytes, empty when skip is 0.
    """

    prefix: Prefix | None
    skip: int
    after: bytes
    bound: float
    key: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if (self.skip > 0) != (len(self.after) == TILE_BYTES) or self.skip < 0:
            raise InternalError("a chamber names its last child exactly when it skips some")
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

        The proof order follows from the problem, so it needs no place of its own.
        """
        where = target.to_bytes(8, "little") + part.to_bytes(8, "little")
        return sha256(problem_digest + where + self.key)


def pack(chambers: Iterable[Chamber]) -> tuple[tuple[int, bytes, int, bytes, float], ...]:
    """Encode chambers as (tiles shared with the one before, new tiles, skip, after, bound)."""
    out = []
    before: list[bytes] = []
    for chamber in chambers:
        tiles = [] if chamber.prefix is None else chamber.prefix.tiles()
        shared = 0
        while shared < min(len(tiles), len(before)) and tiles[shared] == before[shared]:
            shared += 1
        more = b"".join(tiles[shared:])
        out.append((shared, more, chamber.skip, chamber.after, chamber.bound))
        before = tiles
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
        if not 0 <= shared <= len(chain) or len(more) % TILE_BYTES:
            raise InternalError("malformed chamber prefix")
        del chain[shared:]
        for i in range(0, len(more), TILE_BYTES):
            parent = chain[-1] if chain else None
            chain.append(Prefix(parent, more[i : i + TILE_BYTES]))
        yield Chamber(chain[-1] if chain else None, skip, after, bound)
