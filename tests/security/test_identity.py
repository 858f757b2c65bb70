"""Credentials: what proves a rank's claim, and every way in which it does not."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from pki_kit import NOW, Pki

from morsr_mpi.adapters.x509_authority import Authority, new_key, run_certificate
from morsr_mpi.adapters.x509_verify import TrustRoot, X509Identity
from morsr_mpi.base.errors import AuthenticationError, UsageError
from morsr_mpi.security.identity import Claim, Credential, Names, check_name

CLAIM = Claim("run1", 3, "h1", bytes(32), bytes(range(32)))


def judged(identity: X509Identity, shown: X509Identity, claim: Claim = CLAIM) -> None:
    identity.judge(claim, shown.credential(claim), NOW)


def test_a_certificate_of_the_ca_proves_its_rank(pki: Pki) -> None:
    judged(pki.identity(0), pki.identity(3, "run1"))
    judged(pki.identity(0), pki.identity(3))  # any run


def test_a_host_certificate_serves_any_rank_of_that_host(pki: Pki) -> None:
    certificate, key = pki.leaf(-1, host="h1")
    shown = X509Identity([certificate], key, pki.trust)
    for rank in (0, 3, 9):
        judged(pki.identity(0), shown, dataclasses.replace(CLAIM, rank=rank))
    with pytest.raises(AuthenticationError, match="for host h1, not for 'h2'"):
        judged(pki.identity(0), shown, dataclasses.replace(CLAIM, host="h2"))


def test_site_certificates_with_dns_names_and_rsa_keys_do_as_well(pki: Pki) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    shown = X509Identity(
        [signed(pki.authority, key.public_key(), [x509.DNSName("h1")])], key, pki.trust
    )
    judged(pki.identity(0), shown)


def signed(
    authority: Authority,
    key: object,
    names: Sequence[x509.GeneralName] = (x509.UniformResourceIdentifier("urn:morsr:rank:3"),),
) -> x509.Certificate:
    """A certificate as another tool would make it."""
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(list(names)), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), False
        )
    )
    return builder.sign(authority.key, hashes.SHA256())


@pytest.mark.parametrize(
    ("rank", "run", "hours", "begin", "reason"),
    [
        (3, "", 1.0, NOW - 7200.0, "expired on"),
        (3, "", 24.0, NOW + 3600.0, "not valid before"),
        (2, "", 24.0, NOW, "for rank 2, not for rank 3"),
        (3, "run2", 24.0, NOW, "for run run2, not for 'run1'"),
        (-1, "", 24.0, NOW, "names neither rank nor host"),
    ],
)
def test_wrong_certificates_are_refused_with_the_reason(
    pki: Pki, rank: int, run: str, hours: float, begin: float, reason: str
) -> None:
    certificate, key = pki.leaf(rank, run, hours=hours, begin=begin)
    with pytest.raises(AuthenticationError, match=reason):
        judged(pki.identity(0), X509Identity([certificate], key, pki.trust))


def test_clocks_may_differ_a_little(pki: Pki) -> None:
    certificate, key = pki.leaf(3, begin=NOW + 200.0)
    judged(pki.identity(0), X509Identity([certificate], key, pki.trust))


def test_self_signed_certificates_are_refused(pki: Pki) -> None:
    certificate, key = run_certificate(3, NOW)
    with pytest.raises(AuthenticationError, match="self-signed"):
        judged(pki.identity(0), X509Identity.alone(certificate, key))


def test_certificates_of_another_ca_of_the_same_name_are_refused(pki: Pki, other_pki: Pki) -> None:
    with pytest.raises(AuthenticationError, match="not issued by a trusted CA"):
        judged(pki.identity(0), other_pki.identity(3))


def test_revoked_certificates_are_refused(pki: Pki) -> None:
    certificate, key = pki.leaf(3)
    crl = pki.authority.revocation_list([certificate.serial_number], NOW)
    judge = pki.identity(0, trust=TrustRoot([pki.authority.certificate], [crl]))
    with pytest.raises(AuthenticationError, match="revoked on"):
        judged(judge, X509Identity([certificate], key, pki.trust))
    judged(judge, pki.identity(3))
    renewed = pki.authority.revocation_list([], NOW, previous=crl)
    assert [entry.serial_number for entry in renewed] == [certificate.serial_number]


def test_an_old_revocation_list_lets_nobody_in(pki: Pki) -> None:
    crl = pki.authority.revocation_list([], NOW - 90_000.0, days=1.0)
    judge = pki.identity(0, trust=TrustRoot([pki.authority.certificate], [crl]))
    with pytest.raises(AuthenticationError, match="out of date"):
        judged(judge, pki.identity(3))


def test_a_foreign_or_forged_revocation_list_is_no_root(pki: Pki, other_pki: Pki) -> None:
    forged = other_pki.authority.revocation_list([1], NOW)  # same name, other key
    with pytest.raises(AuthenticationError, match="wrong signature"):
        TrustRoot([pki.authority.certificate], [forged])
    stranger = Authority.create("stranger", NOW, 1.0).revocation_list([], NOW)
    with pytest.raises(AuthenticationError, match="issuer that is not trusted"):
        TrustRoot([pki.authority.certificate], [stranger])
    with pytest.raises(AuthenticationError, match="no trusted"):
        TrustRoot([])


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "wrong type"),
        (ec.generate_private_key(ec.SECP256K1()), "wrong type"),
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), "1024 bits"),
    ],
)
def test_keys_of_the_wrong_type_are_refused(pki: Pki, key: object, reason: str) -> None:
    certificate = signed(pki.authority, key.public_key())  # type: ignore[attr-defined]
    with pytest.raises(AuthenticationError, match=reason):
        pki.trust.verify([certificate], NOW)


def test_a_leaf_is_no_ca(pki: Pki) -> None:
    leaf, leaf_key = pki.leaf(0)
    forged = signed(Authority(leaf, leaf_key), new_key().public_key())
    with pytest.raises(AuthenticationError):
        pki.trust.verify([forged, leaf], NOW)


def test_a_credential_proves_one_claim_only(pki: Pki) -> None:
    shown = pki.identity(3).credential(CLAIM)
    for change in (
        {"run": "run2"},
        {"key": bytes([1]) * 32},
        {"context": bytes(32)},
    ):
        other = dataclasses.replace(CLAIM, **change)  # type: ignore[arg-type]
        with pytest.raises(AuthenticationError, match="not signed by the key"):
            pki.identity(0).judge(other, shown, NOW)


def test_a_credential_names_the_host_it_is_claimed_for(pki: Pki) -> None:
    shown = pki.identity(3).credential(CLAIM)
    with pytest.raises(AuthenticationError, match="credential for host 'h1', not 'h2'"):
        pki.identity(0).judge(dataclasses.replace(CLAIM, host="h2"), shown, NOW)


def test_a_stolen_certificate_without_its_key_proves_nothing(pki: Pki) -> None:
    certificate, _ = pki.leaf(3)
    with pytest.raises(AuthenticationError, match="do not belong together"):
        X509Identity([certificate], new_key(), pki.trust)
    mine = pki.identity(5)
    fields = Credential.from_bytes(mine.credential(CLAIM))
    stolen = Credential((der(certificate),), "h1", fields.signature)
    with pytest.raises(AuthenticationError, match="not signed by the key"):
        pki.identity(0).judge(CLAIM, stolen.to_bytes(), NOW)


def der(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


@given(st.binary(max_size=300))
def test_no_bytes_make_a_credential_crash(data: bytes) -> None:
    with pytest.raises(AuthenticationError):
        Credential.from_bytes(data)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_no_flipped_bit_of_a_credential_goes_unnoticed(pki: Pki) -> None:
    shown, judge = bytearray(pki.identity(3).credential(CLAIM)), pki.identity(0)
    for at in range(len(shown)):
        shown[at] ^= 1 << at % 8
        with pytest.raises(AuthenticationError):
            judge.judge(CLAIM, bytes(shown), NOW)
        shown[at] ^= 1 << at % 8


def test_names_survive_a_certificate() -> None:
    names = Names(frozenset([1, 20]), frozenset(["h1"]), frozenset(["a.b"]))
    assert Names.read([*names.uris(), "http://else.where"], []) == names
    for bad in ("urn:morsr:rank:-1", "urn:morsr:rank:", "urn:morsr:rank:1x", "urn:morsr:rank:٣"):
        with pytest.raises(AuthenticationError):
            Names.read([bad], [])
    for bad in ("", "a b", "a/b", "ü", "x" * 300, "a\n"):
        with pytest.raises(UsageError):
            check_name("run", bad)


def test_chains_too_long_for_a_message_are_refused(pki: Pki) -> None:
    certificate, key = pki.leaf(3)
    crowd = X509Identity([certificate, *[pki.authority.certificate] * 20], key, pki.trust)
    with pytest.raises(AuthenticationError, match="do not fit"):
        crowd.credential(CLAIM)
