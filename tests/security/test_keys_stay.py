"""Private keys stay in memory: not in logs, records, checkpoints, dumps, children, output.

Every private key of a run is known to these tests: those in files, and those the ranks draw. They
are looked for, raw, in hexadecimal, in base64 and as parts of PEM, in everything a run leaves.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from morsr_mpi import Problem
from morsr_mpi.adapters.tls_session import TlsFiles
from morsr_mpi.app import pki
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.group_key import GroupKey

Command = Callable[..., Any]

#: Runs the command line; notes at once every secret that is drawn, and what each child is given.
SPY = """
import json, os, resource, subprocess, sys
file = open(os.path.join(sys.argv.pop(1), os.environ.get("OMPI_COMM_WORLD_RANK", "0")), "w")
def note(kind, what):
    file.write(json.dumps([kind, what]) + chr(10))
    file.flush()
real = os.urandom
def urandom(count):
    found = real(count)
    if count >= 16:
        note("drawn", found.hex())
        note("limit", resource.getrlimit(resource.RLIMIT_CORE)[0])
    return found
os.urandom = urandom
Popen = subprocess.Popen
class Spy(Popen):
    def __init__(self, args, *rest, **options):
        note("child", [str(args), dict(options.get("env") or os.environ)])
        super().__init__(args, *rest, **options)
subprocess.Popen = Spy
{fault}
from morsr_mpi.cli.main import main
code = main()
note("child", ["", dict(os.environ)])
sys.exit(code)
"""

#: Ends a rank by an internal error in the middle, so that a traceback is written.
CRASH = """
import morsr_mpi.search.state as state
commit, count = state.Search.commit, [0]
def broken(self, *rest):
    count[0] += 1
    if count[0] > 1:
        raise RuntimeError("a bug, on purpose")
    return commit(self, *rest)
state.Search.commit = broken
"""


def forms(secret: bytes) -> Iterator[bytes]:
    """How a key could be written."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for shift in range(3):  # wherever it begins in a longer text of base64
        coded = base64.b64encode(bytes(shift) + secret)
        yield coded[4 if shift else 0 : len(coded) - 4]
    yield repr(secret)[2:-1].encode()


def leaks(secrets: list[bytes], data: bytes) -> list[str]:
    return [s.hex()[:8] for s in secrets if any(form in data for form in forms(s))]


def secrets_in(keys: Path) -> list[bytes]:
    """The private numbers of all key files in a directory."""
    found: list[bytes] = []
    for path in keys.glob("*.key"):
        key = load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        found.append(key.private_numbers().private_value.to_bytes(32, "big"))
    return found


@pytest.mark.subprocess_mpi
@pytest.mark.parametrize("fault", ["", CRASH], ids=["sound", "crashed"])
def test_no_private_key_is_in_anything_a_run_leaves(
    fault: str, tmp_path: Path, mpi: Command
) -> None:
    rng = np.random.default_rng(3)
    a = rng.standard_normal((60, 40))
    problem, run = tmp_path / "problem.h5", tmp_path / "run"
    Problem(a.T @ a, 3.0 * rng.standard_normal(40)).save(problem)
    ca, keys, told = tmp_path / "ca", tmp_path / "keys", tmp_path / "told"
    told.mkdir()
    pki.init(ca, "tests", 1.0)
    pki.issue(ca, keys, range(2), (), "run", 1.0)
    spy = tmp_path / "spy.py"
    spy.write_text(SPY.replace("{fault}", fault))
    program = [sys.executable, spy, told, "solve", problem, "--run-dir", run, "--keys", keys,
               "--security", "tls", "--work", "400_000", "--checkpoint-every", "0.2"]  # fmt: skip
    done = mpi(2, [*map(str, program)], ft=False, cwd=tmp_path)
    assert (done.code == 0) == (not fault), done.err
    noted = [json.loads(line) for path in told.iterdir() for line in path.read_text().splitlines()]
    secrets = secrets_in(keys) + [bytes.fromhex(what) for kind, what in noted if kind == "drawn"]
    assert len(secrets) >= 2 + 2 * 2 + 1, "of files; seed and nonce of each rank; the group's key"
    assert {what for kind, what in noted if kind == "limit"} <= {0, 1}, "a dump holds the keys"
    left = [path for path in [*run.rglob("*"), *tmp_path.glob("core*")] if path.is_file()]
    assert {"journal.morsr", "log.txt"} <= {path.name for path in left}
    if fault:
        assert "a bug, on purpose" in (run / "log.txt").read_text(), "a traceback was written"
    for path in left:
        assert leaks(secrets, path.read_bytes()) == [], path
    assert leaks(secrets, (done.out + done.err).encode()) == []
    children = [what for kind, what in noted if kind == "child"]
    assert any("guardian" in arguments for arguments, _ in children)
    assert leaks(secrets, json.dumps(children).encode()) == []


def test_the_search_for_keys_finds_them() -> None:
    secret = bytes(range(7, 39))
    for text in (secret, secret.hex().encode(), base64.b64encode(b"x" + secret + b"yz")):
        assert leaks([secret], b"before " + text + b" after") == [secret.hex()[:8]]
    assert leaks([secret], b"nothing") == []


def test_objects_with_keys_do_not_show_them() -> None:
    seed = bytes(range(32))
    signer, group = Ed25519Signer(seed), GroupKey(seed, 0, 0)
    for shown in (repr(signer), str(vars(signer)), repr(group), str(vars(group))):
        assert leaks([seed], shown.encode()) == []
    files = TlsFiles(b"chain", b"-----PRIVATE KEY----- " + seed.hex().encode(), b"roots")
    assert leaks([seed], repr(files).encode()) == []
