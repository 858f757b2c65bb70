"""Message-level envelopes (paper section 10.2): sealed for one recipient, signed by the sender.

The payload is encrypted under a fresh AES-256-GCM key, the key is wrapped for the recipient, the
sender signs everything. Three suites:

    hpke        HPKE (RFC 9180), X25519; Ed25519 signature
    hybrid-pq   HPKE with ML-KEM-768 and X25519 together; ML-DSA-65 signature (FIPS 203, 204)
    rsa-oaep    RSA-OAEP with SHA-256, as the paper writes it; Ed25519 signature

All of it is the `cryptography` package's work; nothing here invents cryptography.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import MAX_ENVELOPE_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import AuthenticationError, UsageError
from morsr_mpi.security.hybrid import HybridPrivate, need

ENVELOPE_TAG = "morsr-envelope"
ENVELOPE_VERSION = 1
SUITES = ("hpke", "hybrid-pq", "rsa-oaep")
_KEY_BYTES = 32
_NONCE_BYTES = 12

#: Returns that many bytes from a cryptographic source.
Entropy = Callable[[int], bytes]


@dataclass(frozen=True)
class Opened:
    """What an envelope held: the payload, what it was for, and the sender's public key."""

    payload: bytes
    purpose: str
    sender: bytes


@dataclass(frozen=True)
class Header:
    """What anybody can see of an envelope. recipient: its key's name; sender: its public key."""

    suite: str
    purpose: str
    recipient: bytes
    sender: bytes


def header(data: bytes) -> Header:
    """Return what an envelope says of itself, after a check of its signature.

    That it is whole is then proven, not that its sender is one to believe. Raises
    AuthenticationError.
    """
    suite, purpose, name, wrapped, nonce, body, signer, signature = _fields(data)
    bound = encode((ENVELOPE_TAG, ENVELOPE_VERSION, suite, purpose, name))
    try:
        _check(suite, signer, signature, _signed(bound, wrapped, nonce, body, signer))
    except (InvalidSignature, ValueError):
        raise AuthenticationError("envelope with a wrong signature") from None
    return Header(suite, purpose, name, signer)


def generate_recipient(suite: str) -> Any:
    """Return a fresh private key to receive by. Raises UsageError for an unknown suite."""
    _known(suite)
    if suite == "rsa-oaep":
        return rsa.generate_private_key(public_exponent=65537, key_size=3072)
    if suite == "hpke":
        return x25519.X25519PrivateKey.generate()
    return HybridPrivate.generate()


def generate_sender(suite: str) -> Any:
    """Return a fresh private key to sign by: Ed25519, or ML-DSA-65 for the hybrid suite."""
    _known(suite)
    if suite == "hybrid-pq":
        return need("mldsa").MLDSA65PrivateKey.generate()
    return ed25519.Ed25519PrivateKey.generate()


def public_bytes(public: Any) -> bytes:
    """Raw bytes of a sender's public key."""
    raw: bytes = public.public_bytes_raw()
    return raw


def recipient_id(suite: str, public: Any) -> bytes:
    """SHA-256 that names a recipient's key."""
    if suite == "rsa-oaep":
        data = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        data = public.public_bytes_raw()
    return sha256(suite.encode() + b"\0" + data)


def seal(
    payload: bytes, purpose: str, suite: str, recipient: Any, sender: Any, entropy: Entropy
) -> bytes:
    """Return the envelope's canonical bytes.

    recipient: public key of the suite; sender: private key (`generate_sender`); purpose: what
    the payload is, part of what is authenticated. Raises UsageError for keys of another kind and
    for payloads beyond MAX_ENVELOPE_BYTES.
    """
    _known(suite)
    if len(payload) > MAX_ENVELOPE_BYTES:
        raise UsageError(f"a payload of {len(payload)} bytes is too large for an envelope")
    key, nonce = entropy(_KEY_BYTES), entropy(_NONCE_BYTES)
    try:
        name = recipient_id(suite, recipient)
        bound = encode((ENVELOPE_TAG, ENVELOPE_VERSION, suite, purpose, name))
        wrapped = _wrap(suite, key, recipient, bound)
        body = AESGCM(key).encrypt(nonce, payload, bound)
        signer = public_bytes(sender.public_key())
        signed = _signed(bound, wrapped, nonce, body, signer)
        signature = sender.sign(signed)
    except (AttributeError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"these keys do not fit the envelope {suite}: {error}") from None
    fields = (suite, purpose, name, wrapped, nonce, body, signer, signature)
    return encode((ENVELOPE_TAG, ENVELOPE_VERSION, *fields))


def open_envelope(data: bytes, recipient: Any, trusted: Callable[[bytes], bool]) -> Opened:
    """Return what an envelope holds.

    recipient: private key; trusted: whether a sender's public key is one to believe. The
    signature is checked before anything is decrypted. Raises AuthenticationError with the reason.
    """
    suite, purpose, name, wrapped, nonce, body, signer, signature = _fields(data)
    if not trusted(signer):
        raise AuthenticationError("envelope of a sender that is not trusted")
    bound = encode((ENVELOPE_TAG, ENVELOPE_VERSION, suite, purpose, name))
    try:
        _check(suite, signer, signature, _signed(bound, wrapped, nonce, body, signer))
        if recipient_id(suite, recipient.public_key()) != name:
            raise AuthenticationError("envelope for another recipient")
        key = _unwrap(suite, wrapped, recipient, bound)
        payload = AESGCM(key).decrypt(nonce, body, bound)
    except InvalidSignature:
        raise AuthenticationError("envelope with a wrong signature") from None
    except (InvalidTag, ValueError):
        raise AuthenticationError("envelope that does not open: damaged or forged") from None
    except (AttributeError, TypeError, UnsupportedAlgorithm):
        raise AuthenticationError(f"this key cannot open an envelope {suite}") from None
    return Opened(payload, purpose, signer)


def _fields(data: bytes) -> tuple[str, str, bytes, bytes, bytes, bytes, bytes, bytes]:
    try:
        fields = decode(data, MAX_ENVELOPE_BYTES + (1 << 16))
    except CanonicalError as error:
        raise AuthenticationError(f"malformed envelope: {error}") from None
    match fields:
        case (str(tag), int(version), *_) if tag == ENVELOPE_TAG and version != ENVELOPE_VERSION:
            raise AuthenticationError(f"envelope of version {version}, this is {ENVELOPE_VERSION}")
        case (
            str(tag), int(),
            str(suite), str(purpose), bytes(name), bytes(wrapped),
            bytes(nonce), bytes(body), bytes(signer), bytes(signature),
        ) if tag == ENVELOPE_TAG and suite in SUITES and len(nonce) == _NONCE_BYTES:  # fmt: skip
            return suite, purpose, name, wrapped, nonce, body, signer, signature
    raise AuthenticationError("malformed envelope: fields of the wrong type")


def _signed(bound: bytes, wrapped: bytes, nonce: bytes, body: bytes, signer: bytes) -> bytes:
    return encode((bound, wrapped, nonce, sha256(body), signer))


def _check(suite: str, signer: bytes, signature: bytes, signed: bytes) -> None:
    """Raise InvalidSignature or ValueError unless the signer signed."""
    if suite == "hybrid-pq":
        mldsa = need("mldsa")
        mldsa.MLDSA65PublicKey.from_public_bytes(signer).verify(signature, signed)
    else:
        ed25519.Ed25519PublicKey.from_public_bytes(signer).verify(signature, signed)


def _wrap(suite: str, key: bytes, recipient: Any, bound: bytes) -> bytes:
    if suite == "rsa-oaep":
        wrapped: bytes = recipient.encrypt(key, _oaep(bound))
    else:
        public = recipient.for_hpke() if suite == "hybrid-pq" else recipient
        wrapped = _suite(suite).encrypt(key, public, info=bound)
    return wrapped


def _unwrap(suite: str, wrapped: bytes, recipient: Any, bound: bytes) -> bytes:
    if suite == "rsa-oaep":
        key: bytes = recipient.decrypt(wrapped, _oaep(bound))
    else:
        private = recipient.for_hpke() if suite == "hybrid-pq" else recipient
        key = _suite(suite).decrypt(wrapped, private, info=bound)
    return key


def _oaep(bound: bytes) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), sha256(bound))


def _suite(suite: str) -> Any:
    hpke = need("hpke")
    kem = hpke.KEM.X25519 if suite == "hpke" else hpke.KEM.MLKEM768_X25519
    return hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def _known(suite: str) -> None:
    if suite not in SUITES:
        raise UsageError(f"--envelope is none, {', '.join(SUITES)}, not {suite!r}")
