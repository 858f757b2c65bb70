"""A digest of a set of digests that follows each change at the cost of the change.

A Merkle tree of fixed depth over 64-fold branchings: a leaf lies in the bucket that its first bits
name, so the tree, and with it the root, is a function of the set alone and not of its history.
Two sets with the same root give a collision of SHA-256: descend from the root; either two nodes
with the same digest have different bytes, or all buckets hold the same leaves.
"""

from __future__ import annotations

from morsr_mpi.base.digest import sha256

#: Bits of a leaf that choose the branch at one level.
BITS = 6
#: Leaves per bucket that are rehashed without being looked at twice.
BUCKET_LEAVES = 64
MAX_LEVELS = 4


class SetDigest:
    """capacity: members expected at most; it decides the depth, so it is part of the digest."""

    def __init__(self, capacity: int) -> None:
        levels = 0
        while levels < MAX_LEVELS and BUCKET_LEAVES << (BITS * levels) < capacity:
            levels += 1
        self._levels = levels
        self._buckets: dict[int, set[bytes]] = {}
        # Digests of the nodes of each level that hold something, the buckets' last.
        self._nodes: list[dict[int, bytes]] = [{} for _ in range(levels + 1)]
        self._dirty: set[int] = set()

    def _bucket(self, leaf: bytes) -> int:
        return int.from_bytes(leaf[:4], "big") >> (32 - BITS * self._levels)

    def add(self, leaf: bytes) -> None:
        """Put in a leaf (32 bytes, a SHA-256) that is not there."""
        bucket = self._bucket(leaf)
        self._buckets.setdefault(bucket, set()).add(leaf)
        self._dirty.add(bucket)

    def remove(self, leaf: bytes) -> None:
        """Take out a leaf that is there; KeyError otherwise."""
        bucket = self._bucket(leaf)
        self._buckets[bucket].remove(leaf)
        self._dirty.add(bucket)

    def digest(self) -> bytes:
        """SHA-256 root, 32 bytes; rehashes what has changed since the last call."""
        nodes = self._nodes[self._levels]
        for bucket in self._dirty:  # each on its own: their order has no influence
            leaves = self._buckets[bucket]
            if leaves:
                nodes[bucket] = sha256(b"\0" + b"".join(sorted(leaves)))
            else:
                del self._buckets[bucket]
                nodes.pop(bucket, None)
        changed = {bucket >> BITS for bucket in self._dirty}
        self._dirty.clear()
        for level in range(self._levels - 1, -1, -1):
            below, here = self._nodes[level + 1], self._nodes[level]
            for node in changed:
                branches = [
                    bytes((branch,)) + below[at]
                    for branch in range(1 << BITS)
                    if (at := (node << BITS) + branch) in below
                ]
                if branches:
                    here[node] = sha256(b"\1" + b"".join(branches))
                else:
                    here.pop(node, None)
            changed = {node >> BITS for node in changed}
        return self._nodes[0].get(0, sha256(b""))
