"""Content-addressed storage: what an address is and what must hold (paper section 3.3).

The address of bytes is their SHA-256, so whoever gives them out needs no trust: the
receiver compares. `base.ports.Store` is the port; `memory_store` and the adapters' directory
store implement it.
"""

from __future__ import annotations

from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.base.errors import InternalError


def check_address(address: bytes) -> bytes:
    """Return the address; raise InternalError for anything but 32 bytes."""
    if type(address) is not bytes or len(address) != DIGEST_BYTES:
        raise InternalError(f"a content address has {DIGEST_BYTES} bytes")
    return address


def sound(address: bytes, data: bytes) -> bool:
    """Whether the bytes are those of the address."""
    return sha256(data) == address
