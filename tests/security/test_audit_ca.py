"""audit --trust CA: a run whose ranks proved who they are is told from one that anybody made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import morsr_mpi
from morsr_mpi.adapters.x509_verify import TrustRoot
from morsr_mpi.app import pki
from morsr_mpi.app.audit import audit_run
from morsr_mpi.base.errors import AuthenticationError, TamperError, UsageError
from morsr_mpi.security.admissions import AdmissionRecord

SHORT = ["--work", "3000", "--json"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, morsr: Callable[..., Any]) -> Path:
    """A run with certificates of a CA, one without, and another CA."""
    path = tmp_path_factory.mktemp("trust")
    pki.init(path / "ca", "tests", 1.0)
    pki.issue(path / "ca", path / "keys", range(1), (), "run", 1.0)
    pki.init(path / "other", "others", 1.0)
    morsr_mpi.Problem(np.eye(16) + 0.1, np.full(16, 0.3)).save(path / "p.h5")
    solve = ["solve", path / "p.h5", *SHORT]
    morsr([*solve, "--run-dir", path / "run", "--keys", path / "keys"]).check()
    morsr([*solve, "--run-dir", path / "plain"]).check()
    return path


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(place / "run", tmp_path / "run"))


def admission(run: Path) -> Path:
    return next((run / "keys").glob("*.admission"))


def test_the_ca_of_the_run_vouches_for_it(place: Path, run: Path) -> None:
    for trust in (place / "ca", place / "ca" / "ca.pem", place / "keys"):
        found = audit_run(run, str(trust))
        assert found.trusted
        assert "proven by a certificate" in "\n".join(found.lines)


def test_another_ca_does_not(place: Path, run: Path) -> None:
    with pytest.raises(TamperError, match=r"key of rank 0 at start 0 .* not issued by a trusted"):
        audit_run(run, str(place / "other"))


def test_keys_that_nobody_proved_are_said_as_such(place: Path, run: Path) -> None:
    with pytest.raises(TamperError, match="no certificate was shown"):
        audit_run(place / "plain", str(place / "ca"))
    # Another run's admission is of other keys.
    shutil.copy(admission(run), place / "plain" / "keys" / admission(run).name)
    with pytest.raises(TamperError, match="no certificate was shown"):
        audit_run(place / "plain", str(place / "ca"))


def test_a_changed_admission_proves_nothing(place: Path, run: Path) -> None:
    path = admission(run)
    good = path.read_bytes()
    for bit in range(0, 8 * len(good), 199):
        wrong = bytearray(good)
        wrong[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(wrong))
        try:
            found = audit_run(run, str(place / "ca"))
        except TamperError:
            continue
        # Only the time at which the certificates were judged has no signature.
        before, after = AdmissionRecord.decode(good), AdmissionRecord.decode(bytes(wrong))
        assert found.trusted
        assert before.time != after.time
        assert before.claims() == after.claims()


def test_a_certificate_revoked_since_is_refused(place: Path, run: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca"
    shutil.copytree(place / "ca", ca)
    pki.revoke(ca, [str(place / "keys" / "rank-0.pem")], [])
    with pytest.raises(TamperError, match="revoked on"):
        audit_run(run, str(ca))


def test_what_is_no_ca_is_one_line(run: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nxyz\n")
    with pytest.raises(UsageError, match="--trust"):
        audit_run(run, str(tmp_path / "ca.pem"))
    with pytest.raises(AuthenticationError):
        TrustRoot([])
    for data in (b"", b"\x80", AdmissionRecord("r", b"c", 1.0, ((1,),)).encode()):
        with pytest.raises(AuthenticationError):
            AdmissionRecord.decode(data).claims()
