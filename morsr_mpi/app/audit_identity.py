"""`audit --trust CA`: were the keys of a run proven by certificates of a CA that is trusted?

The run directory keeps what its ranks showed each other at every start. A certificate had to be
valid when it was shown, by the time the run names; one revoked since is refused.
"""

from __future__ import annotations

from pathlib import Path

from morsr_mpi.adapters.key_files import CA, load_certificates, load_trust
from morsr_mpi.adapters.x509_verify import TrustRoot, judge
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import AuthenticationError, InputError, TamperError, UsageError
from morsr_mpi.security.admissions import AdmissionRecord

_PEM = b"-----BEGIN CERTIFICATE-----"


def is_ca(path: Path) -> bool:
    """Whether a trust root is a directory of a CA, or certificates in a file."""
    if path.is_dir():
        return (path / CA).is_file()
    try:
        with path.open("rb") as file:
            return _PEM in file.read(4096)
    except OSError:
        return False


def check_ca(run: RunDirectory, starts: list[tuple[bytes, ...]], path: Path) -> str:
    """Check that every key of every start was proven under a CA; return a line that says so.

    starts: public keys by rank. Raises TamperError naming the first key that was not, UsageError
    for a CA that cannot be read.
    """
    try:
        trust = load_trust(path) if path.is_dir() else TrustRoot(load_certificates(path))
    except (InputError, AuthenticationError) as exc:
        raise UsageError(f"--trust {path}: {exc}") from None
    proven: set[bytes] = set()
    reasons: dict[bytes, str] = {}
    for file in sorted(run.keys.glob("*.admission")):
        try:
            record = AdmissionRecord.decode(file.read_bytes())
            for claim, credential in record.claims():
                try:
                    judge(trust, claim, credential, record.time)
                    proven.add(claim.key)
                except AuthenticationError as error:
                    reasons[claim.key] = str(error)
        except (AuthenticationError, OSError) as error:
            raise TamperError(f"{file}: {error}") from None
    for start, keys in enumerate(starts):
        for rank, key in enumerate(keys):
            if key not in proven or not key:
                why = reasons.get(key, "no certificate was shown for it")
                raise TamperError(
                    f"the key of rank {rank} at start {start} of the run is not proven by {path}: "
                    f"{why}"
                )
    return f"trust: every key of the run was proven by a certificate of {path}"
