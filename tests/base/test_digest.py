"""Digests and versions."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import DIGEST_BYTES, digest_of, sha256, short
from morsr_mpi.base.version import ALGORITHM_VERSION, __version__


def test_digests() -> None:
    assert sha256(b"abc").hex().startswith("ba7816bf8f01")
    assert digest_of("a", 1) == hashlib.sha256(encode(("a", 1))).digest()
    assert len(digest_of()) == DIGEST_BYTES
    assert digest_of("ab") != digest_of("a", "b")
    assert short(sha256(b"abc")) == "ba7816bf8f01"


def test_versions() -> None:
    assert ALGORITHM_VERSION >= 1
    assert len(__version__.split(".")) == 3


def test_base_is_light() -> None:
    """The lowest layer starts quickly: it imports nothing outside the standard library."""
    code = (
        "import sys; import morsr_mpi.base.canonical, morsr_mpi.base.digest, "
        "morsr_mpi.base.config, morsr_mpi.base.errors, morsr_mpi.base.version; "
        "print([m for m in ('numpy', 'mpi4py', 'h5py', 'cbor2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
