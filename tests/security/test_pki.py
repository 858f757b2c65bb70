"""`morsr pki` as a user runs it: files, permissions, refusals."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from morsr_mpi.adapters import key_files
from morsr_mpi.app import pki
from morsr_mpi.base.errors import InputError, UsageError

Command = Callable[..., Any]


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    pki.init(tmp_path / "ca", "tests", 10.0)
    return tmp_path / "ca"


def issue(ca: Path, out: Path, ranks: tuple[int, ...] = (0, 1), **options: Any) -> Path:
    pki.issue(ca, out, ranks, options.get("hosts", ()), options.get("run"), options.get("hours", 1))
    return out


def test_the_commands_make_what_solve_takes(tmp_path: Path, morsr: Command) -> None:
    ca, keys = tmp_path / "ca", tmp_path / "keys"
    morsr(["pki", "init", str(ca)]).check()
    issued = morsr(
        ["pki", "issue", str(ca), "--ranks", "0-1,4", "--host", "H1", "--run", "r", "--out", keys]
    ).check()
    assert issued.out.count("valid until") == 4
    shown = morsr(["pki", "show", str(keys)]).check().out
    for text in ("rank:0, run:r", "rank:4, run:r", "host:h1, run:r", "CA CN=morsr", "private key"):
        assert text in shown
    assert "BEGIN" not in shown
    morsr(["pki", "revoke", str(ca), str(keys / "rank-1.pem"), "--to", str(keys)]).check()
    assert "revoked: " in morsr(["pki", "show", str(keys / "crl.pem")]).check().out
    key_files.load_identity(keys, 4, "elsewhere")
    key_files.load_identity(keys, 7, "h1.example.org")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["issue", "CA", "--out", "K"], 64, "--ranks"),
        (["issue", "CA", "--ranks", "3-1", "--out", "K"], 64, "range"),
        (["issue", "CA", "--ranks", "x", "--out", "K"], 64, "rank"),
        (["issue", "nowhere", "--ranks", "0", "--out", "K"], 65, "nowhere"),
        (["issue", "CA", "--host", "a b", "--out", "K"], 64, "host"),
        (["init", "CA"], 64, "not overwritten"),
        (["revoke", "CA"], 64, "--renew"),
        (["revoke", "CA", "zz"], 64, "neither"),
        (["show", "nothing"], 65, "nothing"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], code: int, text: str, ca: Path, tmp_path: Path, morsr: Command
) -> None:
    names = {"CA": str(ca), "K": str(tmp_path / "k")}
    done = morsr(["pki", *(names.get(a, a) for a in arguments)], cwd=tmp_path)
    assert done.code == code
    assert done.err.count("\n") == 1
    assert text in done.err


def test_private_keys_are_for_their_owner_only(ca: Path, tmp_path: Path) -> None:
    keys = issue(ca, tmp_path / "keys")
    for path in (ca / "ca.key", keys / "rank-0.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert not (keys / "ca.key").exists()


@pytest.mark.parametrize(
    ("name", "mode", "text"),
    [
        ("rank-0.key", 0o640, "chmod 600"),
        ("rank-0.key", 0o604, "chmod 600"),
        ("rank-0.pem", 0o666, "chmod go-w"),
        ("ca.pem", 0o666, "chmod go-w"),
        (".", 0o770, "chmod go-w"),
    ],
)
def test_unsafe_permissions_are_refused(
    name: str, mode: int, text: str, ca: Path, tmp_path: Path
) -> None:
    keys = issue(ca, tmp_path / "keys")
    os.chmod(keys / name, mode)
    with pytest.raises(InputError, match=text):
        key_files.load_identity(keys, 0, "h")


def test_missing_mismatched_and_foreign_files_are_named(ca: Path, tmp_path: Path) -> None:
    keys = issue(ca, tmp_path / "keys")
    with pytest.raises(InputError, match=r"no certificate for rank 5 on host h.*rank-5\.pem"):
        key_files.load_identity(keys, 5, "h")
    (keys / "rank-0.key").write_bytes((keys / "rank-1.key").read_bytes())
    with pytest.raises(InputError, match="do not belong together"):
        key_files.load_identity(keys, 0, "h")
    (keys / "rank-1.pem").write_text("nothing")
    with pytest.raises(InputError, match="no certificates"):
        key_files.load_identity(keys, 1, "h")
    pki.init(tmp_path / "other", "other", 1.0)
    with pytest.raises(InputError, match="not issued by this CA"):
        pki.revoke(tmp_path / "other", [str(keys / "rank-0.pem")], [])


def test_a_new_certificate_replaces_a_short_lived_one(ca: Path, tmp_path: Path) -> None:
    keys = issue(ca, tmp_path / "keys", (0,))
    before = (keys / "rank-0.pem").read_bytes()
    issue(ca, keys, (0,))
    assert (keys / "rank-0.pem").read_bytes() != before
    key_files.load_identity(keys, 0, "h")
    assert not [p for p in keys.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("hours", [0.0, -1.0, 1e9])
def test_lifetimes_are_bounded(hours: float, ca: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="valid for up to"):
        issue(ca, tmp_path / "keys", hours=hours)
