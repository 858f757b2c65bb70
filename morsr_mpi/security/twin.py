"""In-memory twin of the signer: signatures nobody can forge, at the price of a hash.

Simulated ranks share one authority that keeps every secret. A signer can sign only with
its own secret; verification asks the authority. Within one process this is unforgeable by
construction, so thousands of simulated clusters need no elliptic curves.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b, sha256

from morsr_mpi.base.errors import InternalError

SIGNATURE_BYTES = 32


class TwinAuthority:
    """Issues signers and verifies what they signed."""

    def __init__(self, seed: bytes = b"") -> None:
        """seed: makes the identities of one authority differ from another's."""
        self._seed = seed
        self._secrets: dict[bytes, bytes] = {}

    def signer(self, name: object) -> TwinSigner:
        """Return a signer of its own identity; the same name gives the same identity."""
        secret = sha256(b"secret" + self._seed + repr(name).encode()).digest()
        public = sha256(b"public" + secret).digest()
        self._secrets[public] = secret
        return TwinSigner(self, secret, public)

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Whether the owner of the key signed exactly these bytes."""
        secret = self._secrets.get(public_key)
        return secret is not None and hmac.compare_digest(_mac(secret, data), signature)


class TwinSigner:
    """Signer port over the authority's secrets."""

    mode = "sign"
    signature_bytes = SIGNATURE_BYTES

    def __init__(self, authority: TwinAuthority, secret: bytes, public_key: bytes) -> None:
        if len(secret) != SIGNATURE_BYTES:
            raise InternalError("a twin's secret comes from its authority")
        self._authority = authority
        self._secret = secret
        self._public = public_key

    @property
    def public_key(self) -> bytes:
        """32 bytes that name the identity."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """Return the 32-byte signature."""
        return _mac(self._secret, data)

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Whether the owner of the key signed exactly these bytes."""
        return self._authority.verify(public_key, data, signature)


def _mac(secret: bytes, data: bytes) -> bytes:
    """Keyed hash of the data."""
    return blake2b(data, key=secret, digest_size=SIGNATURE_BYTES).digest()
