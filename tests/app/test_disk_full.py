"""A disk that fills up under a run: it is said, the last checkpoint stands, the run goes on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from morsr_mpi.adapters.hdf5_checkpoint import newest_checkpoint
from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.app.rundir import RunDirectory

pytestmark = pytest.mark.subprocess_mpi
WORK = "300_000"
HELD = Path(__file__).resolve().parent.parent / "held.py"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("a disk of one's own needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def fill(ballast: IO[bytes]) -> None:
    """Take every byte that is left."""
    for size in (1 << 16, 1 << 12, 1):
        with contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(size))


def test_a_run_goes_on_and_ends_well_when_there_is_room_again(
    large: Path, disk: Path, undisturbed: bytes
) -> None:
    run = RunDirectory(disk / "run")
    options = ["--run-dir", str(run.path), "--work", WORK, "--checkpoint-every", "0.05"]
    go_on = disk.parent / "go-on"  # not before the disk has been full
    process = subprocess.Popen(
        [sys.executable, str(HELD), "10", str(go_on), "solve", str(large), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not list(run.checkpoints.glob("checkpoint-*.h5")):
            assert process.poll() is None
            time.sleep(0.005)
        with (disk / "ballast").open("wb", buffering=0) as ballast:
            said: list[str] = []
            assert process.stderr is not None
            for line in process.stderr:
                fill(ballast)  # also what a checkpoint dropped for another has freed
                said.append(line)
                if "not written" in line:
                    break
            else:
                pytest.fail("nothing was said: " + "".join(said))
            assert "No space left on device" in said[-1]
            found = newest_checkpoint(run.checkpoints)
            assert found is not None
        (disk / "ballast").unlink()
        go_on.touch()
        _, rest = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, rest
    assert solution_digest(run.result) == undisturbed
    assert not inspect_run(run.path, check=True).wrong


def test_a_run_that_cannot_write_its_result_says_so_and_can_be_resumed(
    large: Path, disk: Path, undisturbed: bytes, morsr: Callable[..., Any]
) -> None:
    run = RunDirectory(disk / "run")
    options = ["solve", large, "--run-dir", run.path, "--checkpoint-every", "1000"]
    morsr([*options, "--work", "100_000"]).check()
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        fill(ballast)
        done = morsr([*options, "--work", WORK, "--resume"])
        assert done.code in (64, 65)
        assert done.err.count("morsr: error:") == 1
        assert "No space left on device" in done.err or "make room" in done.err
    (disk / "ballast").unlink()
    morsr([*options, "--work", WORK, "--resume"]).check()
    assert solution_digest(run.result) == undisturbed
    assert not inspect_run(run.path, check=True).wrong
