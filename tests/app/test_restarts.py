"""What `morsr launch --restarts` does when mpirun or a host is lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from kills import Running

from morsr_mpi.app import restarts
from morsr_mpi.app.fence import Fence, FencedError
from morsr_mpi.app.restarts import Host
from morsr_mpi.app.rundir import RunDirectory


def test_only_a_job_that_said_nothing_of_its_end_is_lost() -> None:
    assert restarts.is_lost(137, None)
    assert restarts.is_lost(1, None)
    assert not restarts.is_lost(137, 0), "a rank was lost on the way, the run ended well"
    for code in (0, 64, 65, 66, 75):
        assert not restarts.is_lost(code, None)


def test_hosts_of_mpiruns_arguments(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("a slots=4\n# nobody\nb\n")
    assert restarts.hosts_of(["--host", "x:2,y"]) == [Host("x", 2), Host("y", None)]
    assert restarts.hosts_of(["--hostfile", str(file)]) == [Host("a", 4), Host("b", None)]
    assert restarts.hosts_of(["--map-by", "node"]) == []


def test_hosts_that_do_not_answer_are_left_out(tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.write_text('#!/bin/sh\n[ "$1" != h3 ]\n')
    agent.chmod(0o755)
    words = [
        "--prtemca",
        "plm_ssh_agent",
        str(agent),
        "--host",
        "h1:2,h2:2,h3:2",
        "--map-by",
        "node",
    ]
    left, ranks, lost = restarts.what_is_left(words, 6)
    assert (ranks, lost) == (4, ["h3"])
    assert left[-2:] == ["--host", "h1:2,h2:2"]
    assert "h1:2,h2:2,h3:2" not in left
    assert "node" in left
    assert restarts.what_is_left(["--host", "h1:8"], 8) == (["--host", "h1:8"], 8, [])


@pytest.mark.parametrize(
    ("state", "there"),
    [("allocated", True), ("mixed", True), ("down*", False), ("idle*", False), ("", False)],
)
def test_nodes_of_slurm_that_can_run_ranks(state: str, there: bool) -> None:
    assert restarts.alive(state) == there


def test_a_run_directory_without_checkpoint_is_begun_anew(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    run.journal.write_bytes(b"begun")
    words = ["solve", "p.h5", "--run-dir", str(run.path)]
    assert restarts.resumed(words) == words
    assert not run.path.exists()
    run = RunDirectory.create(tmp_path / "run")
    (run.checkpoints / "checkpoint-000000000000.h5").write_bytes(b"x")
    assert restarts.resumed(words) == [*words, "--resume"]
    assert restarts.resumed([*words, "--resume"]) == [*words, "--resume"]


def test_only_the_newest_job_may_write(tmp_path: Path) -> None:
    first = Fence.claim(tmp_path / "fence", "job-a")
    first.check(now=True)
    second = Fence.claim(tmp_path / "fence", "job-b")
    assert second.number == first.number + 1
    second.check(now=True)
    with pytest.raises(FencedError, match="job-b"):
        first.check(now=True)
    assert not first.own()
    third = Fence.claim(tmp_path / "fence", "job-b")
    assert second.own(), "another rank of the same job"
    third.check(now=True)


@pytest.mark.subprocess_mpi
def test_a_lost_mpirun_is_started_again(
    tmp_path: Path, morsr: Callable[..., Any], large: Path
) -> None:
    whole = tmp_path / "whole"
    morsr(["solve", large, "--run-dir", whole, "--work", "200_000"]).check()
    run = tmp_path / "run"
    arguments = [large, "--work", "200_000", "--json"]
    with Running.launch(run, 2, arguments, "--restarts", "2", hold=10) as running:
        running.wait_for(running.searching)
        (mpirun,) = children(running.process.pid)
        os.kill(mpirun, signal.SIGKILL)
        running.go_on()
        assert running.end() == 0, running.err
    assert "restart 1 of 2" in running.err
    assert json.loads(running.out)["restarts"] <= 1
    assert bits(run) == bits(whole)


def children(parent: int) -> list[int]:
    """Process ids of the children of a process."""
    tasks = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(word) for word in tasks.read_text().split()]


def bits(run: Path) -> bytes:
    """Everything of /solution."""
    with h5py.File(run / "result.h5") as file:
        group = file["solution"]
        return b"".join(np.asarray(group[name]).tobytes() for name in sorted(group))
