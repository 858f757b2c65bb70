"""Task records: what a rank computed, one record each, one signed Merkle root a batch.

The paper's ProvenanceRecord (definition 6.1). What all records of a rank share stands once, in
the header of its segment: problem (input), algorithm version, run, rank. A batch holds the
records of what was certified together; its root is signed and links to the one before, so that a
segment cannot be cut in the middle, reordered or mixed with another
(docs/formats/tasks.md).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_RECORD_BYTES
from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.base.errors import TamperError
from morsr_mpi.provenance.merkle import leaf_hash, root_of

#: Version of header, records and roots. A reader refuses any other.
SEGMENT_VERSION = 1
_HEADER, _ROOT, _SIGNED = "tasks", "root", "morsr-tasks"
#: First bytes of every record: an array of six that begins with a digest.
RECORD_FRONT = b"\x86\x58\x20"


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """run: digest of the genesis or epoch record; rank: of the writer in it; problem: digest of
    the input of every computation; algorithm: its version."""

    run: bytes
    rank: int
    problem: bytes
    algorithm: int

    def encode(self) -> bytes:
        """Canonical bytes."""
        return encode((SEGMENT_VERSION, _HEADER, self.run, self.rank, self.problem, self.algorithm))

    @classmethod
    def parse(cls, data: bytes) -> SegmentHeader:
        """Raise ValueError for bytes that are no header of this version."""
        match decode(data, MAX_RECORD_BYTES):
            case (int(version), str(kind), bytes(run), int(rank), bytes(problem), int(alg)) if (
                (version, kind) == (SEGMENT_VERSION, _HEADER)
                and len(run) == len(problem) == DIGEST_BYTES
                and rank >= 0
            ):
                return cls(run, int(rank), problem, int(alg))
        raise ValueError(f"it is no header of a segment of version {SEGMENT_VERSION}")


#: Where the parameters of a record begin.
_AFTER_DIGEST = len(RECORD_FRONT) + DIGEST_BYTES
_ARGUMENTS = {
    24: (struct.Struct(">B"), 24),
    25: (struct.Struct(">H"), 1 << 8),
    26: (struct.Struct(">I"), 1 << 16),
    27: (struct.Struct(">Q"), 1 << 32),
}


def _head(data: bytes, at: int, major: int) -> tuple[int, int]:
    """Return argument and end of a head of one major type, the shortest of its value.

    Raises ValueError for another, IndexError or struct.error where the bytes end.
    """
    info = data[at] - major
    if 0 <= info < 24:
        return info, at + 1
    if info not in _ARGUMENTS:
        raise ValueError("it is no record of a task: a field of another kind")
    packed, least = _ARGUMENTS[info]
    number: int = packed.unpack_from(data, at + 1)[0]
    if number < least:
        raise ValueError("it is no record of a task: a head is longer than needed")
    return number, at + 1 + packed.size


class TaskRecord(NamedTuple):
    """One computation.

    computation: its content address (paper 3.3); parameters: canonical bytes of the task; commit:
    number of the pulse or step that took its result in, place: where there; planned: number of
    the pulse that planned it; result: SHA-256 of the result.
    """

    computation: bytes
    parameters: bytes
    commit: int
    place: int
    planned: int
    result: bytes

    def encode(self) -> bytes:
        """Canonical bytes."""
        return encode(tuple(self))

    @classmethod
    def parse(cls, data: bytes) -> TaskRecord:
        """Raise ValueError for bytes that are no record; `parse_slowly` by another way.

        The heads are read where they have to be, so that an audit is not held up by decoding.
        """
        try:
            length, at = _head(data, _AFTER_DIGEST, 0x40)
            end = at + length
            commit, at = _head(data, end, 0x00)
            place, at = _head(data, at, 0x00)
            planned, at = _head(data, at, 0x00)
        except (IndexError, struct.error):
            raise ValueError("it is no record of a task: it ends too early") from None
        if (
            data[:3] != RECORD_FRONT
            or data[at : at + 2] != b"\x58\x20"
            or len(data) != at + 2 + DIGEST_BYTES
            or len(data) > MAX_RECORD_BYTES
        ):
            raise ValueError("it is no record of a task")
        computation = data[3:_AFTER_DIGEST]
        parameters = data[end - length : end]
        return cls(computation, parameters, commit, place, planned, data[at + 2 :])

    @classmethod
    def parse_slowly(cls, data: bytes) -> TaskRecord:
        """Raise ValueError for bytes that are no record: the definition."""
        fields = decode(data, MAX_RECORD_BYTES)
        if type(fields) is tuple and len(fields) == 6:
            computation, parameters, commit, place, planned, result = fields
            if (
                type(computation) is bytes is type(parameters) is type(result)
                and type(commit) is int is type(place) is type(planned)
                and len(computation) == len(result) == DIGEST_BYTES
                and min(commit, place, planned) >= 0
            ):
                return cls(computation, parameters, commit, place, planned, result)
        raise ValueError("it is no record of a task")

    def depends_on(self, lag: int) -> int:
        """Return how many commits stood before it was planned: it depends on their results."""
        return max(0, self.planned - lag)


@dataclass(frozen=True, slots=True)
class BatchRoot:
    """Ends a batch. number: counted from 0 in a segment; first, end: the commits it covers;
    count, root: of its records; time: milliseconds since 1970, UTC, for people; previous:
    SHA-256 of the root before, or of the header; signature: of `signed_bytes`."""

    number: int
    first: int
    end: int
    count: int
    root: bytes
    time: int
    previous: bytes
    signature: bytes = b""

    def signed_bytes(self, header: SegmentHeader) -> bytes:
        """What the rank signs."""
        return encode((_SIGNED, SEGMENT_VERSION, header.run, header.rank, *self._fields()))

    def _fields(self) -> tuple[object, ...]:
        return (
            self.number, self.first, self.end, self.count, self.root, self.time, self.previous,
        )  # fmt: skip

    def encode(self) -> bytes:
        """Canonical bytes."""
        return encode((_ROOT, *self._fields(), self.signature))

    @classmethod
    def parse(cls, data: bytes) -> BatchRoot:
        """Raise ValueError for bytes that are no root."""
        match decode(data, MAX_RECORD_BYTES):
            case (
                "root", int(number), int(first), int(end), int(count), bytes(root), int(time),
                bytes(previous), bytes(signature),
            ) if len(root) == len(previous) == DIGEST_BYTES and 0 <= first <= end:  # fmt: skip
                return cls(
                    int(number), int(first), int(end), int(count), root, int(time), previous,
                    signature,
                )  # fmt: skip
        raise ValueError("it is no root of a batch")


class SegmentWriter:
    """Makes the items of one rank's segment; whoever has a disk appends them."""

    def __init__(self, header: SegmentHeader, sign: Callable[[bytes], bytes]) -> None:
        self.header = header
        self._sign = sign
        self._number = 0
        self._previous = sha256(header.encode())

    def batch(self, first: int, end: int, records: Sequence[bytes], time: int) -> list[bytes]:
        """Return the items of a batch: its records, already encoded, and their signed root."""
        bare = BatchRoot(
            self._number, first, end, len(records), root_of(map(leaf_hash, records)), time,
            self._previous,
        )  # fmt: skip
        signature = self._sign(bare.signed_bytes(self.header))
        item = replace(bare, signature=signature).encode()
        self._number += 1
        self._previous = sha256(item)
        return [*records, item]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was read: its records, their bytes, its root."""

    records: tuple[TaskRecord, ...]
    data: tuple[bytes, ...]
    root: BatchRoot


class SegmentReader:
    """Takes a segment's items one after the other; every item is checked as it comes.

    name: of the segment, for messages. verify: whether a signature over bytes is the rank's.
    """

    def __init__(self, name: str, header: bytes, verify: Callable[[bytes, bytes], bool]) -> None:
        """Raises TamperError for a header that is none."""
        try:
            self.header = SegmentHeader.parse(header)
        except ValueError as error:
            raise TamperError(f"{name}: item 0: {error}") from None
        self._name = name
        self._verify = verify
        self._previous = sha256(header)
        self._batches = 0
        self._end = 0
        self._item = 0
        self._records: list[TaskRecord] = []
        self._data: list[bytes] = []

    @property
    def open(self) -> int:
        """Records after the last root."""
        return len(self._records)

    def take(self, data: bytes) -> Batch | None:
        """Take the next item; return the batch that it ends. Raises TamperError."""
        self._item += 1
        try:
            if data[:3] == RECORD_FRONT:
                self._records.append(TaskRecord.parse(data))
                self._data.append(data)
                return None
            root = BatchRoot.parse(data)
        except CanonicalError as error:
            raise self._wrong(f"cannot be read: {error}") from None
        except ValueError as error:
            raise self._wrong(str(error)) from None
        self._check(root)
        batch = Batch(tuple(self._records), tuple(self._data), root)
        self._records, self._data = [], []
        self._previous, self._end = sha256(data), root.end
        self._batches += 1
        return batch

    def _check(self, root: BatchRoot) -> None:
        if root.previous != self._previous or root.number != self._batches:
            raise self._wrong("the root is not linked to the one before: batches are missing")
        if root.count != len(self._records) or root.root != root_of(map(leaf_hash, self._data)):
            raise self._wrong("the root is not that of the records before it")
        if root.first < self._end:
            raise self._wrong("the batch covers commits that the one before covers")
        for record in self._records:
            if not root.first <= record.commit < root.end:
                raise self._wrong(f"a record of commit {record.commit} is out of its batch")
        if not self._verify(root.signed_bytes(self.header), root.signature):
            raise self._wrong(f"the signature of rank {self.header.rank} is not valid")

    def _wrong(self, text: str) -> TamperError:
        return TamperError(f"{self._name}: item {self._item}: {text}")


def verify_items(
    name: str, items: Iterable[bytes], verify: Callable[[bytes, bytes], bool]
) -> tuple[SegmentHeader, list[Batch]]:
    """Return header and batches of a whole segment in memory. Raises TamperError."""
    rest = iter(items)
    reader = SegmentReader(name, next(rest, b""), verify)
    batches = [batch for item in rest if (batch := reader.take(item)) is not None]
    if reader.open:
        raise TamperError(f"{name}: {reader.open} records at the end have no root")
    return reader.header, batches
