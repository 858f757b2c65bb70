"""Keys of the post-quantum hybrid: ML-KEM-768 and X25519, both needed (paper section 11)."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import x25519

from morsr_mpi.base.errors import UsageError

_X25519_BYTES = 32
_SEED_BYTES = 64


def need(name: str) -> Any:
    """Return a module of the `cryptography` package that older versions lack.

    Raises UsageError saying which version has it.
    """
    place = "" if name == "hpke" else "asymmetric."
    try:
        found = importlib.import_module(f"cryptography.hazmat.primitives.{place}{name}")
    except ImportError:
        raise UsageError(
            "this envelope needs the package cryptography 47 or newer: upgrade it, or take "
            "--envelope rsa-oaep"
        ) from None
    return found


@dataclass(frozen=True)
class HybridPublic:
    """The public halves."""

    mlkem: Any
    x25519: x25519.X25519PublicKey

    def public_bytes_raw(self) -> bytes:
        """ML-KEM's encapsulation key, then X25519's 32 bytes."""
        raw: bytes = self.mlkem.public_bytes_raw()
        return raw + self.x25519.public_bytes_raw()

    @classmethod
    def from_public_bytes(cls, data: bytes) -> HybridPublic:
        """Inverse of public_bytes_raw. Raises ValueError."""
        first, second = data[:-_X25519_BYTES], data[-_X25519_BYTES:]
        mlkem = need("mlkem").MLKEM768PublicKey.from_public_bytes(first)
        return cls(mlkem, x25519.X25519PublicKey.from_public_bytes(second))

    def for_hpke(self) -> Any:
        """As HPKE takes it."""
        return need("hpke").MLKEM768X25519PublicKey(self.mlkem, self.x25519)


@dataclass(frozen=True)
class HybridPrivate:
    """The private halves."""

    mlkem: Any
    x25519: x25519.X25519PrivateKey

    @classmethod
    def generate(cls) -> HybridPrivate:
        """Return fresh keys."""
        return cls(need("mlkem").MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate())

    def private_bytes_raw(self) -> bytes:
        """ML-KEM's 64-byte seed, then X25519's 32 bytes."""
        seed: bytes = self.mlkem.private_bytes_raw()
        return seed + self.x25519.private_bytes_raw()

    @classmethod
    def from_private_bytes(cls, data: bytes) -> HybridPrivate:
        """Inverse of private_bytes_raw. Raises ValueError."""
        if len(data) != _SEED_BYTES + _X25519_BYTES:
            raise ValueError(f"a hybrid private key has 96 bytes, not {len(data)}")
        mlkem = need("mlkem").MLKEM768PrivateKey.from_seed_bytes(data[:_SEED_BYTES])
        return cls(mlkem, x25519.X25519PrivateKey.from_private_bytes(data[_SEED_BYTES:]))

    def public_key(self) -> HybridPublic:
        """The public halves."""
        return HybridPublic(self.mlkem.public_key(), self.x25519.public_key())

    def for_hpke(self) -> Any:
        """As HPKE takes it."""
        return need("hpke").MLKEM768X25519PrivateKey(self.mlkem, self.x25519)
