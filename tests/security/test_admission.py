"""Who takes part: identities judged before a run, on real ranks; what then crosses the network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tls import files, judge, live
from toys import ToyExplorer, ToySearch, toy_settings

from morsr_mpi import Problem
from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.adapters.tls_transport import SEALED_SLOT_BYTES, TlsTransport
from morsr_mpi.app import pki
from morsr_mpi.provenance.bodies import Genesis
from morsr_mpi.provenance.chain import verify_chain

Command = Callable[..., Any]
PROGRAM = [sys.executable, "-m", "morsr_mpi"]
__all__ = ["live"]


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(3)
    a = rng.standard_normal((60, 40))
    path = tmp_path_factory.mktemp("problem") / "problem.h5"
    Problem(a.T @ a, 3.0 * rng.standard_normal(40)).save(path)
    return path


@pytest.fixture(scope="module")
def plain(problem: Path, morsr: Command, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    run = tmp_path_factory.mktemp("plain") / "run"
    morsr(["solve", str(problem), "--run-dir", str(run), "--security", "off"]).check()
    return solution_digest(run / "result.h5")


def solve(mpi: Command, problem: Path, run: Path, *options: object, ranks: int = 4) -> Any:
    arguments = ["solve", problem, "--run-dir", run, "--json", *options]
    return mpi(ranks, [*PROGRAM, *map(str, arguments)])


@pytest.mark.subprocess_mpi
@pytest.mark.parametrize("level", ["off", "sign", "tls"])
def test_same_bits_at_every_level(
    level: str, problem: Path, plain: bytes, tmp_path: Path, mpi: Command
) -> None:
    done = solve(mpi, problem, tmp_path / "run", "--security", level).check()
    assert solution_digest(tmp_path / "run" / "result.h5") == plain
    assert ("identity not established" in done.err) == (level == "tls")


@pytest.mark.subprocess_mpi
@pytest.mark.parametrize("level", ["sign", "tls"])
def test_ranks_with_bad_certificates_are_left_out_and_the_run_goes_on(
    level: str, problem: Path, plain: bytes, tmp_path: Path, mpi: Command
) -> None:
    ca, keys, run = tmp_path / "ca", tmp_path / "keys", tmp_path / "run"
    pki.init(ca, "tests", 1.0)
    pki.issue(ca, keys, range(4), (), "run", 1.0)
    pki.issue(ca, keys, [2], (), "another", 1.0)
    pki.revoke(ca, [str(keys / "rank-0.pem")], [keys])  # the coordinator, too
    done = solve(mpi, problem, run, "--security", level, "--keys", keys).check()
    found = json.loads(done.out)
    assert found["ranks"] == 2
    assert [text.split(":")[0] for text in found["failures"]] == [
        "rank 0 was left out at the start",
        "rank 2 was left out at the start",
    ]
    assert "revoked" in found["failures"][0]
    assert "for run another, not for 'run'" in found["failures"][1]
    assert "takes no part: certificate is for run another" in done.err
    genesis = verify_chain(read_records(run / "ledger" / "journal.morsr")).bodies[0]
    assert isinstance(genesis, Genesis)
    assert len(genesis.public_keys) == 2
    for text in found["failures"]:
        reason = text.split(": ", 1)[1]
        assert reason.encode() in genesis.settings, "who was left out, and why, is in the ledger"
    assert solution_digest(run / "result.h5") == plain


@pytest.mark.subprocess_mpi
def test_a_run_without_anybody_ends_with_the_reason(
    problem: Path, tmp_path: Path, mpi: Command
) -> None:
    ca, keys = tmp_path / "ca", tmp_path / "keys"
    pki.init(ca, "tests", 1.0)
    pki.issue(ca, keys, range(2), (), "other", 1.0)
    done = solve(mpi, problem, tmp_path / "run", "--keys", keys, ranks=2)
    assert done.code == 65
    assert "no rank could prove who it is; rank 0: certificate is for run other" in done.err
    assert not (tmp_path / "run").exists()
    missing = solve(mpi, problem, tmp_path / "run", "--keys", keys, ranks=3)
    assert missing.code == 65
    assert "no certificate for rank 2" in missing.err


@pytest.mark.parametrize(
    ("options", "text"),
    [(["--security", "off", "--keys", "k"], "keys are certificates"), (["--security", "x"], "'x'")],
)
def test_options_that_contradict_each_other(
    options: list[str], text: str, problem: Path, tmp_path: Path, morsr: Command
) -> None:
    done = morsr(["solve", problem, "--run-dir", tmp_path / "run", *options])
    assert done.code == 64
    assert text in done.err


def recorded(live: Any, size: int, *, tls: bool) -> tuple[bytes, bytes]:
    """What crossed the network in a run of toy nodes, and the digest of S at its end."""
    from morsr_mpi.app.loop import run_in_process
    from morsr_mpi.node.core import Node
    from morsr_mpi.security.ed25519 import Ed25519Signer
    from morsr_mpi.storage.memory_store import MemoryStore

    seen: list[bytes] = []

    def record(number: int, sender: int, receiver: int, data: bytes) -> bytes:
        seen.append(data)
        return data

    network = MemoryNetwork(size, record, SEALED_SLOT_BYTES) if tls else MemoryNetwork(size, record)
    inner = network.transport
    if tls:
        ends = {r: TlsTransport(inner(r), files(live, r), judge) for r in range(size)}
        network.transport = ends.__getitem__  # type: ignore[method-assign, assignment]
    nodes = [
        Node(toy_settings(r, size), ToySearch(pulses=6), Ed25519Signer(bytes([r + 1]) * 32),
             MemoryStore())
        for r in range(size)
    ]  # fmt: skip
    explorers = [ToyExplorer() for _ in nodes]
    outcomes = run_in_process(nodes, explorers, network=network, clock=ManualClock(step=1e-5))
    return b"".join(seen), outcomes[0].search.state_digest()


def test_nothing_of_a_run_is_legible_on_the_network_under_tls(live: Any) -> None:
    open_bytes, state = recorded(live, 3, tls=False)
    sealed, same = recorded(live, 3, tls=True)
    assert same == state
    for legible in (b"morsr", b"OPTIMIZATION", toy_settings(0, 3).problem, state):
        assert legible not in sealed
    assert toy_settings(0, 3).problem in open_bytes, "the check sees what is there"
    assert state in open_bytes


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=4, max_size=4))
def test_no_bytes_in_an_admission_crash_it(data: list[bytes]) -> None:
    from morsr_mpi.app.admission import _Admitting
    from morsr_mpi.app.agree import CommonError
    from morsr_mpi.app.world import PlainWorld

    class Heard:
        def exchange(self, own: bytes) -> list[bytes]:
            return data

    admitting = _Admitting(PlainWorld(), Heard(), "tls", None, "run")  # type: ignore[arg-type]
    with pytest.raises(CommonError):
        admitting.run()
