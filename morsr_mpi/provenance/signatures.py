"""Who signed what in a journal: the part of an audit that needs keys, and nothing but bytes."""

from __future__ import annotations

from collections.abc import Callable

from morsr_mpi.base.errors import TamperError
from morsr_mpi.provenance.bodies import Epoch, Genesis, Seal
from morsr_mpi.provenance.chain import VerifiedChain

#: (public key, data, signature) -> whether it is valid.
Verify = Callable[[bytes, bytes, bytes], bool]


def key_lists(chain: VerifiedChain) -> list[tuple[bytes, ...]]:
    """Return the public keys of each start of the run, by rank, the first start in front."""
    return [body.public_keys for body in chain.bodies if isinstance(body, Genesis | Epoch)]


def check_signatures(chain: VerifiedChain, verify: Verify) -> int:
    """Check every signature of every seal; return how many there were.

    A seal of a start that has keys is signed by at least one of its ranks, and by none twice.
    Raises TamperError naming the first record that is wrong.
    """
    keys: tuple[bytes, ...] = ()
    checked = 0
    for record, body in zip(chain.records, chain.bodies, strict=True):
        if isinstance(body, Genesis | Epoch):
            keys = body.public_keys
        if not isinstance(body, Seal):
            continue
        if any(keys) and not body.signatures:
            raise TamperError(f"journal record {record.index}: the seal is not signed")
        signers = [rank for rank, _ in body.signatures]
        if len(set(signers)) != len(signers):
            raise TamperError(f"journal record {record.index}: a rank has signed the seal twice")
        data = body.signed_bytes(record.previous)
        for rank, signature in body.signatures:
            if not 0 <= rank < len(keys) or not verify(keys[rank], data, signature):
                raise TamperError(
                    f"journal record {record.index}: the signature of rank {rank} is not valid "
                    "under the keys of this start of the run"
                )
            checked += 1
    return checked
