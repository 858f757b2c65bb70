"""Keys of envelopes in a directory, one set for each suite (docs/formats/envelope.md).

    envelope-hpke.key        whom envelopes are for: the private key, needed to open them
    envelope-hpke.pub        its public key, needed to seal
    envelope-hpke.sign.key   who seals: the private key that signs
    envelope-hpke.sign.pub   its public key: who is believed when an envelope is opened

A job that only writes needs neither the first nor the last.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from morsr_mpi.adapters.key_files import check_directory, read_pem, write_file
from morsr_mpi.base.errors import AuthenticationError, InputError
from morsr_mpi.security.envelope import (
    SUITES,
    generate_recipient,
    generate_sender,
    header,
    open_envelope,
    public_bytes,
    seal,
)
from morsr_mpi.security.hybrid import HybridPrivate, HybridPublic, need

KEY_TAG = "morsr-envelope-key"
KEY_VERSION = 1


@dataclass(frozen=True)
class EnvelopeKeys:
    """What a directory of keys allows: sealing with a suite, opening, or both.

    The same set serves checkpoints at rest and what ranks of different hosts hand each other.
    """

    directory: Path
    suite: str = ""

    @classmethod
    def load(cls, directory: Path, suite: str = "") -> EnvelopeKeys:
        """Check a directory. suite: which to seal with, "" to open only.

        Raises InputError for missing and unsafe files.
        """
        check_directory(directory)
        keys = cls(directory, suite)
        if suite:
            keys._sealing()
        elif not any((directory / f"envelope-{s}.key").exists() for s in SUITES):
            raise InputError(
                f"{directory} has no keys for envelopes; `morsr pki envelope` makes them"
            )
        return keys

    def seal(self, payload: bytes, purpose: str) -> bytes:
        """Return an envelope with the payload. Raises InputError, UsageError."""
        recipient, sender = self._sealing()
        return seal(payload, purpose, self.suite, recipient, sender, os.urandom)

    def open(self, data: bytes, purpose: str) -> bytes:
        """Return the payload of an envelope of that purpose.

        Raises AuthenticationError, and InputError when the keys for its suite are not here.
        """
        suite = header(data).suite
        private = self._read(suite, "", private=True)
        trusted = public_bytes(self._read(suite, ".sign", private=False))
        opened = open_envelope(data, private, lambda key: key == trusted)
        if opened.purpose != purpose:
            raise AuthenticationError(f"envelope with {opened.purpose!r}, not {purpose!r}")
        return opened.payload

    def _sealing(self) -> tuple[Any, Any]:
        recipient = self._read(self.suite, "", private=False)
        return recipient, self._read(self.suite, ".sign", private=True)

    def _read(self, suite: str, part: str, *, private: bool) -> Any:
        path = self.directory / f"envelope-{suite}{part}.{'key' if private else 'pub'}"
        if not path.exists():
            raise InputError(
                f"{path} is missing: it is needed to {'open' if private == (not part) else 'seal'} "
                f"envelopes {suite}; `morsr pki envelope` makes a set of keys"
            )
        role = "sender" if part else "recipient"
        return _decode(path, read_pem(path, private=private), suite, role, private)


def make_keys(directory: Path, suite: str) -> list[Path]:
    """Make a set of keys in a directory; return the files. Raises UsageError, InputError."""
    check_directory(directory)
    made = []
    for part, role, private in (
        ("", "recipient", generate_recipient(suite)),
        (".sign", "sender", generate_sender(suite)),
    ):
        for ending, key, secret in (("key", private, True), ("pub", private.public_key(), False)):
            path = directory / f"envelope-{suite}{part}.{ending}"
            write_file(path, _encode(key, suite, role, secret), private=secret)
            made.append(path)
    return made


def describe_key(data: bytes) -> str:
    """Say what a file of keys is, without its content. Raises InputError."""
    words = data.split(b"\n", 1)[0].decode("ascii", errors="replace").split(" ")
    if len(words) != 5 or words[:2] != [KEY_TAG, str(KEY_VERSION)] or words[2] not in SUITES:
        raise InputError("not a key for envelopes of this version")
    return f"key for envelopes {words[2]}, {words[3]}, {words[4]}"


def _encode(key: Any, suite: str, role: str, private: bool) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        raw = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    elif isinstance(key, rsa.RSAPublicKey):
        raw = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        raw = key.private_bytes_raw() if private else key.public_bytes_raw()
    kind = "private" if private else "public"
    text = f"{KEY_TAG} {KEY_VERSION} {suite} {role} {kind}\n"
    return text.encode("ascii") + base64.b64encode(raw) + b"\n"


def _decode(path: Path, data: bytes, suite: str, role: str, private: bool) -> Any:
    kind = "private" if private else "public"
    first, _, rest = data.partition(b"\n")
    if first != f"{KEY_TAG} {KEY_VERSION} {suite} {role} {kind}".encode("ascii"):
        raise InputError(f"{path} does not hold the {kind} key of a {role} for envelopes {suite}")
    try:
        return _parse(base64.b64decode(rest.strip(), validate=True), suite, role, private)
    except (ValueError, TypeError, binascii.Error) as error:
        raise InputError(f"{path} is damaged ({error}): copy it again") from None


def _parse(raw: bytes, suite: str, role: str, private: bool) -> Any:
    kind: Any
    if role == "sender" and suite == "hybrid-pq":
        mldsa = need("mldsa")
        if private:
            return mldsa.MLDSA65PrivateKey.from_seed_bytes(raw)
        return mldsa.MLDSA65PublicKey.from_public_bytes(raw)
    if role == "sender":
        kind = ed25519.Ed25519PrivateKey if private else ed25519.Ed25519PublicKey
    elif suite == "hybrid-pq":
        kind = HybridPrivate if private else HybridPublic
    elif suite == "hpke":
        kind = x25519.X25519PrivateKey if private else x25519.X25519PublicKey
    else:
        found = load_der_private_key(raw, None) if private else load_der_public_key(raw)
        if not isinstance(found, rsa.RSAPrivateKey | rsa.RSAPublicKey):
            raise ValueError("not an RSA key")
        return found
    return kind.from_private_bytes(raw) if private else kind.from_public_bytes(raw)
