"""SHA-256 digests of bytes and of canonical values: the ids of everything."""

from __future__ import annotations

import hashlib

from morsr_mpi.base.canonical import encode

#: Length of every digest in bytes.
DIGEST_BYTES = 32


def sha256(data: bytes) -> bytes:
    """Return the 32-byte SHA-256 of the data."""
    return hashlib.sha256(data).digest()


def digest_of(*fields: object) -> bytes:
    """Return the SHA-256 of the canonical bytes of the tuple of fields.

    The first field should name the kind of thing, so that two kinds never collide.
    Raises `CanonicalError` for fields without canonical bytes.
    """
    return hashlib.sha256(encode(fields)).digest()


def short(digest: bytes) -> str:
    """Return the first 12 hexadecimal digits, for people to read."""
    return digest[:6].hex()
