"""Certificates, keys and revocation lists in files: PEM, private keys readable by their owner only.

A directory of keys holds `ca.pem` (trusted roots, one or several), `crl.pem` where something was
revoked, and per rank `rank-3.pem` with `rank-3.key`, or per host `host-NAME.pem` and `.key`.
Intermediate certificates may follow the first in a file. Only the directory of `morsr pki init`
also has the CA's own `ca.key`, which no rank needs.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from morsr_mpi.adapters.x509_verify import PrivateKey, TrustRoot, X509Identity
from morsr_mpi.base.config import MAX_PEM_BYTES
from morsr_mpi.base.errors import AuthenticationError, InputError, UsageError

CA = "ca.pem"
CA_KEY = "ca.key"
CRL = "crl.pem"


def rank_stem(rank: int) -> str:
    """Name without ending of a rank's files."""
    return f"rank-{rank}"


def host_stem(host: str) -> str:
    """Name without ending of a host's files."""
    return f"host-{host.lower()}"


def check_directory(path: Path) -> None:
    """Raise InputError unless others can neither write here nor take files away."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"no directory of keys {path} ({error.strerror})") from None
    if not stat.S_ISDIR(mode):
        raise InputError(f"{path} is not a directory of keys")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(f"others can write to {path}: chmod go-w {path}")


def read_pem(path: Path, *, private: bool = False) -> bytes:
    """Return a file's bytes. private: refuse one that others can read or that is not ours.

    Raises InputError saying what is wrong and what to do.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror})") from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if private and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InputError(f"others can use the private key {path}: chmod 600 {path}")
        if private and found.st_uid != os.geteuid():
            raise InputError(f"the private key {path} belongs to another user")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise InputError(f"others can write to {path}: chmod go-w {path}")
        if found.st_size > MAX_PEM_BYTES:
            raise InputError(f"{path} is too large for a certificate or key")
        return file.read(MAX_PEM_BYTES + 1)


def write_file(path: Path, data: bytes, *, private: bool, replace: bool = False) -> None:
    """Write a file in one piece: 0600 when private, else 0644; never over an existing one
    unless `replace`. Raises UsageError."""
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if not replace and path.exists():
            raise UsageError(f"{path} exists; it is not overwritten")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(waiting, flags, 0o600 if private else 0o644)
        try:
            os.fchmod(descriptor, 0o600 if private else 0o644)
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(waiting, path)
    except OSError as error:
        waiting.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path} ({error.strerror})") from None


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, in order. Raises InputError."""
    try:
        return x509.load_pem_x509_certificates(read_pem(path))
    except ValueError as error:
        raise InputError(f"{path} holds no certificates in PEM form ({error})") from None


def load_key(path: Path) -> PrivateKey:
    """Return a private key. Raises InputError for unsafe permissions and other kinds of key."""
    try:
        key = load_pem_private_key(read_pem(path, private=True), password=None)
    except TypeError:
        raise InputError(
            f"{path} is encrypted: a batch job can ask nobody for a password"
        ) from None
    except ValueError as error:
        raise InputError(f"{path} holds no private key in PEM form ({error})") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise InputError(f"{path} holds a key of the wrong type: use ECDSA or RSA")
    return key


def load_crl(path: Path) -> x509.CertificateRevocationList:
    """Return the revocation list of a file. Raises InputError."""
    try:
        return x509.load_pem_x509_crl(read_pem(path))
    except ValueError as error:
        raise InputError(f"{path} holds no revocation list in PEM form ({error})") from None


def key_pem(key: PrivateKey) -> bytes:
    """PKCS #8, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def chain_pem(chain: list[x509.Certificate]) -> bytes:
    """Certificates in order."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)


def crl_pem(crl: x509.CertificateRevocationList) -> bytes:
    """A revocation list."""
    return crl.public_bytes(Encoding.PEM)


def load_trust(directory: Path) -> TrustRoot:
    """Return the roots and revocation lists of a directory. Raises InputError."""
    crl = directory / CRL
    try:
        lists = [load_crl(crl)] if crl.exists() else []
        return TrustRoot(load_certificates(directory / CA), lists)
    except AuthenticationError as error:
        raise InputError(f"{directory}: {error}") from None


def load_identity(directory: Path, rank: int, host: str) -> X509Identity:
    """Return this rank's identity: its own files, else those of its host.

    Raises InputError for missing, unsafe or mismatched files.
    """
    check_directory(directory)
    stems = [rank_stem(rank), host_stem(host), host_stem(host.split(".")[0])]
    for stem in stems:
        if (directory / f"{stem}.pem").exists():
            chain = load_certificates(directory / f"{stem}.pem")
            key = load_key(directory / f"{stem}.key")
            try:
                return X509Identity(chain, key, load_trust(directory))
            except AuthenticationError as error:
                raise InputError(f"{directory / stem}.pem: {error}") from None
    raise InputError(
        f"{directory} has no certificate for rank {rank} on host {host}: looked for "
        f"{stems[0]}.pem and {stems[1]}.pem; `morsr pki issue` makes them"
    )
