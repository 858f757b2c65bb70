"""Merkle trees as in RFC 6962: roots, inclusion and consistency proofs (paper section 6.1).

A leaf is SHA-256 of 00 and its data, a node SHA-256 of 01 and its two children; a tree of n leaves
splits at the largest power of two below n.  `reference_root` is the definition; everything else
is held against it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.base.errors import InternalError

#: Longest proof: a tree of 2**64 leaves has no longer one.
MAX_PROOF = 65
EMPTY_ROOT = sha256(b"")


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962, section 2.1)."""
    return sha256(b"\x00" + data)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over two subtrees."""
    return sha256(b"\x01" + left + right)


def split(size: int) -> int:
    """Return the largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def reference_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes by the definition: slow and obvious."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node_hash(reference_root(leaves[:k]), reference_root(leaves[k:]))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes, level by level: a last node without a partner rises."""
    level = list(leaves)
    if not level:
        return EMPTY_ROOT
    hashed = hashlib.sha256
    while len(level) > 1:
        pairs = len(level) // 2
        above = [hashed(b"\x01" + level[2 * i] + level[2 * i + 1]).digest() for i in range(pairs)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


class MerkleTree:
    """An append-only tree that keeps all nodes of complete subtrees.

    levels[h][i] is the root over the leaves i·2^h … (i+1)·2^h − 1.  An append costs one hash on
    average, a root or a proof about log² of the size.
    """

    def __init__(self, leaves: Sequence[bytes] = ()) -> None:
        """leaves: leaf hashes, 32 bytes each."""
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash. Raises InternalError for one that is no SHA-256."""
        if len(leaf) != DIGEST_BYTES:
            raise InternalError(f"a leaf hash has {DIGEST_BYTES} bytes, not {len(leaf)}")
        node, height = leaf, 0
        while True:
            level = self._levels[height]
            level.append(node)
            if len(level) % 2:
                return
            node = node_hash(level[-2], level[-1])
            height += 1
            if height == len(self._levels):
                self._levels.append([])

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves (default: all)."""
        end = len(self) if size is None else size
        self._check(0 <= end <= len(self))
        return self._root(0, end) if end else EMPTY_ROOT

    def _root(self, begin: int, end: int) -> bytes:
        """Root over leaves of a range as the recursive definition makes them."""
        size = end - begin
        if size & (size - 1) == 0:
            return self._levels[size.bit_length() - 1][begin // size]
        k = split(size)
        return node_hash(self._root(begin, begin + k), self._root(begin + k, end))

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the audit path of a leaf in the tree of the first `size` (section 2.1.1)."""
        end = len(self) if size is None else size
        self._check(0 <= index < end <= len(self))
        begin, path = 0, []
        while end - begin > 1:
            k = begin + split(end - begin)
            if index < k:
                path.append(self._root(k, end))
                end = k
            else:
                path.append(self._root(begin, k))
                begin = k
        return path[::-1]

    def consistency(self, first: int, size: int | None = None) -> list[bytes]:
        """Return the proof that the tree of `first` leaves is a prefix (section 2.1.2)."""
        end = len(self) if size is None else size
        self._check(0 < first <= end <= len(self))
        begin, whole, path = 0, True, []
        m, n = first, end
        while m < n:
            k = split(n)
            if m <= k:
                path.append(self._root(begin + k, begin + n))
                n = k
            else:
                path.append(self._root(begin, begin + k))
                begin, m, n, whole = begin + k, m - k, n - k, False
        if not whole:
            path.append(self._root(begin, begin + n))
        return path[::-1]

    @staticmethod
    def _check(sound: bool) -> None:
        if not sound:
            raise InternalError("no such leaf or size in this tree")


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Whether a leaf hash stands at `index` of the tree of `size` leaves with this root."""
    if not 0 <= index < size or len(path) > MAX_PROOF:
        return False
    # From the leaf upward, along the last edge of the tree too (RFC 9162, section 2.1.3.2).
    at, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(
    first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes
) -> bool:
    """Whether the tree of `first` leaves with its root begins the one of `second` leaves."""
    if not 0 < first <= second or len(path) > 2 * MAX_PROOF:
        return False
    if first == second:
        return not path and first_root == second_root
    # RFC 9162, section 2.1.4.2.
    nodes = list(path)
    if first & (first - 1) == 0:
        nodes.insert(0, first_root)
    if not nodes:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, node)
        at, last = at >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
