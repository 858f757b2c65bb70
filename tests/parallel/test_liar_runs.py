"""A whole run with a liar among its ranks: same bits, evidence, and a ledger that stands up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from independent_verifier import verify

from morsr_mpi import Problem
from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.app.audit import audit_run
from morsr_mpi.app.replay import Replay, Request
from morsr_mpi.app.sharing import Share
from morsr_mpi.base.errors import TamperError

pytestmark = pytest.mark.subprocess_mpi
PROGRAM = Path(__file__).with_name("liar_rank.py")


def test_a_run_with_a_liar_is_audited_and_replayed(
    tmp_path: Path, mpi: Callable[..., Any], morsr: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(11)
    q, _ = np.linalg.qr(rng.normal(size=(64, 64)))
    path = tmp_path / "problem.h5"
    Problem((q * np.geomspace(1.0, 100.0, 64)) @ q.T, 3.0 * rng.normal(size=(4, 64))).save(path)
    solve = ["solve", path, "--work", "300_000", "--json"]
    morsr([*solve, "--run-dir", tmp_path / "honest"]).check()
    run = tmp_path / "run"
    program = [sys.executable, PROGRAM, "votes twice", "2", *solve, "--run-dir", run]
    done = mpi(4, program).check()
    assert json.loads(done.out)["ranks"] == 4
    assert solution_digest(run / "result.h5") == solution_digest(tmp_path / "honest" / "result.h5")
    evidence = [file.name for file in (run / "evidence").iterdir()]
    assert evidence
    assert all(name.startswith("double-vote-2-") for name in evidence)
    found = audit_run(run, None)
    assert found.sealed
    assert f"seal: {len(evidence) + 1 + 4} files as sealed" in found.lines
    assert f"evidence: {len(evidence)} proven, signed by whom it accuses" in found.lines
    verify(run)
    assert Replay(run, Request(sample=None), Share(None)).run().solution
    (run / "evidence" / evidence[0]).unlink()
    with pytest.raises(TamperError, match="evidence"):
        audit_run(run, None)
