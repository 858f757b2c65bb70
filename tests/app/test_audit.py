"""audit: what a run has left is accepted, whatever was changed later is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from forger import forge

import morsr_mpi
from morsr_mpi.adapters.journal_file import MAGIC, read_records
from morsr_mpi.app.audit import audit_run
from morsr_mpi.base.errors import TamperError, UsageError
from morsr_mpi.provenance.bodies import Genesis, Seal
from morsr_mpi.provenance.chain import Chain, verify_chain
from morsr_mpi.security.ed25519 import Ed25519Signer

VERIFIER = Path(__file__).resolve().parents[1] / "independent_verifier.py"


def solve(path: Path, **options: Any) -> Path:
    rng = np.random.default_rng(3)
    a = rng.standard_normal((24, 24))
    morsr_mpi.solve(
        a @ a.T + 24 * np.eye(24), rng.uniform(-3, 3, (2, 24)), run_dir=path, ranks=2, **options
    )
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return solve(tmp_path_factory.mktemp("audit") / "run")


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "run"))


def journal(run: Path) -> Path:
    return run / "ledger" / "journal.morsr"


def write(run: Path, records: list[bytes]) -> None:
    framed = [len(record).to_bytes(4, "big") + record for record in records]
    journal(run).write_bytes(MAGIC + b"".join(framed))


def independent(run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(VERIFIER), str(run), *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_finished_run_is_consistent(run: Path) -> None:
    found = audit_run(run, None)
    assert (found.sealed, found.trusted) == (True, False)
    assert found.verdict == "consistent; identity not established"
    trusted = audit_run(run, found.fingerprint)
    assert trusted.verdict == "consistent; identity as trusted"
    assert audit_run(run, str(run / "keys" / "start-000.txt")).trusted
    assert independent(run, found.fingerprint).returncode == 0


def test_another_fingerprint_or_key_is_said_as_such(run: Path, tmp_path: Path) -> None:
    with pytest.raises(TamperError, match="another run, or a forged one"):
        audit_run(run, "0" * 12)
    strangers = tmp_path / "keys.txt"
    strangers.write_text("# ours\n0 " + "ab" * 32 + "\n")
    with pytest.raises(TamperError, match="key of rank 0"):
        audit_run(run, str(strangers))
    strangers.write_text("no key\n")
    with pytest.raises(UsageError, match="not a rank and a public key"):
        audit_run(run, str(strangers))
    with pytest.raises(UsageError, match="no fingerprint"):
        audit_run(run, "nowhere")


def test_a_journal_forged_and_signed_with_new_keys_fails_under_trust(run: Path) -> None:
    before = audit_run(run, None).fingerprint
    chain = verify_chain(read_records(journal(run)))
    signers = [Ed25519Signer(bytes([i]) * 32) for i in range(2)]
    forged, records = Chain(), []
    for body in chain.bodies:
        if isinstance(body, Genesis):
            fields = list(body.body())
            fields[-1] = tuple(signer.public_key for signer in signers)
            body = Genesis(*fields)  # type: ignore[arg-type]
        if isinstance(body, Seal):
            bare = Seal(body.committed, body.state, body.files)
            signature = signers[0].sign(bare.signed_bytes(forged.point.head))
            body = Seal(body.committed, body.state, body.files, ((0, signature),))
        records.append(forged.append(body))
    write(run, records)
    # The votes are those of the true keys; a forger would have to cast all of them again.
    with pytest.raises(TamperError, match="lacks valid votes"):
        audit_run(run, None)
    with pytest.raises(TamperError, match="forged"):
        audit_run(run, before)
    assert independent(run).returncode == 1


def test_a_run_forged_as_a_whole_fails_under_trust_only(run: Path) -> None:
    before = audit_run(run, None)
    known = Path(shutil.copy(run / "keys" / "start-000.txt", run.parent / "known.txt"))
    forge(run)
    after = audit_run(run, None)
    assert after.verdict == "consistent; identity not established"
    assert after.fingerprint != before.fingerprint
    assert independent(run).returncode == 0
    for trust in (before.fingerprint, str(known)):
        with pytest.raises(TamperError, match=r"forged|is not in"):
            audit_run(run, trust)
    assert independent(run, before.fingerprint).returncode == 1


def test_keys_and_problem_that_are_not_the_runs_are_named(run: Path) -> None:
    keys = run / "keys" / "start-000.txt"
    good = keys.read_text()
    for wrong, message in (
        (good + "2 " + "ab" * 32 + "\n", "the keys do not match"),
        ("no keys\n", "no list of keys"),
    ):
        keys.write_text(wrong)
        with pytest.raises(TamperError, match=message):
            audit_run(run, None)
    keys.write_text(good)
    morsr_mpi.Problem(np.eye(8), np.full(8, 0.3)).save(run / "problem.h5")
    with pytest.raises(TamperError, match="not the problem"):
        audit_run(run, None)
    (run / "problem.h5").write_bytes(b"x")
    with pytest.raises(TamperError, match=r"problem\.h5"):
        audit_run(run, None)
    (run / "problem.h5").unlink()
    audit_run(run, None)


def check_flips(run: Path, path: Path, bits: list[int]) -> None:
    path.chmod(0o644)
    data = path.read_bytes()
    for bit in bits:
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(wrong))
        with pytest.raises(TamperError):
            audit_run(run, None)
    path.write_bytes(data)
    audit_run(run, None)


PARTS = ["result.h5", "ledger/journal.morsr", "ledger/tasks/*-00000.morsr"]


@pytest.mark.parametrize("name", PARTS)
def test_flipped_bits_are_found(run: Path, name: str) -> None:
    path = next(run.glob(name))
    bits = Random(name).sample(range(8 * path.stat().st_size), 150)
    check_flips(run, path, bits)


@pytest.mark.long
@pytest.mark.parametrize("name", PARTS)
def test_every_flipped_bit_is_found(run: Path, name: str) -> None:
    path = next(run.glob(name))
    check_flips(run, path, list(range(8 * path.stat().st_size)))


def drop_last(run: Path) -> None:
    journal(run).write_bytes(journal(run).read_bytes()[:-3])


def swap(run: Path) -> None:
    records = read_records(journal(run))
    records[1], records[2] = records[2], records[1]
    write(run, records)


def leave_one_out(run: Path) -> None:
    records = read_records(journal(run))
    write(run, records[:1] + records[2:])


def unsign(run: Path) -> None:
    chain = verify_chain(read_records(journal(run)))
    again, records = Chain(), []
    for body in chain.bodies:
        if isinstance(body, Seal):
            body = Seal(body.committed, body.state, body.files)
        records.append(again.append(body))
    write(run, records)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_last, "journal"),
        (swap, "record 1"),
        (leave_one_out, "record 1"),
        (unsign, "not signed"),
        (lambda run: journal(run).unlink(), "missing"),
        (lambda run: journal(run).write_bytes(b""), "journal"),
        (lambda run: journal(run).write_bytes(MAGIC), "journal"),
        (lambda run: (run / "result.h5").unlink(), "cannot be read"),
        (lambda run: (run / "ledger" / "more").write_text("x"), "not named by the seal"),
        (lambda run: (run / "ledger" / "link").symlink_to("/dev/null"), "not named by the seal"),
    ],
)
def test_what_was_changed_is_named(
    run: Path, change: Callable[[Path], object], message: str
) -> None:
    change(run)
    with pytest.raises(TamperError, match=message):
        audit_run(run, None)
    if message != "not named by the seal" or not (run / "ledger" / "link").exists():
        assert independent(run).returncode == 1


def test_a_run_without_security_says_so(tmp_path: Path) -> None:
    found = audit_run(solve(tmp_path / "off", security="off"), None)
    assert any("--security off" in line for line in found.lines)
    assert found.sealed


def test_the_command_and_its_exit_codes(run: Path, morsr: Callable[..., Any]) -> None:
    done = morsr(["audit", str(run), "--json"])
    assert done.code == 0
    said = json.loads(done.out)
    assert said["sealed"]
    assert said["fingerprint"] == audit_run(run, None).fingerprint
    (run / "result.h5").write_bytes(b"x")
    done = morsr(["audit", str(run)])
    assert done.code == 66
    assert done.err.startswith("morsr: error: ")
    assert "result.h5" in done.err
    assert len(done.err.splitlines()) == 1
