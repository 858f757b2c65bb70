"""What proved who the ranks of a start of a run are, kept for audits (docs/formats/identity.md)."""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.errors import AuthenticationError
from morsr_mpi.security.identity import Claim, Credential

_TAG = "morsr-admission"
ADMISSION_VERSION = 1


@dataclass(frozen=True)
class AdmissionRecord:
    """run: what certificates call the run; context: of all claims; time: when the credentials were
    judged, seconds since 1970; shown: (rank, host, key of the run, credential) of each rank."""

    run: str
    context: bytes
    time: float
    shown: tuple[tuple[object, ...], ...]

    def encode(self) -> bytes:
        """Canonical bytes."""
        return encode((_TAG, ADMISSION_VERSION, self.run, self.context, self.time, self.shown))

    @classmethod
    def decode(cls, data: bytes) -> AdmissionRecord:
        """Raises AuthenticationError for anything encode did not write."""
        try:
            fields = decode(data)
        except CanonicalError as error:
            raise AuthenticationError(f"malformed admission: {error}") from None
        match fields:
            case (str(tag), int(version), str(run), bytes(context), float(time), tuple(shown)) if (
                tag,
                version,
            ) == (_TAG, ADMISSION_VERSION) and all(type(entry) is tuple for entry in shown):
                entries = tuple(entry for entry in shown if isinstance(entry, tuple))
                return cls(run, context, time, entries)
        raise AuthenticationError("it is no record of an admission of this version")

    def claims(self) -> list[tuple[Claim, bytes]]:
        """Return each rank's claim and credential. Raises AuthenticationError."""
        found = []
        for entry in self.shown:
            match entry:
                case (int(rank), str(host), bytes(key), bytes(credential)):
                    Credential.from_bytes(credential)
                    found.append((Claim(self.run, rank, host, key, self.context), credential))
                case _:
                    raise AuthenticationError("malformed admission of a rank")
        return found
