"""Batch jobs on a real Slurm of four nodes: as sent, stopped, out of time, requeued, a node lost.

CI runs the first of them; `pytest -m long tests/parallel/test_slurm.py` all.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from parallel_problem import make_problem
from slurm_cluster import Cluster, cluster

from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import InputError
from morsr_mpi.provenance.chain import verify_chain
from morsr_mpi.provenance.scaling import Scaling

pytestmark = pytest.mark.subprocess_mpi
WORK = "9_000_000"
#: Pulses that are not committed before what is to happen has happened.
HOLD = 15
MANY = "many-nodes.sbatch"


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    # Not pytest's directory: Slurm's paths must stay short.
    folder = Path(tempfile.mkdtemp(prefix="morsr-slurm-"))
    try:
        with cluster(folder / "c") as found:
            yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_problem(tmp_path_factory.mktemp("slurm") / "problem.h5", 64, 300.0)


@pytest.fixture(scope="module")
def expected(problem: Path, morsr: Callable[..., Any]) -> bytes:
    run = problem.parent / "undisturbed"
    morsr(["solve", problem, "--run-dir", run, "--work", WORK]).check()
    return solution_digest(run / "result.h5")


def begun(slurm: Cluster, job: str, run: RunDirectory, pulses: int = 1) -> None:
    """Wait until a job has written a checkpoint behind some pulses."""
    end = time.monotonic() + 120.0
    newest = f"checkpoint-{pulses:012d}.h5"
    while max((p.name for p in run.checkpoints.glob("check*.h5")), default="") < newest:
        assert time.monotonic() < end, slurm.output(job)
        assert not slurm.ended(job), slurm.output(job)
        time.sleep(0.1)


def options(run: RunDirectory, work: str = WORK) -> list[object]:
    return [run.path, "--work", work, "--checkpoint-every", "1"]


def sealed(run: RunDirectory) -> bool:
    """Whether a run is finished: its journal has the seal, which a stop does not write."""
    try:
        return verify_chain(read_records(run.journal)).sealed
    except InputError:  # it is being written, or taken over
        return False


def check(slurm: Cluster, job: str, run: RunDirectory, expected: bytes) -> None:
    """The job has ended with its run finished, sound, and with the undisturbed bits."""
    slurm.wait_for(job, lambda: slurm.ended(job) and sealed(run), seconds=180)
    assert solution_digest(run.result) == expected, slurm.output(job)
    assert not inspect_run(run.path, check=True).wrong


def test_a_job_is_stopped_requeued_and_grown(
    slurm: Cluster, problem: Path, expected: bytes, tmp_path: Path
) -> None:
    """sbatch, a stop for another size by `morsr autoscale`, requeue, resume on more nodes."""
    run = RunDirectory(tmp_path / "run")
    hold = (HOLD, tmp_path / "go-on")  # until it knows that it is to stop
    job = slurm.submit(MANY, problem, *options(run), nodes=2, options=("--time=10",), hold=hold)
    begun(slurm, job, run)
    scale = ["autoscale", run.path, "--cpu-up", "0", "--memory-up", "0", "--cpu-down", "0"]
    scale += ["--memory-down", "0", "--hold", "1", "--every", "0.5", "--once"]
    done = subprocess.run(
        [sys.executable, "-m", "morsr_mpi", *map(str, scale)],
        env=slurm.env,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr + slurm.output(job)
    assert "2 -> 3 nodes (restarted)" in done.stdout
    check(slurm, job, run, expected)
    assert "on 3 ranks" in slurm.output(job)
    chain = verify_chain(read_records(run.journal))
    (decision,) = [body for body in chain.bodies if isinstance(body, Scaling)]
    assert (decision.before, decision.after, decision.unit) == (2, 3, "nodes")
    assert "2 -> 3 nodes, restarted" in dict(inspect_run(run.path, check=False).lines)["scaling"]


@pytest.mark.long
def test_a_job_that_runs_out_of_time_is_requeued(slurm: Cluster, tmp_path: Path) -> None:
    """SIGUSR1 so many seconds before the end, a stop with a checkpoint, and on after that."""
    run = RunDirectory(tmp_path / "run")
    endless = make_problem(tmp_path / "endless.h5", 192, 1000.0)
    short = ("--time=1", "--signal=B:USR1@30")
    job = slurm.submit(MANY, endless, *options(run, "inf"), nodes=4, options=short)
    begun(slurm, job, run)
    slurm.wait(job, "PENDING", seconds=100)
    assert int(slurm.detail(job, "Restarts")) == 1
    assert "--resume" in slurm.output(job)
    found = inspect_run(run.path, check=True)
    assert not found.wrong
    assert "stopped" in dict(found.lines)["state"]
    pulses = len(verify_chain(read_records(run.journal)).pulses())
    slurm.start_again(job)  # with the same minute: so it is stopped and requeued again
    slurm.wait(job, "RUNNING", seconds=60)
    slurm.wait(job, "PENDING", seconds=100)
    assert int(slurm.detail(job, "Restarts")) == 2
    assert len(verify_chain(read_records(run.journal)).pulses()) > pulses
    assert not inspect_run(run.path, check=True).wrong
    slurm.run("scancel", job)


@pytest.mark.long
def test_scancel_stops_gracefully_and_for_good(
    slurm: Cluster, problem: Path, expected: bytes, tmp_path: Path, morsr: Callable[..., Any]
) -> None:
    run = RunDirectory(tmp_path / "run")
    hold = (HOLD, tmp_path / "go-on")
    job = slurm.submit(MANY, problem, *options(run), nodes=4, options=("--time=10",), hold=hold)
    begun(slurm, job, run)
    slurm.run("scancel", job)
    slurm.wait_for(job, lambda: slurm.ended(job))
    assert not inspect_run(run.path, check=True).wrong
    again = slurm.submit(MANY, problem, *options(run), nodes=2, options=("--time=10",))
    check(slurm, again, run, expected)


@pytest.mark.long
def test_scancel_with_a_signal_stops_and_requeues(
    slurm: Cluster, problem: Path, expected: bytes, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    size = ("--time=10",)
    hold = (HOLD, tmp_path / "go-on")
    script = "one-node.sbatch"
    job = slurm.submit(script, problem, *options(run), nodes=1, options=size, hold=hold)
    begun(slurm, job, run)
    slurm.run("scancel", "--signal=USR1", "--batch", job)
    slurm.wait(job, "PENDING", seconds=60)
    slurm.start_again(job)
    check(slurm, job, run, expected)


@pytest.mark.long
def test_a_node_killed_in_mid_run_is_survived_inside_the_allocation(
    slurm: Cluster, problem: Path, expected: bytes, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    hold = (HOLD, tmp_path / "go-on")
    job = slurm.submit(MANY, problem, *options(run), nodes=4, options=("--time=10",), hold=hold)
    begun(slurm, job, run, pulses=10)
    victim = slurm.nodes_of(job)[-1]
    slurm.kill_node(victim)
    hold[1].touch()
    try:
        check(slurm, job, run, expected)
        assert f"without {victim}" in slurm.output(job)
        assert int(slurm.detail(job, "Restarts")) == 0
    finally:
        slurm.run("slurmd", "-N", victim)


@pytest.mark.long
def test_an_array_of_problems(
    slurm: Cluster, problem: Path, expected: bytes, tmp_path: Path
) -> None:
    listed = tmp_path / "problems.txt"
    listed.write_text(f"{problem}\n{problem}\n")
    arguments = [listed, tmp_path / "runs", "--work", WORK]
    job = slurm.submit("array.sbatch", *arguments, nodes=1, options=("--time=10", "--array=1-2"))
    slurm.wait_for(job, lambda: slurm.ended(job), seconds=240)
    for number in ("1", "2"):
        assert solution_digest(tmp_path / "runs" / number / "result.h5") == expected
