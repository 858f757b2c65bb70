"""Envelopes: open for the recipient alone, refused when anything in them was changed."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.errors import AuthenticationError, UsageError
from morsr_mpi.security.envelope import (
    SUITES,
    generate_recipient,
    generate_sender,
    open_envelope,
    public_bytes,
    seal,
)
from morsr_mpi.security.hybrid import HybridPrivate, HybridPublic

KEYS = {suite: (generate_recipient(suite), generate_sender(suite)) for suite in SUITES}


def anyone(_: bytes) -> bool:
    return True


def sealed(suite: str, payload: bytes = b"payload") -> bytes:
    recipient, sender = KEYS[suite]
    return seal(payload, "test", suite, recipient.public_key(), sender, os.urandom)


@pytest.mark.parametrize("suite", SUITES)
@given(payload=st.binary(max_size=2000))
@settings(max_examples=10)
def test_what_was_sealed_comes_out(suite: str, payload: bytes) -> None:
    recipient, sender = KEYS[suite]
    found = open_envelope(sealed(suite, payload), recipient, anyone)
    assert found.payload == payload
    assert found.purpose == "test"
    assert found.sender == public_bytes(sender.public_key())


@pytest.mark.parametrize("suite", SUITES)
def test_the_payload_is_not_in_it(suite: str) -> None:
    payload = b"nobody is to read this here" * 10
    data = sealed(suite, payload)
    assert payload[:16] not in data
    assert data != sealed(suite, payload), "fresh key and nonce each time"


@pytest.mark.parametrize("suite", SUITES)
def test_another_recipient_cannot_open_it(suite: str) -> None:
    with pytest.raises(AuthenticationError, match="another recipient"):
        open_envelope(sealed(suite), generate_recipient(suite), anyone)
    for other in SUITES:
        if other != suite:
            with pytest.raises(AuthenticationError):
                open_envelope(sealed(suite), KEYS[other][0], anyone)


@pytest.mark.parametrize("suite", SUITES)
def test_a_sender_who_is_not_trusted_is_refused(suite: str) -> None:
    with pytest.raises(AuthenticationError, match="not trusted"):
        open_envelope(sealed(suite), KEYS[suite][0], lambda key: False)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("field", range(2, 10))
def test_every_field_is_protected(suite: str, field: int) -> None:
    fields = decode(sealed(suite))
    assert isinstance(fields, tuple)
    value = fields[field]
    changed = value[:-1] + bytes([value[-1] ^ 1]) if isinstance(value, bytes) else f"{value}x"
    forged = encode((*fields[:field], changed, *fields[field + 1 :]))
    with pytest.raises(AuthenticationError):
        open_envelope(forged, KEYS[suite][0], anyone)


@given(data=st.data())
@settings(max_examples=60)
def test_any_damage_is_refused(data: st.DataObject) -> None:
    envelope = bytearray(sealed("hpke"))
    at = data.draw(st.integers(0, len(envelope) - 1))
    envelope[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(AuthenticationError):
        open_envelope(bytes(envelope), KEYS["hpke"][0], anyone)
    with pytest.raises(AuthenticationError):
        open_envelope(sealed("hpke")[:at], KEYS["hpke"][0], anyone)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_crash(data: bytes) -> None:
    with pytest.raises(AuthenticationError):
        open_envelope(data, KEYS["hpke"][0], anyone)


def test_a_newer_version_is_named() -> None:
    fields = decode(sealed("hpke"))
    assert isinstance(fields, tuple)
    with pytest.raises(AuthenticationError, match="version 2, this is 1"):
        open_envelope(encode((fields[0], 2, *fields[2:])), KEYS["hpke"][0], anyone)


def test_keys_of_another_suite_and_unknown_suites_are_usage_errors() -> None:
    recipient, sender = KEYS["rsa-oaep"]
    with pytest.raises(UsageError, match="do not fit"):
        seal(b"", "test", "hpke", recipient.public_key(), sender, os.urandom)
    with pytest.raises(UsageError, match="--envelope"):
        generate_recipient("rot13")


def test_hybrid_keys_survive_their_bytes() -> None:
    private, _ = KEYS["hybrid-pq"]
    again = HybridPrivate.from_private_bytes(private.private_bytes_raw())
    public = again.public_key().public_bytes_raw()
    assert HybridPublic.from_public_bytes(public).public_bytes_raw() == public
    assert open_envelope(sealed("hybrid-pq"), again, anyone).payload == b"payload"
    with pytest.raises(ValueError, match="96 bytes"):
        HybridPrivate.from_private_bytes(b"short")
