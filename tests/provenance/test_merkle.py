"""Merkle trees: the published vectors, the definition, proofs that hold and proofs that do not."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morsr_mpi.base.errors import InternalError
from morsr_mpi.provenance.merkle import (
    EMPTY_ROOT,
    MerkleTree,
    leaf_hash,
    reference_root,
    verify_consistency,
    verify_inclusion,
)

#: Leaves and roots of the test vectors of certificate transparency (RFC 6962 hashing).
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOT_OF_EIGHT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def tree_of(size: int) -> MerkleTree:
    return MerkleTree([leaf_hash(bytes([i % 251, i // 251])) for i in range(size)])


def test_the_published_vectors() -> None:
    tree = MerkleTree([leaf_hash(leaf) for leaf in LEAVES])
    assert tree.root().hex() == ROOT_OF_EIGHT
    assert tree.root(0) == EMPTY_ROOT == hashlib.sha256(b"").digest()
    assert leaf_hash(b"").hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )


@pytest.mark.parametrize("size", range(40))
def test_roots_are_those_of_the_definition(size: int) -> None:
    leaves = [leaf_hash(bytes([i])) for i in range(size)]
    tree = MerkleTree(leaves)
    assert len(tree) == size
    assert [tree.root(n) for n in range(size + 1)] == [
        reference_root(leaves[:n]) for n in range(size + 1)
    ]


def test_every_leaf_has_a_proof_and_no_other_place() -> None:
    tree = tree_of(21)
    for size in range(1, 22):
        root = tree.root(size)
        for index in range(size):
            path = tree.inclusion(index, size)
            leaf = leaf_hash(bytes([index, 0]))
            assert len(path) <= (size - 1).bit_length()
            assert verify_inclusion(leaf, index, size, path, root)
            others = [i for i in range(size) if i != index]
            assert not any(verify_inclusion(leaf, i, size, path, root) for i in others)
            assert not verify_inclusion(leaf_hash(b"x"), index, size, path, root)
            assert not verify_inclusion(leaf, index, size, [*path, root], root)
            if path:
                assert not verify_inclusion(leaf, index, size, path[:-1], root)


def test_every_prefix_is_proven() -> None:
    tree = tree_of(21)
    for second in range(1, 22):
        for first in range(1, second + 1):
            path = tree.consistency(first, second)
            old, new = tree.root(first), tree.root(second)
            assert verify_consistency(first, second, path, old, new)
            assert not verify_consistency(first, second, path, leaf_hash(b"x"), new)
            assert not verify_consistency(first, second, path, old, leaf_hash(b"x"))
            assert not verify_consistency(first, second, [*path, new], old, new)
            if path:
                assert not verify_consistency(first, second, path[:-1], old, new)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.integers(2, 400))
def test_a_flipped_bit_of_a_proof_is_seen(data: st.DataObject, size: int) -> None:
    tree = tree_of(size)
    index = data.draw(st.integers(0, size - 1))
    path = tree.inclusion(index)
    leaf = leaf_hash(bytes([index % 251, index // 251]))
    assert verify_inclusion(leaf, index, size, path, tree.root())
    at, bit = data.draw(st.integers(0, len(path) - 1)), data.draw(st.integers(0, 255))
    wrong = bytearray(path[at])
    wrong[bit // 8] ^= 1 << bit % 8
    assert not verify_inclusion(
        leaf, index, size, [*path[:at], bytes(wrong), *path[at + 1 :]], tree.root()
    )
    first = data.draw(st.integers(1, size))
    proof = tree.consistency(first)
    assert verify_consistency(first, size, proof, tree.root(first), tree.root())
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        changed = [*proof[:at], leaf_hash(proof[at]), *proof[at + 1 :]]
        assert not verify_consistency(first, size, changed, tree.root(first), tree.root())


def test_what_is_not_in_the_tree_is_an_error() -> None:
    tree = tree_of(5)
    for call in (
        lambda: tree.root(6),
        lambda: tree.inclusion(5),
        lambda: tree.inclusion(0, 6),
        lambda: tree.consistency(0),
        lambda: tree.consistency(6),
        lambda: tree.append(b"short"),
    ):
        with pytest.raises(InternalError):
            call()
    assert not verify_inclusion(leaf_hash(b""), 3, 3, [], EMPTY_ROOT)
    assert not verify_consistency(0, 3, [], EMPTY_ROOT, EMPTY_ROOT)
