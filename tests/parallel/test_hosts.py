"""Runs over three hosts (network namespaces): a rank dies, a host is cut off, a host dies."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import netns_hosts
import pytest
from kills import Running
from netns_hosts import Hosts
from parallel_problem import make_problem

from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.provenance.bodies import Regroup
from morsr_mpi.provenance.chain import verify_chain

pytestmark = pytest.mark.subprocess_mpi
WORK = "2_000_000"
#: Of some forty pulses this one waits until what is to happen has happened.
HOLD = 15


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    reason = netns_hosts.why_not()
    if reason:
        pytest.skip(reason)
    with netns_hosts.hosts(tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_problem(tmp_path_factory.mktemp("hosts") / "problem.h5", 64, 300.0)


@pytest.fixture(scope="module")
def expected(problem: Path, morsr: Callable[..., Any]) -> bytes:
    run = problem.parent / "undisturbed"
    morsr(["solve", problem, "--run-dir", run, "--work", WORK]).check()
    return solution_digest(run / "result.h5")


def check(running: Running, expected: bytes) -> None:
    assert running.process.returncode == 0, running.err + running.log()
    assert solution_digest(running.run / "result.h5") == expected
    assert not inspect_run(running.run, check=True).wrong


def regrouped(run: Path) -> bool:
    bodies = verify_chain(read_records(run / "ledger" / "journal.morsr")).bodies
    return any(isinstance(body, Regroup) for body in bodies)


def test_a_rank_dies_on_another_host(
    hosts: Hosts, problem: Path, expected: bytes, tmp_path: Path
) -> None:
    with hosts.launch(tmp_path / "run", 6, [problem, "--work", WORK], hold=HOLD) as running:
        running.wait_for(running.searching)
        victims = hosts.ranks_on(running.run, "h2")
        assert len(victims) == 2
        running.signal(signal.SIGKILL, victims[0])
        running.wait_for(lambda: " died; the run goes on" in running.log())
        running.go_on()
        running.end()
        check(running, expected)
        assert regrouped(running.run)


@pytest.mark.long
def test_a_host_that_is_cut_off_is_left_behind_and_taken_in_again(
    hosts: Hosts, problem: Path, expected: bytes, tmp_path: Path
) -> None:
    with hosts.launch(tmp_path / "run", 6, [problem, "--work", WORK], hold=HOLD) as running:
        running.wait_for(running.searching)
        hosts.cut("h3")
        try:
            running.wait_for(lambda: "does not answer" in running.log())
        finally:
            hosts.cut("h3", off=False)
        running.go_on()
        running.end()
        check(running, expected)
        assert regrouped(running.run)


@pytest.mark.long
def test_a_host_that_dies_costs_a_restart_on_the_others(
    problem: Path, expected: bytes, tmp_path: Path
) -> None:
    """mpirun ends with the host's daemon; launch goes on with the hosts that answer."""
    reason = netns_hosts.why_not()
    if reason:
        pytest.skip(reason)
    with netns_hosts.hosts(tmp_path) as hosts:
        arguments = [problem, "--work", WORK, "--checkpoint-every", "1"]
        with hosts.launch(tmp_path / "run", 6, arguments, "--restarts", "2", hold=HOLD) as running:
            running.wait_for(running.searching)
            running.wait_for(lambda: len(list(running.run.glob("checkpoints/check*"))) > 1)
            hosts.kill("h3")
            running.go_on()
            running.end()
            check(running, expected)
            assert "starting again on 4 ranks without h3" in running.err
