"""Ed25519 signatures with a key of this run only (DESIGN section 7: `--security sign`)."""

from __future__ import annotations

from collections import OrderedDict

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from morsr_mpi.base.errors import InternalError

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
#: Parsed public keys kept: parsing costs a third of a verification.
_PARSED_KEYS = 4096


class Ed25519Signer:
    """Signer port over Ed25519 (RFC 8032); the seed comes from outside and never leaves."""

    mode = "sign"
    signature_bytes = SIGNATURE_BYTES

    def __init__(self, seed: bytes) -> None:
        """seed: 32 bytes from a cryptographic source. Raises InternalError otherwise."""
        if len(seed) != SEED_BYTES:
            raise InternalError(f"a signing seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes_raw()
        self._parsed: OrderedDict[bytes, Ed25519PublicKey | None] = OrderedDict()

    @property
    def public_key(self) -> bytes:
        """The raw public key, 32 bytes."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature."""
        return self._key.sign(data)

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Whether the signature is valid; False for malformed keys and signatures too."""
        key = self._parse(public_key)
        if key is None:
            return False
        try:
            key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def _parse(self, public_key: bytes) -> Ed25519PublicKey | None:
        """Return the parsed key from a small cache, None when it is malformed."""
        if public_key not in self._parsed:
            try:
                parsed = Ed25519PublicKey.from_public_bytes(public_key)
            except ValueError:
                parsed = None
            self._parsed[public_key] = parsed
            if len(self._parsed) > _PARSED_KEYS:
                self._parsed.popitem(last=False)
        return self._parsed[public_key]
