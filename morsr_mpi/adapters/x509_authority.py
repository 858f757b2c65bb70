"""A small certificate authority: root, short-lived leaves, revocation list (`morsr pki`).

ECDSA P-256 throughout: the verifier of the `cryptography` package takes no Ed25519 certificates.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from morsr_mpi.adapters.x509_verify import PrivateKey, moment, names_of
from morsr_mpi.base.config import CLOCK_SKEW_SECONDS
from morsr_mpi.base.errors import AuthenticationError
from morsr_mpi.security.identity import Names

_DAY = 86400.0
#: How long a revocation list is good for when none is said.
CRL_DAYS = 30.0


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


class Authority:
    """A CA: its certificate and key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        """Raises AuthenticationError when the two do not belong together."""
        if certificate.public_key() != key.public_key():
            raise AuthenticationError("the CA's key and certificate do not belong together")
        self.certificate = certificate
        self.key = key

    @classmethod
    def of(cls, certificate: x509.Certificate, key: PrivateKey) -> Authority:
        """Return the CA of a certificate and key. Raises AuthenticationError for other keys."""
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise AuthenticationError("the CA's key is not ECDSA: sign with that CA's own tools")
        return cls(certificate, key)

    @classmethod
    def create(cls, name: str, now: float, days: float) -> Authority:
        """Make a self-signed root that may issue leaves only."""
        key = new_key()
        subject = _name(name)
        builder = _builder(subject, subject, key.public_key(), now, now + days * _DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(_usage(ca=True), True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    def issue(
        self,
        names: Names,
        key: ec.EllipticCurvePublicKey,
        now: float,
        hours: float,
        not_before: float | None = None,
    ) -> x509.Certificate:
        """Return a certificate for a key; it never outlives the CA.

        names: what the holder may be; not_before: seconds since 1970, `now` if None. Raises
        AuthenticationError when the CA has expired.
        """
        begin = now if not_before is None else not_before
        end = self.certificate.not_valid_after_utc.timestamp()
        if begin >= end:
            raise AuthenticationError("the CA's own certificate has expired: make a new one")
        title = " ".join(uri.removeprefix("urn:morsr:") for uri in names.uris())[:64]
        builder = _builder(
            _name(title), self.certificate.subject, key, begin, min(begin + hours * 3600.0, end)
        )
        uris = [x509.UniformResourceIdentifier(uri) for uri in names.uris()]
        builder = builder.add_extension(x509.SubjectAlternativeName(uris), False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_usage(ca=False), True)
        both = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), False)
        mine = x509.SubjectKeyIdentifier.from_public_key(key)
        builder = builder.add_extension(mine, False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(issuer, False)
        return builder.sign(self.key, hashes.SHA256())

    def revocation_list(
        self,
        serials: Iterable[int],
        now: float,
        previous: x509.CertificateRevocationList | None = None,
        days: float = CRL_DAYS,
    ) -> x509.CertificateRevocationList:
        """Return a signed list of the previous entries and these serial numbers, number one up."""
        number, entries = 1, {}
        if previous is not None:
            number = (
                1 + previous.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            )
            entries = {entry.serial_number: entry.revocation_date_utc for entry in previous}
        for serial in serials:
            entries.setdefault(serial, moment(now))
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(moment(now))
            .next_update(moment(now + days * _DAY))
            .add_extension(x509.CRLNumber(number), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
        )
        for serial, when in sorted(entries.items()):
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
            builder = builder.add_revoked_certificate(revoked.build())
        return builder.sign(self.key, hashes.SHA256())


def run_certificate(
    rank: int, now: float, hours: float = 24.0 * 30
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return a rank's self-signed certificate for one run, where no CA is given.

    It is its own root: whoever has it knows that later bytes are of the same rank, and nothing
    about who that rank is.
    """
    key = new_key()
    subject = _name(f"rank {rank} of one run")
    begin = now - CLOCK_SKEW_SECONDS
    builder = _builder(subject, subject, key.public_key(), begin, now + hours * 3600.0)
    uris = [x509.UniformResourceIdentifier(u) for u in Names(ranks=frozenset([rank])).uris()]
    builder = builder.add_extension(x509.SubjectAlternativeName(uris), False)
    return builder.sign(key, hashes.SHA256()), key


def describe(certificate: x509.Certificate, now: float) -> str:
    """Return one line for people: what it is for, until when, serial number."""
    names = ", ".join(uri.removeprefix("urn:morsr:") for uri in names_of(certificate).uris())
    if _is_ca(certificate):
        names = "CA " + certificate.subject.rfc4514_string()
    end = certificate.not_valid_after_utc
    left = end - moment(now)
    state = "expired" if left < datetime.timedelta(0) else "valid"
    return f"{names or 'no name of ours'}; {state} until {end:%Y-%m-%d %H:%M} UTC; serial " + (
        f"{certificate.serial_number:x}"
    )


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return bool(found.value.ca)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common or "morsr")])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begin: float,
    end: float,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(begin))
        .not_valid_after(moment(end))
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
