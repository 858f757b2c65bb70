"""No signatures (`--security off`): crash faults only, and the records say so."""

from __future__ import annotations


class UnsignedSigner:
    """Signer port that signs nothing and accepts exactly the empty signature."""

    mode = "off"
    signature_bytes = 0
    public_key = b""

    def sign(self, data: bytes) -> bytes:
        """Return the empty signature."""
        return b""

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Whether the signature is empty, as all are in this mode."""
        return signature == b""
