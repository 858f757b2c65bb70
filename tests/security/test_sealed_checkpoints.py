"""Checkpoints in envelopes: only the right key opens them, and nothing older stands in for them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from morsr_mpi import Problem
from morsr_mpi.adapters.envelope_files import EnvelopeKeys, describe_key, make_keys
from morsr_mpi.adapters.hdf5_checkpoint import (
    load_checkpoint,
    load_checkpoint_solution,
    newest_checkpoint,
    save_checkpoint,
    store_checkpoint,
)
from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.adapters.hdf5_sealed import SealedError, sealed_header
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import AuthenticationError, InputError, UsageError
from morsr_mpi.objectives.solution import Solution
from morsr_mpi.security.envelope import SUITES
from morsr_mpi.storage.checkpoint import Checkpoint

Command = Callable[..., Any]


def checkpoint(pulse: int = 5, size: int = 5000) -> Checkpoint:
    rng = np.random.default_rng(pulse)
    solution = Solution(
        rng.integers(-9, 9, (2, 16), dtype=np.int32),
        rng.random(2),
        rng.random(2),
        np.zeros(2, dtype=np.uint8),
        np.ones(2, dtype=np.int64),
    )
    return Checkpoint(sha256(b"p"), sha256(b"o"), pulse, rng.bytes(size), solution)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for suite in SUITES:
        make_keys(folder, suite)
    return folder


@pytest.mark.parametrize("suite", SUITES)
def test_what_was_sealed_is_the_checkpoint(suite: str, directory: Path, tmp_path: Path) -> None:
    keys, plain = EnvelopeKeys.load(directory, suite), checkpoint(size=40_000)
    path = tmp_path / "c.h5"
    save_checkpoint(path, plain, keys)
    assert load_checkpoint(path, EnvelopeKeys.load(directory)).digest() == plain.digest()
    assert load_checkpoint_solution(path, keys).digest() == plain.solution.digest()
    data = path.read_bytes()
    for legible in (plain.state[:32], plain.problem_digest.hex().encode(), b"doubled", b"state"):
        assert legible not in data
    said = sealed_header(path)
    assert (said.suite, said.purpose) == (suite, "morsr-checkpoint")
    assert [p.name for p in tmp_path.iterdir()] == ["c.h5"]


@pytest.mark.parametrize("suite", SUITES)
def test_without_the_right_key_it_stays_shut(suite: str, directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    save_checkpoint(path, checkpoint(), EnvelopeKeys.load(directory, suite))
    with pytest.raises(SealedError, match=f"is sealed .{suite}.*--envelope-keys"):
        load_checkpoint(path)
    other = tmp_path / "other"
    other.mkdir()
    make_keys(other, suite)
    with pytest.raises(SealedError, match="sender that is not trusted"):
        load_checkpoint(path, EnvelopeKeys.load(other))
    shutil.copy(directory / f"envelope-{suite}.sign.pub", other)
    with pytest.raises(SealedError, match="another recipient"):
        load_checkpoint(path, EnvelopeKeys.load(other))
    (other / f"envelope-{suite}.sign.pub").unlink()
    with pytest.raises(SealedError, match="is missing"):
        load_checkpoint(path, EnvelopeKeys.load(other))


def test_whoever_only_writes_needs_no_key_to_open(directory: Path, tmp_path: Path) -> None:
    writer = tmp_path / "writer"
    writer.mkdir()
    for name in ("envelope-hpke.pub", "envelope-hpke.sign.key"):
        shutil.copy2(directory / name, writer)
    keys = EnvelopeKeys.load(writer, "hpke")
    save_checkpoint(tmp_path / "c.h5", checkpoint(), keys)
    with pytest.raises(SealedError, match=r"envelope-hpke\.key is missing"):
        load_checkpoint(tmp_path / "c.h5", keys)
    load_checkpoint(tmp_path / "c.h5", EnvelopeKeys.load(directory))
    with pytest.raises(InputError, match="has no keys for envelopes"):
        EnvelopeKeys.load(writer)


def test_nothing_older_is_taken_for_a_sealed_one(directory: Path, tmp_path: Path) -> None:
    keys = EnvelopeKeys.load(directory, "hpke")
    store_checkpoint(tmp_path, checkpoint(3))
    newest = store_checkpoint(tmp_path, checkpoint(4), keys)
    with pytest.raises(SealedError):
        newest_checkpoint(tmp_path)
    found = newest_checkpoint(tmp_path, None, keys)
    assert found is not None
    assert found[1].pulse == 4
    with h5py.File(newest, "r+") as file:
        data = file["envelope"][:]
        data[-1] ^= 1
        file["envelope"][:] = data
    warnings: list[str] = []
    found = newest_checkpoint(tmp_path, warnings, keys)
    assert found is not None
    assert found[1].pulse == 3, "one that is damaged is passed over, as a plain one is"
    assert "wrong signature" in warnings[0]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0.0, 1.0), bit=st.integers(0, 7))
def test_no_damage_is_taken_in(at: float, bit: int, directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    keys = EnvelopeKeys.load(directory, "hpke")
    if not path.exists():
        save_checkpoint(path, checkpoint(size=300), keys)
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 1 << bit
    bad = tmp_path / "bad.h5"
    bad.write_bytes(data)
    try:
        found = load_checkpoint(bad, keys)
    except InputError:
        return
    assert found.digest() == checkpoint(size=300).digest(), "a byte that nothing depends on"


def test_an_envelope_is_for_one_purpose(directory: Path) -> None:
    keys = EnvelopeKeys.load(directory, "hpke")
    data = keys.seal(b"payload", "morsr-cache")
    assert keys.open(data, "morsr-cache") == b"payload"
    with pytest.raises(AuthenticationError, match="'morsr-cache', not 'morsr-checkpoint'"):
        keys.open(data, "morsr-checkpoint")


def test_unsafe_wrong_and_damaged_key_files_are_named(directory: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    shutil.copytree(directory, keys)
    with pytest.raises(UsageError, match="exists"):
        make_keys(keys, "hpke")
    os.chmod(keys / "envelope-hpke.sign.key", 0o644)
    with pytest.raises(InputError, match="chmod 600"):
        EnvelopeKeys.load(keys, "hpke")
    shutil.copy2(keys / "envelope-hpke.key", keys / "envelope-hpke.sign.key")
    with pytest.raises(InputError, match="does not hold the private key of a sender"):
        EnvelopeKeys.load(keys, "hpke")
    text = (keys / "envelope-rsa-oaep.pub").read_bytes()
    (keys / "envelope-rsa-oaep.pub").write_bytes(text[:-40])
    with pytest.raises(InputError, match="damaged"):
        EnvelopeKeys.load(keys, "rsa-oaep")
    with pytest.raises(InputError, match="not a key"):
        describe_key(b"morsr-envelope-key 9 x\n")
    assert describe_key((keys / "envelope-hpke.key").read_bytes()) == (
        "key for envelopes hpke, recipient, private"
    )


def test_a_sealed_run_stops_is_looked_at_and_goes_on(tmp_path: Path, morsr: Command) -> None:
    """As a user does it: keys, a run that stops, inspect, refusals, resume with the same bits."""
    rng = np.random.default_rng(3)
    a = rng.standard_normal((60, 40))
    problem, keys, run = tmp_path / "problem.h5", tmp_path / "keys", tmp_path / "run"
    Problem(a.T @ a, 3.0 * rng.standard_normal(40)).save(problem)
    plain = tmp_path / "plain"
    morsr(["solve", problem, "--run-dir", plain, "--work", "20_000"]).check()
    made = morsr(["pki", "envelope", keys]).check()
    assert len(made.out.split()) == 4
    assert "key for envelopes hpke, recipient, private" in morsr(["pki", "show", keys]).check().out

    start = ["solve", problem, "--run-dir", run]
    sealed = ["--envelope", "hpke", "--envelope-keys", keys]
    refused = morsr([*start, "--envelope", "hpke"])
    assert (refused.code, "morsr pki envelope" in refused.err) == (64, True)
    morsr([*start, *sealed, "--work", "5_000"]).check()
    seen = morsr(["inspect", run, "--check"]).check()
    assert "sealed: hpke" in seen.out
    newest = max((run / "checkpoints").iterdir())
    assert "morsr-checkpoint, encrypted: hpke" in morsr(["inspect", newest]).check().out

    more = [*start, "--work", "20_000", "--resume"]
    for options, text in (
        ([], "give --envelope-keys"),
        (["--envelope-keys", tmp_path / "none"], "no directory of keys"),
    ):
        done = morsr([*more, *options])
        assert done.code == 65
        assert text in done.err
    morsr(["pki", "envelope", tmp_path / "strange"]).check()
    done = morsr([*more, "--envelope-keys", tmp_path / "strange"])
    assert done.code == 65
    assert "not trusted" in done.err
    morsr([*more, *sealed]).check()
    assert solution_digest(run / "result.h5") == solution_digest(plain / "result.h5")
