"""Bodies of the journal's records: genesis, epoch, regroup, pulse, certificate, stop, seal;
`step` and `scaling` have files of their own.

Each kind is a dataclass with `body()` and `from_body()`; `parse` finds the right one. All
fields are described in docs/formats/journal.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import DIGEST_BYTES, sha256, short
from morsr_mpi.base.errors import TamperError
from morsr_mpi.provenance.records import Record
from morsr_mpi.provenance.scaling import Scaling
from morsr_mpi.provenance.steps import Step


@dataclass(frozen=True)
class Genesis:
    """First record of a run: what is solved, by what software, by whom.

    settings: canonical bytes of what all ranks agreed on besides; public_keys: one per rank,
    empty where nothing is signed.
    """

    KIND: ClassVar[str] = "genesis"
    software: str
    algorithm: int
    problem: bytes
    options: bytes
    security: str
    settings: bytes
    public_keys: tuple[bytes, ...]

    def body(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (
            self.software,
            self.algorithm,
            self.problem,
            self.options,
            self.security,
            self.settings,
            self.public_keys,
        )

    @classmethod
    def from_body(cls, body: tuple[object, ...]) -> Genesis | None:
        """Return the body, None for fields that do not fit."""
        match body:
            case (
                str(software),
                int(algorithm),
                bytes(problem),
                bytes(options),
                str(security),
                bytes(settings),
                tuple(keys),
            ) if all(type(key) is bytes for key in keys):
                return cls(
                    software, algorithm, problem, options, security, settings, _byte_strings(keys)
                )
        return None


@dataclass(frozen=True)
class Epoch:
    """A job that goes on with an earlier job's run: fresh keys, the state it starts from."""

    KIND: ClassVar[str] = "epoch"
    software: str
    security: str
    settings: bytes
    public_keys: tuple[bytes, ...]
    committed: int
    state: bytes

    def body(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (
            self.software,
            self.security,
            self.settings,
            self.public_keys,
            self.committed,
            self.state,
        )

    @classmethod
    def from_body(cls, body: tuple[object, ...]) -> Epoch | None:
        """Return the body, None for fields that do not fit."""
        match body:
            case (
                str(software),
                str(security),
                bytes(settings),
                tuple(keys),
                int(committed),
                bytes(state),
            ) if all(type(key) is bytes for key in keys):
                return cls(software, security, settings, _byte_strings(keys), int(committed), state)
        return None


@dataclass(frozen=True)
class Pulse:
    """One committed pulse.

    tasks: SHA-256 over the concatenated task ids in canonical order; results: SHA-256 of each
    result, concatenated in the same order; contributors: rank of each, two bytes, big-endian;
    state: digest of S after the commit.
    """

    KIND: ClassVar[str] = "pulse"
    view: int
    pulse: int
    tasks: bytes
    results: bytes
    contributors: bytes
    state: bytes

    def body(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.view, self.pulse, self.tasks, self.results, self.contributors, self.state)

    @property
    def outcome(self) -> tuple[object, ...]:
        """What does not depend on who computed: equal for any number of ranks."""
        return (self.pulse, self.tasks, self.results, self.state)

    @classmethod
    def from_body(cls, body: tuple[object, ...]) -> Pulse | None:
        """Return the body, None for fields that do not fit."""
        match body:
            case (
                int(view),
                int(pulse),
                bytes(tasks),
                bytes(results),
                bytes(contributors),
                bytes(state),
            ) if len(results) * 2 == len(contributors) * DIGEST_BYTES:
                return cls(int(view), int(pulse), tasks, results, contributors, state)
        return None


@dataclass(frozen=True)
class Regroup:
    """The ranks that are left of a job go on in a new group; an `epoch` record follows.

    epoch: number of the group, growing within a job; ranks: its members by their numbers in
    the job, in the order of the keys that follow, two bytes each, big-endian; gone: ranks that
    left for good, and why; absent: ranks that do not answer for now, as ranks.
    """

    KIND: ClassVar[str] = "regroup"
    epoch: int
    ranks: bytes
    gone: tuple[tuple[int, str], ...]
    absent: bytes

    def body(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.epoch, self.ranks, self.gone, self.absent)

    @classmethod
    def from_body(cls, body: tuple[object, ...]) -> Regroup | None:
        """Return the body, None for fields that do not fit."""
        match body:
            case (int(epoch), bytes(ranks), tuple(gone), bytes(absent)) if not (
                len(ranks) % 2 or len(absent) % 2
            ):
                left = []
                for entry in gone:
                    match entry:
                        case (int(rank), str(why)):
                            left.append((int(rank), why))
                        case _:
                            return None
                return cls(int(epoch), ranks, tuple(left), absent)
        return None


@dataclass(frozen=True)
class Rollback:
    """Ranks were convicted of wrong results: pulses from a number on are committed anew.

    committed: pulses in the state that the run goes back to; ranks: as far as the writer knows
    them, by their numbers in the job, two bytes each, big-endian. A `regroup` record follows.
    """

    KIND: ClassVar[str] = "rollback"
    committed: int
    ranks: bytes

    def body(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.committed, self.ranks)

    @classmethod
    def from_body(cls, body: tuple[object, ...]) -> Rollback | None:
        """Return the body, None for fields that do not fit."""
        match body:
            case (int(committed), bytes(ranks)) if not len(ranks) % 2:
                return cls(int(committed), ranks)
        return None


@dataclass(frozen=True)
class Certified:
    """A quorum's certificate for all pulses since the last one; bytes of `consensus`."""

    KIND: ClassVar[str] = "certificate"
    certificate: bytes

    def body(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.certificate,)

    @classmethod
    def from_body(cls, body: tuple[object, ...]) -> Certified | None:
        """Return the body, None for fields that do not fit."""
        match body:
            case (bytes(certificate),):
                return cls(certificate)
        return None


@dataclass(frozen=True)
class Stop:
    """An agreed stop: pulses committed, digest of S with what was planned, the reason."""

    KIND: ClassVar[str] = "stop"
    committed: int
    state: bytes
    reason: str

    def body(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.committed, self.state, self.reason)

    @classmethod
    def from_body(cls, body: tuple[object, ...]) -> Stop | None:
        """Return the body, None for fields that do not fit."""
        match body:
            case (int(committed), bytes(state), str(reason)):
                return cls(int(committed), state, reason)
        return None


@dataclass(frozen=True)
class Seal:
    """Last record of a finished run: what the run directory holds.

    state: digest of S as of the last commit, or as the last epoch started;
    files: (path below the run directory, bytes, SHA-256), sorted by path; signatures:
    (rank, signature of `signed_bytes`).
    """

    KIND: ClassVar[str] = "seal"
    committed: int
    state: bytes
    files: tuple[tuple[str, int, bytes], ...]
    signatures: tuple[tuple[int, bytes], ...] = ()

    def body(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.committed, self.state, self.files, self.signatures)

    def signed_bytes(self, previous: bytes) -> bytes:
        """What a rank signs: everything but the signatures, and the journal before it."""
        head = (self.committed, self.state, self.files)
        return b"morsr-seal" + previous + sha256(encode(head))

    @classmethod
    def from_body(cls, body: tuple[object, ...]) -> Seal | None:
        """Return the body, None for fields that do not fit."""
        match body:
            case (int(committed), bytes(state), tuple(files), tuple(signatures)):
                entries = []
                for entry in files:
                    match entry:
                        case (str(path), int(size), bytes(digest)):
                            entries.append((path, int(size), digest))
                        case _:
                            return None
                signed = []
                for entry in signatures:
                    match entry:
                        case (int(rank), bytes(signature)):
                            signed.append((int(rank), signature))
                        case _:
                            return None
                return cls(int(committed), state, tuple(entries), tuple(signed))
        return None


Body = Genesis | Epoch | Regroup | Rollback | Pulse | Step | Certified | Stop | Scaling | Seal
_ALL = (Genesis, Epoch, Regroup, Rollback, Pulse, Step, Certified, Stop, Scaling, Seal)
_KINDS: dict[str, type[Body]] = {kind.KIND: kind for kind in _ALL}


def parse(record: Record) -> Body:
    """Return the body of a record. Raises TamperError for an unknown kind or wrong fields."""
    kind = _KINDS.get(record.kind)
    if kind is None:
        raise TamperError(
            f"journal record {record.index} is of the unknown kind {record.kind!r}: "
            "written by a newer version?"
        )
    body = kind.from_body(record.body)
    if body is None:
        raise TamperError(f"journal record {record.index} ({record.kind}) has malformed fields")
    return body


def fingerprint(genesis_digest: bytes) -> str:
    """Return the short form of a genesis record's digest: names a run to people."""
    return short(genesis_digest)


def _byte_strings(values: tuple[object, ...]) -> tuple[bytes, ...]:
    """The values as bytes, for the type checker; callers have looked already."""
    return tuple(value for value in values if isinstance(value, bytes))
