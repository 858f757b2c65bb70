"""`morsr pki`: a certificate authority in a directory, certificates for ranks or hosts from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from morsr_mpi.adapters import envelope_files, key_files
from morsr_mpi.adapters.x509_authority import Authority, describe, new_key
from morsr_mpi.base.config import MAX_RANKS
from morsr_mpi.base.errors import AuthenticationError, InputError, UsageError
from morsr_mpi.security.identity import Names, check_name

MAX_CA_DAYS = 3650.0
MAX_LEAF_HOURS = 24.0 * 366


@dataclass(frozen=True)
class Issued:
    """One certificate that was made: its file and what it says."""

    path: Path
    line: str


def init(directory: Path, name: str, days: float) -> Path:
    """Make a new CA in a directory, which is made too; return its certificate's path.

    Raises UsageError when there is one already.
    """
    if not 0.0 < days <= MAX_CA_DAYS:
        raise UsageError(f"a CA is valid for up to {MAX_CA_DAYS:.0f} days, not {days:g}")
    check_name("CA", name)
    _make_directory(directory)
    authority = Authority.create(name, time.time(), days)
    key_files.write_file(
        directory / key_files.CA_KEY, key_files.key_pem(authority.key), private=True
    )
    path = directory / key_files.CA
    key_files.write_file(path, key_files.chain_pem([authority.certificate]), private=False)
    return path


def issue(
    directory: Path,
    out: Path,
    ranks: Sequence[int],
    hosts: Sequence[str],
    run: str | None,
    hours: float,
) -> list[Issued]:
    """Make a certificate and key for each rank and each host; trust and revocations go along.

    directory: of the CA; out: where a run's --keys points. Raises UsageError, InputError.
    """
    if not ranks and not hosts:
        raise UsageError("say for whom: --ranks 0-7, or --host NAME once or more")
    if not 0.0 < hours <= MAX_LEAF_HOURS:
        raise UsageError(f"a certificate is valid for up to {MAX_LEAF_HOURS:.0f} h, not {hours:g}")
    if any(not 0 <= rank < MAX_RANKS for rank in ranks):
        raise UsageError(f"ranks are numbered from 0 to {MAX_RANKS - 1}")
    runs = frozenset([check_name("run", run)] if run else [])
    authority = _authority(directory)
    _make_directory(out)
    wanted = [(key_files.rank_stem(r), Names(ranks=frozenset([r]), runs=runs)) for r in ranks]
    for host in hosts:
        names = Names(hosts=frozenset([check_name("host", host).lower()]), runs=runs)
        wanted.append((key_files.host_stem(host), names))
    _share(directory, out)
    issued, now = [], time.time()
    for stem, names in wanted:
        key = new_key()
        try:
            certificate = authority.issue(names, key.public_key(), now, hours)
        except AuthenticationError as error:
            raise InputError(str(error)) from None
        path = out / f"{stem}.pem"
        # Short-lived: a new one takes the place of the old one.
        pem = key_files.key_pem(key)
        key_files.write_file(out / f"{stem}.key", pem, private=True, replace=True)
        chain = key_files.chain_pem([certificate])
        key_files.write_file(path, chain, private=False, replace=True)
        issued.append(Issued(path, describe(certificate, now)))
    return issued


def envelope(directory: Path, suites: Sequence[str]) -> list[Path]:
    """Make keys for envelopes in a directory, which is made too; return the files.

    Raises UsageError when there are some already.
    """
    _make_directory(directory)
    return [path for suite in suites for path in envelope_files.make_keys(directory, suite)]


def revoke(directory: Path, what: Sequence[str], out: Sequence[Path]) -> tuple[Path, int]:
    """Add certificates to the CA's revocation list, or renew it; returns its path and length.

    what: certificate files or serial numbers in hexadecimal; out: directories of keys that get
    a copy. Raises UsageError, InputError.
    """
    authority = _authority(directory)
    path = directory / key_files.CRL
    previous = key_files.load_crl(path) if path.exists() else None
    serials = [_serial(item, authority) for item in what]
    crl = authority.revocation_list(serials, time.time(), previous)
    data = key_files.crl_pem(crl)
    key_files.write_file(path, data, private=False, replace=True)
    for other in out:
        key_files.check_directory(other)
        key_files.write_file(other / key_files.CRL, data, private=False, replace=True)
    return path, len(crl)


def show(path: Path) -> list[str]:
    """Say what a certificate, a revocation list or a directory of keys holds, in lines."""
    now = time.time()
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in (".pem", ".key", ".pub"))
        if not files:
            raise InputError(f"{path} holds no certificates")
        return [f"{file.name}: {line}" for file in files for line in _show_file(file, now)]
    return _show_file(path, now)


def _show_file(path: Path, now: float) -> list[str]:
    data = key_files.read_pem(path, private=path.suffix == ".key")
    if data.startswith(envelope_files.KEY_TAG.encode()):
        return [envelope_files.describe_key(data)]
    if b"PRIVATE KEY" in data:
        key = key_files.load_key(path)
        return [f"private key, {type(key).__name__.strip('_')}"]  # and nothing of its content
    if b"X509 CRL" in data:
        crl = key_files.load_crl(path)
        until = crl.next_update_utc
        end = f"{until:%Y-%m-%d %H:%M} UTC" if until else "no date"
        revoked = ", ".join(f"{entry.serial_number:x}" for entry in crl) or "none"
        return [f"revocation list until {end}; revoked: {revoked}"]
    found = key_files.load_certificates(path)
    try:
        return [describe(certificate, now) for certificate in found]
    except AuthenticationError as error:
        raise InputError(f"{path}: {error}") from None


def _serial(item: str, authority: Authority) -> int:
    path = Path(item)
    if path.exists():
        certificate = key_files.load_certificates(path)[0]
        if certificate.issuer != authority.certificate.subject:
            raise InputError(f"{path} was not issued by this CA")
        return certificate.serial_number
    try:
        return int(item, 16)
    except ValueError:
        raise UsageError(f"{item} is neither a certificate file nor a serial number") from None


def _authority(directory: Path) -> Authority:
    key_files.check_directory(directory)
    key = key_files.load_key(directory / key_files.CA_KEY)
    certificate = key_files.load_certificates(directory / key_files.CA)[0]
    try:
        return Authority.of(certificate, key)
    except AuthenticationError as error:
        raise InputError(f"{directory}: {error}") from None


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(f"cannot make {path} ({error.strerror})") from None
    key_files.check_directory(path)


def _share(directory: Path, out: Path) -> None:
    """Give a directory of keys the roots and revocations of the CA."""
    for name in (key_files.CA, key_files.CRL):
        if (directory / name).exists() and directory.resolve() != out.resolve():
            data = key_files.read_pem(directory / name)
            key_files.write_file(out / name, data, private=False, replace=True)
