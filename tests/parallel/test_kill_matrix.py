"""Random schedules of failures over real MPI: no hang, no lost result, the undisturbed bits.

CI runs a few seeds; `MORSR_KILL_SCHEDULES=200 pytest -m long tests/parallel/test_kill_matrix.py`
runs as many as asked for.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from kills import Running, environment

from morsr_mpi import Problem
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.provenance.bodies import Regroup
from morsr_mpi.provenance.chain import verify_chain

pytestmark = pytest.mark.subprocess_mpi
FAULTY = Path(__file__).resolve().parent / "faulty_rank.py"
LATE = FAULTY.with_name("late_loss.py")
SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP)
MANY = int(os.environ.get("MORSR_KILL_SCHEDULES", "200"))


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(11)
    q, _ = np.linalg.qr(rng.normal(size=(48, 48)))
    Q = q @ np.diag(np.geomspace(1.0, 300.0, 48)) @ q.T
    path = tmp_path_factory.mktemp("matrix") / "problem.h5"
    Problem((Q + Q.T) / 2, 3.0 * rng.normal(size=48)).save(path)
    return path


def bits(run: Path) -> bytes:
    with h5py.File(run / "result.h5") as file:
        group = file["solution"]
        return b"".join(np.asarray(group[name]).tobytes() for name in sorted(group))


@pytest.fixture(scope="module")
def expected(problem: Path, morsr: Callable[..., Any]) -> bytes:
    run = problem.parent / "undisturbed"
    morsr(["solve", problem, "--run-dir", run, "--work", "300_000"]).check()
    return bits(run)


def strike(seed: int, problem: Path, run: Path) -> Running:
    """Run one schedule: 1 to 3 of 4 or 5 ranks fail, at once or one after the other."""
    rng = random.Random(seed)
    ranks = rng.choice((4, 5))
    victims = rng.sample(range(ranks), rng.randint(1, min(3, (ranks - 1) // 2 + 1)))
    together = rng.random() < 0.5
    fault = rng.choice(("", "", "exception", "exit3", "segv"))
    mpirun = shutil.which("mpirun", path=environment()["PATH"])
    options = ["--with-ft", "ulfm", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
    options += ["--allow-run-as-root"] if os.geteuid() == 0 else []
    program = [sys.executable, "-m", "morsr_mpi"]
    if fault:
        program = [sys.executable, str(FAULTY), fault, str(victims.pop()), str(rng.randint(2, 12))]
    solve = ["solve", problem, "--work", "300_000", "--hang-timeout", "3", "--run-dir", run]
    running = Running(run, [mpirun, *options, *program, *solve])
    with running:
        running.wait_for(running.searching)
        for victim in victims:
            running.signal(rng.choice(SIGNALS), victim)
            if not together:
                time.sleep(rng.random())
        running.end()
    return running


def check(running: Running, expected: bytes) -> None:
    assert (running.run / "result.h5").exists(), running.err + running.log()
    # mpirun's own code may be that of a rank that was meant to end with 3.
    assert running.process.returncode in (0, 3), running.err + running.log()
    assert bits(running.run) == expected
    assert verify_chain(read_records(running.run / "ledger" / "journal.morsr")).sealed


@pytest.mark.parametrize("seed", [4])
def test_a_sample_of_schedules(seed: int, problem: Path, expected: bytes, tmp_path: Path) -> None:
    check(strike(seed, problem, tmp_path / "run"), expected)


@pytest.mark.parametrize("fault", ["exception", "exit3"])
def test_a_rank_that_breaks_by_itself(
    fault: str, problem: Path, expected: bytes, tmp_path: Path, mpi: Callable[..., Any]
) -> None:
    run = tmp_path / "run"
    solve = ["solve", problem, "--work", "300_000", "--hang-timeout", "3", "--run-dir", run]
    done = mpi(3, [sys.executable, FAULTY, fault, "1", "3", *solve], timeout=120)
    assert done.code in (0, 3), done.err
    assert bits(run) == expected
    if fault == "exception":
        assert "rank 1: internal error: ValueError: a bug in the engine" in done.err


def test_a_rank_that_loses_the_others_at_the_end_finds_them_again(
    problem: Path, expected: bytes, tmp_path: Path, mpi: Callable[..., Any]
) -> None:
    """They have left the search and wait for it: nobody may wait where nobody looks."""
    run = tmp_path / "run"
    solve = ["solve", problem, "--work", "300_000", "--run-dir", run]
    mpi(3, [sys.executable, LATE, "1", *solve], timeout=100).check()
    assert bits(run) == expected
    chain = verify_chain(read_records(run / "ledger" / "journal.morsr"))
    assert chain.sealed
    assert any(isinstance(body, Regroup) for body in chain.bodies)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 100 + MANY))
def test_many_schedules(seed: int, problem: Path, expected: bytes, tmp_path: Path) -> None:
    check(strike(seed, problem, tmp_path / "run"), expected)
