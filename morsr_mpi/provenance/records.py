"""One record of the journal: its envelope (docs/formats/journal.md).

A record is the canonical bytes of (format version, index, kind, previous, body). `previous`
is the SHA-256 of the record before it, zeros in the first, so that the last digest, the head,
stands for the whole journal. Later features add kinds; the envelope stays.
"""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_RECORD_BYTES
from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.base.errors import TamperError

#: Version of the envelope. A reader refuses any other: it cannot know what changed.
RECORD_VERSION = 1
#: `previous` of the first record, and head of an empty journal.
NO_RECORD = bytes(DIGEST_BYTES)


@dataclass(frozen=True)
class Record:
    """One decoded record. index: from 0; kind: what the body is; data: its exact bytes."""

    index: int
    kind: str
    previous: bytes
    body: tuple[object, ...]
    data: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the record's bytes."""
        return sha256(self.data)


def encode_record(index: int, kind: str, previous: bytes, body: tuple[object, ...]) -> bytes:
    """Return the bytes of a record."""
    return encode((RECORD_VERSION, index, kind, previous, body))


def decode_record(data: bytes, position: int) -> Record:
    """Return the record in these bytes; position: where it stands, for messages.

    Raises TamperError for what is no record, or one of another version.
    """
    try:
        fields = decode(data, MAX_RECORD_BYTES)
    except CanonicalError as error:
        raise TamperError(f"journal record {position} cannot be read: {error}") from None
    match fields:
        case (int(version), *_) if version is not True and version != RECORD_VERSION:
            raise TamperError(
                f"journal record {position} has format version {version}, this software reads "
                f"version {RECORD_VERSION}: use the version that wrote it"
            )
        case (int(), int(index), str(kind), bytes(previous), tuple(body)) if (
            type(index) is int and len(previous) == DIGEST_BYTES
        ):
            return Record(index, kind, previous, body, data)
    raise TamperError(f"journal record {position} does not have the fields of a record")
