"""Verifies a sealed run directory from docs/formats alone: standard library and cryptography only.

Nothing of the package is imported.  `python tests/independent_verifier.py DIR [FINGERPRINT]` prints
what it found and ends with 0, or with 1 and the first thing that is wrong.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAGIC = bytes.fromhex("6d6f7273726a0001")


class WrongError(Exception):
    """Something in the directory is not as it should be."""


def need(sound: bool, text: str) -> None:
    if not sound:
        raise WrongError(text)


def decode(data: bytes) -> Any:
    """Canonical bytes to a value (docs/formats/canonical.md); refuses any other encoding."""
    value, end = item(data, 0)
    need(end == len(data), "bytes after a value")
    return value


def item(data: bytes, at: int) -> tuple[Any, int]:
    need(at < len(data), "bytes end too early")
    major, info, at = data[at] >> 5, data[at] & 31, at + 1
    if major == 7:
        if info == 27:
            need(at + 8 <= len(data), "bytes end too early")
            return struct.unpack_from(">d", data, at)[0], at + 8
        need(info in (20, 21, 22), "an unknown simple value")
        return {20: False, 21: True, 22: None}[info], at
    if info < 24:
        number = info
    else:
        need(info in (24, 25, 26, 27), "an unknown head")
        size = 1 << (info - 24)
        need(at + size <= len(data), "bytes end too early")
        number = int.from_bytes(data[at : at + size], "big")
        need(number >= (24, 1 << 8, 1 << 16, 1 << 32)[info - 24], "a head that is too long")
        at += size
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major in (2, 3):
        need(at + number <= len(data), "bytes end too early")
        piece = data[at : at + number]
        return piece if major == 2 else piece.decode(), at + number
    need(major == 4, "a map or a tag")
    values = []
    for _ in range(number):
        value, at = item(data, at)
        values.append(value)
    return tuple(values), at


def encode(value: Any) -> bytes:
    """The few kinds of values that a seal signs."""

    def head(major: int, number: int) -> bytes:
        for info, limit in enumerate((24, 1 << 8, 1 << 16, 1 << 32, 1 << 64)):
            if number < limit:
                if info == 0:
                    return bytes([major << 5 | number])
                return bytes([major << 5 | 23 + info]) + number.to_bytes(1 << (info - 1), "big")
        raise WrongError("a number beyond 64 bits")

    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    return head(4, len(value)) + b"".join(encode(part) for part in value)


def records(path: Path) -> list[bytes]:
    data = path.read_bytes()
    need(data[:8] == MAGIC, "the journal does not begin as one")
    out, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        need(size > 0 and at + 4 + size <= len(data), f"record {len(out)} is cut short")
        out.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    need(bool(out), "the journal is empty")
    return out


def verify(folder: Path, fingerprint: str = "") -> str:
    """Return a line that says what was verified. Raises WrongError."""
    previous, keys, seals = bytes(32), (), 0
    kinds: list[str] = []
    body: Any = ()
    link = previous
    for index, data in enumerate(records(folder / "ledger" / "journal.morsr")):
        version, number, kind, link, body = decode(data)
        need((version, number) == (1, index), f"record {index} has another version or number")
        need(link == previous, f"record {index} is not linked to the one before")
        need((kind == "genesis") == (index == 0), f"record {index}: genesis out of place")
        need(not kinds or kinds[-1] != "seal" or kind == "epoch", f"record {index} after the seal")
        if kind == "genesis":
            keys = body[6]
            found = hashlib.sha256(data).hexdigest()
            need(found.startswith(fingerprint), f"the genesis is {found[:12]}: another run")
        elif kind == "epoch":
            keys = body[3]
        elif kind == "seal":
            signatures(index, link, body, keys)
            seals += 1
        kinds.append(kind)
        previous = hashlib.sha256(data).digest()
    need(kinds[-1] == "seal", "the run is not sealed")
    named = {name for name, _, _ in body[2]}
    for name, size, digest in body[2]:
        content = (folder / name).read_bytes()
        need(len(content) == size, f"{name} has another length")
        need(hashlib.sha256(content).digest() == digest, f"{name} has another SHA-256")
    for part in ("ledger", "evidence"):
        for path in (folder / part).rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name != "ledger/journal.morsr":
                need(name in named, f"{name} is not named by the seal")
    return f"{len(kinds)} records, {seals} seals, {len(named)} files"


def signatures(index: int, link: bytes, body: Any, keys: tuple[bytes, ...]) -> None:
    committed, state, files, signed = body
    message = b"morsr-seal" + link + hashlib.sha256(encode((committed, state, files))).digest()
    need(bool(signed) or not any(keys), f"record {index}: a seal without signature")
    for rank, signature in signed:
        need(rank < len(keys), f"record {index}: rank {rank} has no key")
        try:
            Ed25519PublicKey.from_public_bytes(keys[rank]).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise WrongError(f"record {index}: the signature of rank {rank} is wrong") from None


if __name__ == "__main__":
    try:
        print(verify(Path(sys.argv[1]), *sys.argv[2:3]))
    except (WrongError, OSError, ValueError) as error:
        print(f"wrong: {error}", file=sys.stderr)
        sys.exit(1)
