"""Signers for whoever only checks signatures."""

from __future__ import annotations

from morsr_mpi.base.ports import Signer
from morsr_mpi.security.ed25519 import SEED_BYTES, Ed25519Signer
from morsr_mpi.security.unsigned import UnsignedSigner


def signer_of(mode: str) -> Signer:
    """Return a signer that can check signatures of a security mode; it has no key of worth."""
    return UnsignedSigner() if mode == "off" else Ed25519Signer(bytes(SEED_BYTES))
