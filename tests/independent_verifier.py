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
    """Canonical bytes of a value."""

    def head(major: int, number: int) -> bytes:
        for info, limit in enumerate((24, 1 << 8, 1 << 16, 1 << 32, 1 << 64)):
            if number < limit:
                if info == 0:
                    return bytes([major << 5 | number])
                return bytes([major << 5 | 23 + info]) + number.to_bytes(1 << (info - 1), "big")
        raise WrongError("a number beyond 64 bits")

    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    return head(4, len(value)) + b"".join(encode(part) for part in value)


def records(path: Path, magic: bytes = MAGIC) -> list[bytes]:
    data = path.read_bytes()
    need(data[:8] == magic, f"{path.name} does not begin as it should")
    out, at = [], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        need(size > 0 and at + 4 + size <= len(data), f"record {len(out)} is cut short")
        out.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    need(bool(out), f"{path.name} is empty")
    return out


class Group:
    """Ranks under one genesis or epoch record, and the pulses recorded since."""

    def __init__(self, run: bytes, keys: tuple[bytes, ...], first: int) -> None:
        self.run, self.keys, self.first = run, keys, first
        self.pulses: dict[int, Any] = {}
        self.certified: set[int] = set()
        self.waiting: list[tuple[str, Any]] = []
        self.previous: tuple[int, bytes] | None = None
        self.complete = False


def verify(folder: Path, fingerprint: str = "") -> str:
    """Return a line that says what was verified. Raises WrongError."""
    previous, seals, certificates = bytes(32), 0, 0
    kinds: list[str] = []
    groups: list[Group] = []
    body: Any = ()
    start: Any = ()
    link = previous
    for index, data in enumerate(records(folder / "ledger" / "journal.morsr")):
        version, number, kind, link, body = decode(data)
        need((version, number) == (1, index), f"record {index} has another version or number")
        need(link == previous, f"record {index} is not linked to the one before")
        need((kind == "genesis") == (index == 0), f"record {index}: genesis out of place")
        need(not kinds or kinds[-1] != "seal" or kind == "epoch", f"record {index} after the seal")
        digest = hashlib.sha256(data).digest()
        if kind == "genesis":
            start = body
            groups.append(Group(digest, body[6], 0))
            need(digest.hex().startswith(fingerprint), "the genesis is another: another run")
        elif kind == "epoch":
            groups.append(Group(digest, body[3], body[4]))
        elif kind in ("pulse", "step"):
            groups[-1].pulses[body[1]] = (kind, body)
            groups[-1].waiting.append((kind, body))
        elif kind == "certificate":
            certificate(index, body[0], groups[-1])
            certificates += 1
        elif kind in ("stop", "seal"):
            groups[-1].complete = True
        if kind == "seal":
            signatures(index, link, body, groups[-1].keys)
            seals += 1
        kinds.append(kind)
        previous = digest
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
    tasks = sum(segments(folder / "ledger" / "tasks", group, start) for group in groups)
    return (
        f"{len(kinds)} records, {certificates} certificates, {seals} seals, {len(named)} files, "
        f"{tasks} task records"
    )


def certificate(index: int, data: bytes, group: Group) -> None:
    """A quorum's votes for all pulses of the group since the last certificate."""
    subject, size, members, signed = decode(data)
    kind, membership, _, _, height, digest = subject
    ranks = [rank for rank, _ in signed]
    quorum = (size + (size - 1) // 3) // 2 + 1
    need(size == len(group.keys) and members == tuple(range(size)), f"record {index}: members")
    need(membership == sha(("membership", size, members)), f"record {index}: membership")
    need(kind == 2 and len(ranks) >= quorum, f"record {index}: no quorum")
    need(ranks == sorted(set(ranks)) and ranks[-1] < size, f"record {index}: a rank twice")
    # A pulse: view, pulse, tasks, results, contributors, state.  A step: view, pulse, picks,
    # tasks, results, contributors, dropped, state.
    outcomes = [
        (b[1], *b[2:4], b[5]) if name == "pulse" else (b[1], *b[2:5], *b[6:8])
        for name, b in group.waiting
    ]
    steps = tuple((b[0], b[4] if name == "pulse" else b[5]) for name, b in group.waiting)
    last = group.previous
    before = last[1] if last is not None and last[0] + 1 == height else b""
    payload = encode(("pulses", group.first, steps, sha(("pulses", *outcomes)), before))
    need(digest == sha(("step", payload)), f"record {index}: not of the pulses before it")
    message = encode(("morsr-vote", group.run, *subject))
    for rank, signature in signed:
        check(group.keys[rank], signature, message, f"record {index}: the vote of rank {rank}")
    group.certified.update(b[1] for _, b in group.waiting)
    group.first += len(group.waiting)
    group.waiting = []
    group.previous = (height, data)


def segments(folder: Path, group: Group, start: Any) -> int:
    """Check the task records of a group against its pulses; return how many there are."""
    found: dict[tuple[int, int], bytes] = {}
    count = 0
    for rank, key in enumerate(group.keys):
        path = folder / f"{group.run.hex()[:12]}-{rank:05d}.morsr"
        if path.exists():
            count += segment(path, rank, key, group, start, found)
    if not count:
        return 0
    for number, (kind, body) in group.pulses.items():
        tasks, givers = (body[2], body[4]) if kind == "pulse" else (body[3], body[5])
        ids = [found.get((number, place)) for place in range(len(givers) // 2)]
        if None not in ids:
            need(hashlib.sha256(b"".join(ids)).digest() == tasks, f"tasks of commit {number}")  # type: ignore[arg-type]
        need(None not in ids or not group.complete, f"commit {number} lacks task records")
    return count


def segment(
    path: Path, rank: int, key: bytes, group: Group, start: Any, found: dict[Any, bytes]
) -> int:
    """One rank's records: batches of records, each with a signed Merkle root."""
    items = records(path, bytes.fromhex("6d6f727372740001"))
    algorithm, problem = start[1], start[2]
    head = (1, "tasks", group.run, rank, problem, algorithm)
    need(items[0] == encode(head), f"{path.name} is of another run, rank or problem")
    previous, batch, numbers, total, reached = items[0], [], 0, 0, 0
    for item in items[1:]:
        fields = decode(item)
        if fields[0] != "root":
            batch.append(item)
            continue
        number, first, end, count, root, _, link, signature = fields[1:]
        need(link == hashlib.sha256(previous).digest() and number == numbers, f"{path.name}: link")
        need(count == len(batch) and root == merkle(batch), f"{path.name}: root {number}")
        message = encode(("morsr-tasks", 1, group.run, rank, *fields[1:8]))
        check(key, signature, message, f"{path.name}: root {number}")
        need(reached <= first <= end, f"{path.name}: commits of batch {number}")
        for data in batch:
            where, task = task_record(path, data, rank, group, problem, algorithm)
            need(first <= where[0] < end, f"{path.name}: a record out of its batch")
            need(where not in found or found[where] == task, f"{path.name}: a record twice")
            found[where] = task
        total += len(batch)
        previous, batch, numbers, reached = item, [], numbers + 1, end
    need(not batch, f"{path.name}: records without a root")
    return total


def task_record(
    path: Path, data: bytes, rank: int, group: Group, problem: bytes, algorithm: int
) -> tuple[tuple[int, int], bytes]:
    """Check a record; return (commit, place), and the id of its task."""
    computation, parameters, commit, place, planned, result = decode(data)
    where = f"{path.name}: the record of task {place} of commit {commit}"
    need(commit in group.pulses, f"{where}: no such commit")
    kind, body = group.pulses[commit]
    results, givers = (body[3], body[4]) if kind == "pulse" else (body[4], body[5])
    need(results[32 * place : 32 * place + 32] == result, f"{where}: another result")
    if commit in group.certified:
        need(givers[2 * place : 2 * place + 2] == rank.to_bytes(2, "big"), f"{where}: another rank")
    pick = body[2][8 * place : 8 * place + 4] if kind == "step" else commit.to_bytes(4, "big")
    need(planned == int.from_bytes(pick, "big"), f"{where}: planned elsewhere")
    task = sha(("morsr-task", algorithm, *decode(parameters)))
    need(computation == sha(("morsr-computation", problem, task)), f"{where}: another id")
    return (commit, place), task


def merkle(leaves: list[bytes]) -> bytes:
    """Root as in RFC 6962."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + merkle(leaves[:k]) + merkle(leaves[k:])).digest()


def sha(value: Any) -> bytes:
    return hashlib.sha256(encode(value)).digest()


def check(key: bytes, signature: bytes, message: bytes, what: str) -> None:
    if not key:
        need(signature == b"", f"{what}: a signature without a key")
        return
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise WrongError(f"{what}: the signature is wrong") from None


def signatures(index: int, link: bytes, body: Any, keys: tuple[bytes, ...]) -> None:
    committed, state, files, signed = body
    message = b"morsr-seal" + link + hashlib.sha256(encode((committed, state, files))).digest()
    need(bool(signed) or not any(keys), f"record {index}: a seal without signature")
    for rank, signature in signed:
        need(rank < len(keys), f"record {index}: rank {rank} has no key")
        check(keys[rank], signature, message, f"record {index}: rank {rank}")


if __name__ == "__main__":
    try:
        print(verify(Path(sys.argv[1]), *sys.argv[2:3]))
    except (WrongError, OSError, ValueError) as error:
        print(f"wrong: {error}", file=sys.stderr)
        sys.exit(1)
