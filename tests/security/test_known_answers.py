"""Published answers of every primitive in use: what we call is what the standards say."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from morsr_mpi.base.digest import sha256
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.envelope import _oaep

h = bytes.fromhex


def test_sha256_fips_180_4() -> None:
    assert sha256(b"abc") == h("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


@pytest.mark.parametrize(
    ("plain", "sealed"),
    [
        (b"", "530f8afbc74536b9a963b4f1c4cb738b"),
        (bytes(16), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    ],
)
def test_aes_256_gcm_mcgrew_viega_13_and_14(plain: bytes, sealed: str) -> None:
    assert AESGCM(bytes(32)).encrypt(bytes(12), plain, None) == h(sealed)


def test_ed25519_rfc_8032_test_1() -> None:
    signer = Ed25519Signer(h("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    public = h("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    signature = h(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701"
        "cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    assert signer.public_key == public
    assert signer.sign(b"") == signature
    assert signer.verify(public, b"", signature)
    assert ed25519.Ed25519PublicKey.from_public_bytes(public)


def test_ecdsa_p256_rfc_6979_verifies() -> None:
    public = ec.EllipticCurvePublicNumbers(
        0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6,
        0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299,
        ec.SECP256R1(),
    ).public_key()
    signature = encode_dss_signature(
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    )
    public.verify(signature, b"sample", ec.ECDSA(SHA256()))


def test_x25519_rfc_7748() -> None:
    private = x25519.X25519PrivateKey.from_private_bytes(
        h("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    )
    public = x25519.X25519PublicKey.from_public_bytes(
        h("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    )
    assert private.exchange(public) == h(
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    )


def test_hpke_rfc_9180_a_1_key_schedule() -> None:
    """The RFC gives key and base nonce of the context; a message under them has to open."""
    private = x25519.X25519PrivateKey.from_private_bytes(
        h("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
    )
    enc = h("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
    key, nonce = h("4531685d41d65f03dc48f6b8302c05b0"), h("56d890e5accaaf011cff4b7d")
    info = h("4f6465206f6e2061204772656369616e2055726e")
    sealed = enc + AESGCM(key).encrypt(nonce, b"Beauty is truth", b"")
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    assert suite.decrypt(sealed, private, info=info) == b"Beauty is truth"


SEED = h(
    "7c9935a0b07694aa0c6d10e4db6b1add2fd81a25ccb148032dcd739936737f2d"
    "8626ed79d451140800e03b59b956f8210e556067407d13dc90fa9e8b872bfb8f"
)


def test_ml_kem_768_key_generation() -> None:
    public = mlkem.MLKEM768PrivateKey.from_seed_bytes(SEED).public_key().public_bytes_raw()
    assert hashlib.sha3_256(public).digest() == h(
        "f57262661358cde8d3ebf990e5fd1d5b896c992ccfaadb5256b68bbf5943b132"
    )


def test_ml_dsa_65_key_generation() -> None:
    public = mldsa.MLDSA65PrivateKey.from_seed_bytes(SEED[:32]).public_key().public_bytes_raw()
    assert public[:36] == h(
        "1483236fc9f943d98417809e95405384530ed83e151e8465d34e4638f1f8d7058d62e19a"
    )


def test_rsa_oaep_against_the_text_of_rfc_8017() -> None:
    """Section 7.1.2 in plain integers opens what the library has sealed."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    bound = b"what the key is for"
    sealed = private.public_key().encrypt(b"k" * 32, _oaep(bound))
    numbers = private.private_numbers()
    n, size = numbers.public_numbers.n, 256
    block = pow(int.from_bytes(sealed, "big"), numbers.d, n).to_bytes(size, "big")
    assert block[0] == 0
    masked_seed, masked = block[1:33], block[33:]
    seed = xor(masked_seed, mgf1(masked, 32))
    data = xor(masked, mgf1(seed, size - 33))
    assert data[:32] == sha256(sha256(bound))
    rest = data[32:].lstrip(b"\0")
    assert rest == b"\x01" + b"k" * 32


def mgf1(seed: bytes, length: int) -> bytes:
    blocks = (sha256(seed + i.to_bytes(4, "big")) for i in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))
