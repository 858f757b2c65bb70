"""Files of ours inside an envelope: `morsr-envelope`, version 1.0 (docs/formats/envelope.md).

The payload is the whole plain HDF5 file, which exists in memory only.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from morsr_mpi.adapters import hdf5_common as common
from morsr_mpi.adapters.envelope_files import EnvelopeKeys
from morsr_mpi.adapters.hdf5_kind import kind_of_file
from morsr_mpi.base.config import MAX_ENVELOPE_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import AuthenticationError, InputError
from morsr_mpi.security.envelope import Header, header

FILETYPE = "morsr-envelope"
VERSION = (1, 0)
#: An envelope adds its fields to a payload: keys and signatures of a few kilobytes.
_MORE_BYTES = 1 << 16


class SealedError(InputError):
    """A file that is sound as far as can be seen, and not for the keys that are here."""


def is_sealed(path: Path) -> bool:
    """Whether a file says that it is an envelope; False for anything that cannot be read."""
    try:
        return kind_of_file(path) == FILETYPE
    except InputError:
        return False


def save_sealed(
    path: Path, fill: Callable[[h5py.File], None], keys: EnvelopeKeys, purpose: str
) -> None:
    """Write the file that `fill` makes, sealed. Raises InputError, UsageError."""
    with h5py.File(
        path.name, "w", libver=common.LIBVER, driver="core", backing_store=False
    ) as plain:
        fill(plain)
        plain.flush()
        payload = plain.id.get_file_image()
    data = keys.seal(payload, purpose)
    said = header(data)

    def outer(file: h5py.File) -> None:
        common.write_header(file, FILETYPE, VERSION)
        for name, text in _attributes(said).items():
            common.write_text(file, name, text)
        common.write_array(file, "envelope", np.frombuffer(data, dtype=np.uint8), "|u1")

    def verify(written: Path) -> None:
        if read_sealed(written) != data:
            raise InputError(f"{written} did not read back as written; check the disk")

    common.write_atomically(path, outer, verify)


def read_sealed(path: Path) -> bytes:
    """Return the envelope of a file. Raises InputError."""
    with common.open_checked(path, FILETYPE, VERSION) as file:
        limits = (MAX_ENVELOPE_BYTES + _MORE_BYTES,)
        data = common.read_array(file, path, "/envelope", np.uint8, limits).tobytes()
        named = {name: common.read_text(file.attrs.get(name)) for name in _NAMES}
    try:
        if named != _attributes(header(data)):
            raise InputError(f"{path} is damaged: its attributes are not those of its envelope")
    except AuthenticationError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    return data


def sealed_header(path: Path) -> Header:
    """Return what an envelope in a file says of itself. Raises InputError."""
    return header(read_sealed(path))


@contextlib.contextmanager
def open_sealed(
    path: Path, keys: EnvelopeKeys | None, filetype: str, version: tuple[int, int]
) -> Iterator[h5py.File]:
    """Open the plain file in an envelope for reading, in memory.

    Raises SealedError without the right keys, InputError for damage.
    """
    data = read_sealed(path)
    said = header(data)
    if keys is None:
        raise SealedError(
            f"{path} is sealed ({said.suite}, for key {said.recipient.hex()[:16]}): give "
            "--envelope-keys the directory with that key"
        )
    try:
        payload = keys.open(data, filetype)
    except AuthenticationError as error:
        if "another recipient" in str(error) or "not trusted" in str(error):
            raise SealedError(
                f"{path} does not open with the keys of {keys.directory}: {error}; give the "
                "--envelope-keys it was written with"
            ) from None
        raise InputError(f"{path} is damaged or forged: {error}") from None
    except InputError as error:
        raise SealedError(f"{path} is sealed: {error}") from None
    with common.reading(path), h5py.File(io.BytesIO(payload), "r") as file:
        common.check_type(file, path, filetype, version)
        yield file


def _attributes(said: Header) -> dict[str, str]:
    found = (said.suite, said.purpose, said.recipient.hex(), sha256(said.sender).hex())
    return dict(zip(_NAMES, found, strict=True))


_NAMES = ("suite", "purpose", "recipient", "sender")
