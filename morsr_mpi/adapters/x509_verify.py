"""X.509 identities: chain, validity, revocation, key kinds, names (paper section 10.1).

The chain is verified by the `cryptography` package's verifier (RFC 5280 profile of the web PKI,
without its rules for web servers), revocation lists by us, since it has no check of them.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.verification import (
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from morsr_mpi.adapters.tls_session import TlsFiles
from morsr_mpi.base.config import CLOCK_SKEW_SECONDS, MAX_CHAIN
from morsr_mpi.base.errors import AuthenticationError
from morsr_mpi.security.identity import Claim, Credential, Names

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
MIN_RSA_BITS = 2048


def moment(now: float) -> datetime.datetime:
    """Seconds since 1970 as an aware datetime."""
    return datetime.datetime.fromtimestamp(now, datetime.UTC)


def names_of(certificate: x509.Certificate) -> Names:
    """The names of ours in a certificate. Raises AuthenticationError when malformed."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = found.get_values_for_type(x509.UniformResourceIdentifier)
        return Names.read(uris, found.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        return Names()
    except ValueError as error:
        raise AuthenticationError(f"certificate with malformed extensions ({error})") from None


def check_key_kind(certificate: x509.Certificate) -> None:
    """Raise AuthenticationError for keys that are weak or of a kind that is not verified."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise AuthenticationError("certificate with an unknown kind of key") from None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size >= MIN_RSA_BITS:
            return
        raise AuthenticationError(f"certificate with an RSA key of {key.key_size} bits only")
    raise AuthenticationError(
        f"certificate with a key of the wrong type ({type(key).__name__.strip('_')}): use ECDSA "
        "P-256, P-384, P-521, or RSA"
    )


def sign(key: PrivateKey, data: bytes) -> bytes:
    """Sign with a certificate's key: ECDSA or RSA-PSS, SHA-256."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, _pss(), hashes.SHA256())
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def check_signature(certificate: x509.Certificate, data: bytes, signature: bytes) -> None:
    """Raise AuthenticationError unless the certificate's key signed the data."""
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, _pss(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        else:
            raise AuthenticationError("certificate with a key of the wrong type")
    except InvalidSignature:
        raise AuthenticationError(
            "not signed by the key of its certificate (or for another run, rank or key)"
        ) from None


def check_validity(chain: Sequence[x509.Certificate], now: float) -> None:
    """Raise AuthenticationError for a certificate that is not valid now, clock skew allowed."""
    for certificate in chain:
        begin = certificate.not_valid_before_utc
        end = certificate.not_valid_after_utc
        if moment(now) > end:
            raise AuthenticationError(f"certificate expired on {end:%Y-%m-%d %H:%M} UTC")
        if moment(now + CLOCK_SKEW_SECONDS) < begin:
            raise AuthenticationError(f"certificate not valid before {begin:%Y-%m-%d %H:%M} UTC")


class TrustRoot:
    """The certificates that are trusted, and the revocation lists of their issuers."""

    def __init__(
        self,
        roots: Sequence[x509.Certificate],
        lists: Sequence[x509.CertificateRevocationList] = (),
    ) -> None:
        """Raises AuthenticationError without a root, or for a list no root has issued."""
        if not roots:
            raise AuthenticationError("no trusted certificate given")
        self.roots = tuple(roots)
        self._store = Store(list(roots))
        self.lists = tuple(lists)
        for crl in self.lists:
            self._issuer(crl)

    def verify(self, chain: Sequence[x509.Certificate], now: float) -> None:
        """Raise AuthenticationError with the reason unless the chain leads to a root.

        chain: leaf first; now: seconds since 1970.
        """
        if not 0 < len(chain) <= MAX_CHAIN:
            raise AuthenticationError(f"chain of {len(chain)} certificates")
        for certificate in chain:
            check_key_kind(certificate)
        check_validity(chain, now)
        # The verifier knows no clock skew: what was admitted above counts as valid by now.
        when = max(moment(now), *(c.not_valid_before_utc for c in chain))
        builder = PolicyBuilder().store(self._store).time(when).max_chain_depth(MAX_CHAIN)
        builder = builder.extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        )
        try:
            built = builder.build_client_verifier().verify(chain[0], list(chain[1:])).chain
        except VerificationError as error:
            if chain[0].issuer == chain[0].subject and chain[0] not in self.roots:
                raise AuthenticationError("self-signed certificate") from None
            reason = " ".join(str(error).split())
            raise AuthenticationError(
                f"certificate not issued by a trusted CA ({reason})"
            ) from None
        self._check_revoked(built, now)

    def _issuer(self, crl: x509.CertificateRevocationList) -> x509.Certificate:
        for root in self.roots:
            key = root.public_key()
            if root.subject == crl.issuer and isinstance(
                key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey
            ):
                if crl.is_signature_valid(key):
                    return root
                raise AuthenticationError("revocation list with a wrong signature")
        raise AuthenticationError("revocation list of an issuer that is not trusted")

    def _check_revoked(self, chain: Sequence[x509.Certificate], now: float) -> None:
        """Every certificate but the root is looked up in the lists of its issuer."""
        for certificate in chain[:-1]:
            for crl in self.lists:
                if crl.issuer != certificate.issuer:
                    continue
                until = crl.next_update_utc
                if until is not None and moment(now) > until:
                    raise AuthenticationError(
                        f"revocation list out of date since {until:%Y-%m-%d %H:%M} UTC: renew it "
                        "with `morsr pki revoke --renew`"
                    )
                entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
                if entry is not None:
                    when = entry.revocation_date_utc
                    raise AuthenticationError(f"certificate revoked on {when:%Y-%m-%d %H:%M} UTC")


class SelfTrust:
    """Trust in one certificate alone: what a run without a CA has of each rank."""

    lists: tuple[x509.CertificateRevocationList, ...] = ()

    def __init__(self, certificate: x509.Certificate) -> None:
        self.roots = (certificate,)

    def verify(self, chain: Sequence[x509.Certificate], now: float) -> None:
        """Raise AuthenticationError unless the chain is that certificate, signed by itself."""
        certificate = self.roots[0]
        if list(chain) != [certificate]:
            raise AuthenticationError("chain of other certificates than its own")
        check_key_kind(certificate)
        check_validity(chain, now)
        try:
            certificate.verify_directly_issued_by(certificate)
        except (ValueError, TypeError, InvalidSignature):
            raise AuthenticationError("certificate that is not signed by itself") from None


class X509Identity:
    """One rank's certificate with its key, and the roots by which it judges others."""

    def __init__(
        self, chain: Sequence[x509.Certificate], key: PrivateKey, trust: TrustRoot | SelfTrust
    ) -> None:
        """chain: leaf first. Raises AuthenticationError when key and leaf do not match."""
        if not chain or chain[0].public_key() != key.public_key():
            raise AuthenticationError("private key and certificate do not belong together")
        self.chain = tuple(chain)
        self.key = key
        self.trust = trust

    @classmethod
    def alone(cls, certificate: x509.Certificate, key: PrivateKey) -> X509Identity:
        """Return the identity of a certificate that is its own root."""
        return cls([certificate], key, SelfTrust(certificate))

    @classmethod
    def trusting(cls, shown: Credential, own: X509Identity) -> X509Identity:
        """Return ours, trusting just the certificate that a peer has shown."""
        return cls(own.chain, own.key, SelfTrust(load_chain(shown.chain)[0]))

    def tls_files(self, leaves: Sequence[bytes] | None) -> TlsFiles:
        """Return what TLS needs. leaves: DER certificates to trust instead of the roots."""
        roots = self.trust.roots if leaves is None else load_chain(leaves)
        return TlsFiles(
            chain=b"".join(c.public_bytes(Encoding.PEM) for c in self.chain),
            key=self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            roots=b"".join(c.public_bytes(Encoding.PEM) for c in roots),
            lists=b"".join(c.public_bytes(Encoding.PEM) for c in self.trust.lists),
        )

    def credential(self, claim: Claim) -> bytes:
        """Canonical bytes of the credential for a claim of ours."""
        der = tuple(c.public_bytes(Encoding.DER) for c in self.chain)
        return Credential(der, claim.host, sign(self.key, claim.signed_bytes())).to_bytes()

    def judge(self, claim: Claim, credential: bytes, now: float) -> None:
        """Raise AuthenticationError with the reason unless the credential proves the claim."""
        judge(self.trust, claim, credential, now)


def judge(trust: TrustRoot | SelfTrust, claim: Claim, credential: bytes, now: float) -> None:
    """Raise AuthenticationError with the reason unless the credential proves the claim.

    now: seconds since 1970, when it has to be valid.
    """
    shown = Credential.from_bytes(credential)
    if shown.host != claim.host:
        raise AuthenticationError(f"credential for host {shown.host!r}, not {claim.host!r}")
    chain = load_chain(shown.chain)
    try:
        trust.verify(chain, now)
        names_of(chain[0]).admit(claim.rank, claim.host, claim.run)
        check_signature(chain[0], claim.signed_bytes(), shown.signature)
    except AuthenticationError:
        raise
    except Exception as error:  # parts are parsed when they are looked at
        raise AuthenticationError(f"malformed certificate ({error})") from None


def load_chain(chain: Sequence[bytes]) -> list[x509.Certificate]:
    """Parse DER certificates. Raises AuthenticationError when one is malformed."""
    try:
        return [x509.load_der_x509_certificate(der) for der in chain]
    except Exception as error:  # a peer's bytes in a parser of many exceptions
        raise AuthenticationError(f"malformed certificate ({error})") from None


def _pss() -> padding.PSS:
    return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
