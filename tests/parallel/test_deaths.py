"""Ranks die, stop and wake in mid-run over real MPI; the others end with the undisturbed bits."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from independent_verifier import verify
from kills import Running, ranks_of, send
from parallel_problem import make_problem, solution

from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.audit import audit_run
from morsr_mpi.app.replay import Replay, Request
from morsr_mpi.app.sharing import Share
from morsr_mpi.provenance.bodies import Regroup
from morsr_mpi.provenance.chain import verify_chain

pytestmark = pytest.mark.subprocess_mpi

WORK = "700000"
#: Of some thirty pulses this one waits until what is to happen has happened.
HOLD = 15


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_problem(tmp_path_factory.mktemp("deaths") / "problem.h5", 64, 100.0)


@pytest.fixture(scope="module")
def expected(problem: Path, morsr: Callable[..., Any]) -> list[bytes]:
    run = problem.parent / "undisturbed"
    morsr(["solve", problem, "--run-dir", run, "--work", WORK]).check()
    return solution(run)


def check(running: Running, expected: list[bytes]) -> dict[str, Any]:
    """The run ended well, in the bits of the undisturbed one, with a sound and sealed journal."""
    assert running.process.returncode == 0, running.err + running.log()
    assert solution(running.run) == expected
    chain = verify_chain(read_records(running.run / "ledger" / "journal.morsr"))
    assert chain.sealed
    assert any(isinstance(body, Regroup) for body in chain.bodies)
    assert audit_run(running.run, None).sealed
    verify(running.run)
    found = json.loads(running.out)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("ranks", "victims", "number", "security"),
    [
        (3, (0,), signal.SIGKILL, "sign"),
        (4, (1, 3), signal.SIGKILL, "sign"),
        (4, (2,), signal.SIGSEGV, "sign"),
        (4, (0, 2), signal.SIGKILL, "tls"),
    ],
)
def test_the_others_go_on(
    ranks: int,
    victims: tuple[int, ...],
    number: int,
    security: str,
    problem: Path,
    expected: list[bytes],
    tmp_path: Path,
) -> None:
    arguments = [problem, "--work", WORK, "--json", "--security", security]
    with Running.launch(tmp_path / "run", ranks, arguments, hold=HOLD) as running:
        running.wait_for(running.searching)
        assert len(running.signal(number, *victims)) == len(victims)
        running.wait_for(lambda: lost(running, *victims))
        running.go_on()
        running.end()
        found = check(running, expected)
        again = Replay(running.run, Request(sample=None), Share(None)).run()
        assert again.solution
        assert again.executed == again.tasks
        for victim in victims:
            assert any(f"rank {victim} died" in line for line in found["failures"])


def test_a_stopped_rank_is_left_behind_and_killed_by_its_guardian(
    problem: Path, expected: list[bytes], tmp_path: Path
) -> None:
    arguments = [problem, "--work", WORK, "--json", "--hang-timeout", "3"]
    with Running.launch(tmp_path / "run", 3, arguments, hold=HOLD) as running:
        running.wait_for(running.searching)
        running.signal(signal.SIGSTOP, 0)
        running.wait_for(lambda: lost(running, 0))
        running.go_on()
        running.end()
        found = check(running, expected)
        assert any("rank 0 does not answer" in line for line in found["failures"])


@pytest.mark.parametrize("victims", [pytest.param((1, 3), marks=pytest.mark.long), (0, 2, 4)])
def test_several_ranks_stop_at_once(
    victims: tuple[int, ...], problem: Path, expected: list[bytes], tmp_path: Path
) -> None:
    """Fewer than half are left behind at once; more are waited for until their guardians act."""
    arguments = [problem, "--work", WORK, "--json", "--hang-timeout", "3"]
    with Running.launch(tmp_path / "run", 5, arguments, hold=HOLD) as running:
        running.wait_for(running.searching)
        assert len(running.signal(signal.SIGSTOP, *victims)) == len(victims)
        running.wait_for(lambda: lost(running, *victims))
        running.go_on()
        running.end()
        found = check(running, expected)
        for victim in victims:
            assert any(f"rank {victim} " in line for line in found["failures"])


@pytest.mark.parametrize("security", ["sign", "tls"])
def test_a_rank_that_wakes_comes_back_and_does_no_harm(
    problem: Path, expected: list[bytes], tmp_path: Path, security: str
) -> None:
    arguments = [problem, "--work", WORK, "--json", "--security", security]
    arguments += ["--hang-timeout", "60"]
    with Running.launch(tmp_path / "run", 3, arguments, hold=HOLD) as running:
        running.wait_for(running.searching)
        stopped = running.signal(signal.SIGSTOP, 0)
        running.wait_for(lambda: "rank 0 does not answer" in running.log())
        assert stopped
        running.signal(signal.SIGCONT, 0)
        running.wait_for(lambda: "rank 0 is back" in running.log())
        running.go_on()
        running.end()
        check(running, expected)


def lost(running: Running, *ranks: int) -> bool:
    """Whether the others have gone on without these ranks."""
    log = running.log()
    return all(re.search(rf"rank {rank} (died|does not answer|made no)", log) for rank in ranks)


def guardian_of(pid: int) -> int:
    """The guardian process of a rank."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and b"guardian.py" in (folder / "cmdline").read_bytes():
                return int(folder.name)
    raise AssertionError(f"process {pid} has no guardian")


def test_a_rank_that_hears_too_few_others_ends_with_75_and_harms_nobody(
    problem: Path, expected: list[bytes], tmp_path: Path, morsr: Callable[..., Any]
) -> None:
    """Two of three are stopped for good, and nobody kills them: the third may not go on alone."""
    arguments = [problem, "--work", WORK, "--hang-timeout", "1", "--checkpoint-every", "0.5"]
    with Running.launch(tmp_path / "run", 3, arguments, hold=HOLD) as running:
        running.wait_for(lambda: len(list(running.run.glob("checkpoints/check*"))) > 1)
        ranks = ranks_of(running.run)
        for rank in (1, 2):
            send(guardian_of(ranks[rank]), signal.SIGKILL)
        running.signal(signal.SIGSTOP, 1, 2)
        running.wait_for(lambda: 0 not in ranks_of(running.run))
        for rank in (1, 2):
            send(ranks[rank], signal.SIGKILL)
        running.end()
        assert running.process.returncode == 75, running.err
        assert "fewer than half of the living ranks answer" in running.err
    run = tmp_path / "run"
    morsr(["solve", problem, "--run-dir", run, "--work", WORK, "--resume"]).check()
    assert solution(run) == expected
