"""Power cuts: whatever is left of a checkpoint or a journal, the run starts again.

Every byte, on small files; and a run that is killed again and again. CI cuts at some bytes,
`pytest -m long tests/app/test_power_cut.py` at every one.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morsr_mpi import Problem, solve
from morsr_mpi.adapters.hdf5_checkpoint import (
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    store_checkpoint,
)
from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.app.resume import find_start
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.provenance.bodies import Pulse, parse
from morsr_mpi.provenance.records import decode_record
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.storage.checkpoint import Checkpoint, checkpoint_name

WORK = 150_000
#: In CI one cut in so many bytes.
EVERY = 97


@pytest.fixture(scope="module")
def problem() -> QuadraticProblem:
    rng = np.random.default_rng(5)
    q, _ = np.linalg.qr(rng.standard_normal((40, 40)))
    Q = (q * np.geomspace(1.0, 200.0, 40)) @ q.T
    return Problem((Q + Q.T) / 2, rng.uniform(-4, 4, 40))


@pytest.fixture(scope="module")
def finished(problem: QuadraticProblem, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A small run that has used its work up, with its last checkpoint and its journal."""
    run = RunDirectory(tmp_path_factory.mktemp("cut") / "run")
    solve(problem, run_dir=run.path, work=WORK)
    return run


def last_checkpoint(run: RunDirectory) -> Path:
    return max(run.checkpoints.glob("checkpoint-*.h5"))


def cuts(size: int, first: int, every: int) -> Iterator[int]:
    """Lengths to cut to: every so many, and the ends."""
    yield from sorted({*range(first, size, every), first, size - 1})


def directory_with(tmp_path: Path, older: Checkpoint, newest: bytes, name: str) -> Path:
    """A directory of checkpoints: a sound one, and bytes under another name."""
    folder = tmp_path / "checkpoints"
    folder.mkdir(exist_ok=True)
    if not any(folder.glob("checkpoint-*.h5")):
        store_checkpoint(folder, older)
    (folder / name).write_bytes(newest)
    return folder


def cut_everywhere(finished: RunDirectory, tmp_path: Path, every: int) -> int:
    """Cut the newest checkpoint to each length: the one before is taken, with a warning."""
    path = last_checkpoint(finished)
    data, newest = path.read_bytes(), load_checkpoint(path)
    older = Checkpoint(newest.problem_digest, newest.options_digest, 1, b"older", newest.solution)
    for length in cuts(len(data), 0, every):
        folder = directory_with(tmp_path, older, data[:length], path.name)
        warnings: list[str] = []
        found = newest_checkpoint(folder, warnings)
        assert found is not None
        assert found[1].state == b"older", f"cut to {length} of {len(data)} bytes"
        assert len(warnings) == 1
        assert path.name in warnings[0]
    return len(data)


def test_a_checkpoint_cut_short_falls_back(finished: RunDirectory, tmp_path: Path) -> None:
    assert cut_everywhere(finished, tmp_path, EVERY) > 10 * EVERY


@pytest.mark.long
def test_a_checkpoint_cut_at_any_byte_falls_back(finished: RunDirectory, tmp_path: Path) -> None:
    assert cut_everywhere(finished, tmp_path, 1) > 1000


def test_what_a_killed_writer_leaves_is_passed_over_and_removed(
    finished: RunDirectory, tmp_path: Path
) -> None:
    """Before the rename there is only a temporary file, complete or not."""
    path = last_checkpoint(finished)
    data, newest = path.read_bytes(), load_checkpoint(path)
    temporary = f".{path.name}.4711.tmp"
    for length in cuts(len(data) + 1, 0, EVERY):
        folder = directory_with(tmp_path, newest, data[:length], temporary)
        warnings: list[str] = []
        found = newest_checkpoint(folder, warnings)
        assert found is not None
        assert found[0].name == path.name
        assert not warnings
    store_checkpoint(folder, newest)
    assert [item.name for item in folder.iterdir()] == [path.name]


def cut_journal(
    finished: RunDirectory, problem: QuadraticProblem, tmp_path: Path, every: int
) -> int:
    """Cut the journal behind what was synced when the checkpoint was written."""
    pulse = load_checkpoint(last_checkpoint(finished)).pulse
    records = read_records(finished.journal)
    data = finished.journal.read_bytes()
    synced = 8
    for position, record in enumerate(records):
        body = parse(decode_record(record, position))
        synced += 4 + len(record)
        if isinstance(body, Pulse) and body.pulse == pulse - 1:
            break
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(finished.path, run.path)
    for length in cuts(len(data) + 1, synced, every):
        run.journal.write_bytes(data[:length])
        start = find_start(run, problem, SearchOptions(2 * WORK))
        assert start.checkpoint is not None
        assert start.restarts == 1
        assert len(start.notes) <= 1
    return len(data) - synced


def test_a_journal_cut_behind_the_checkpoint_goes_on(
    finished: RunDirectory, problem: QuadraticProblem, tmp_path: Path
) -> None:
    assert cut_journal(finished, problem, tmp_path, 11) > 100, "a certificate and a seal at least"


@pytest.mark.long
def test_a_journal_cut_at_any_byte_behind_the_checkpoint_goes_on(
    finished: RunDirectory, problem: QuadraticProblem, tmp_path: Path
) -> None:
    assert cut_journal(finished, problem, tmp_path, 1) > 100


_WRITER = """
import sys
from pathlib import Path
from morsr_mpi.adapters.hdf5_checkpoint import load_checkpoint, store_checkpoint
from dataclasses import replace
checkpoint = load_checkpoint(sys.argv[1])
for pulse in range(int(sys.argv[3]), 10**9):
    store_checkpoint(Path(sys.argv[2]), replace(checkpoint, pulse=pulse))
    print(pulse, flush=True)
"""


def kill_writers(finished: RunDirectory, tmp_path: Path, kills: int, seed: int) -> None:
    """Kill a process that writes one checkpoint after the other, each time at a random moment."""
    rng = random.Random(seed)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    sure = 0
    for _ in range(kills):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, last_checkpoint(finished), folder, str(sure + 1)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.05 * rng.random())
        writer.kill()
        said = [int(line) for line in writer.communicate()[0].splitlines() if line]
        sure = max([sure + 1, *said])
        found = newest_checkpoint(folder)
        assert found is not None
        assert found[1].pulse in (sure, sure + 1), "what was said to be written is there"
        sure = found[1].pulse


def test_a_writer_killed_at_random_leaves_a_sound_checkpoint(
    finished: RunDirectory, tmp_path: Path
) -> None:
    kill_writers(finished, tmp_path, 4, seed=1)


@pytest.mark.long
def test_many_writers_killed_at_random(finished: RunDirectory, tmp_path: Path) -> None:
    kill_writers(finished, tmp_path, 200, seed=2)


def kill_runs(path: Path, run: RunDirectory, kills: int, seed: int) -> None:
    """Start a run, kill it with SIGKILL soon after a checkpoint, and go on; then to its end."""
    rng = random.Random(seed)
    command = [sys.executable, "-m", "morsr_mpi", "solve", str(path), "--run-dir", str(run.path)]
    command += ["--work", "300_000", "--lag", "3", "--checkpoint-every", "0.05"]
    for number in range(kills):
        more = ["--resume"] if number else []
        process = subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True)
        before = set(run.checkpoints.glob("checkpoint-*.h5"))
        while process.poll() is None and not set(run.checkpoints.glob("check*.h5")) - before:
            time.sleep(0.01)
        time.sleep(0.3 * rng.random())
        process.kill()
        _, err = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), err
        found = newest_checkpoint(run.checkpoints)
        assert found is not None
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.subprocess_mpi
def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    large: Path, tmp_path: Path, morsr: Callable[..., Any]
) -> None:
    alone, run = tmp_path / "alone", RunDirectory(tmp_path / "run")
    morsr(["solve", large, "--run-dir", alone, "--work", "300_000", "--lag", "3"]).check()
    kill_runs(large, run, 2, seed=3)
    assert solution_digest(run.result) == solution_digest(alone / "result.h5")
    assert not inspect_run(run.path, check=True).wrong


def test_a_file_of_the_name_of_a_checkpoint_is_no_start(tmp_path: Path) -> None:
    (tmp_path / checkpoint_name(7)).write_bytes(b"")
    with pytest.raises(InputError, match="no checkpoint can be used"):
        newest_checkpoint(tmp_path)


def test_the_previous_stays_when_the_newest_cannot_be_written(
    finished: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up at any point of the write: the one before stands."""
    newest = load_checkpoint(last_checkpoint(finished))
    store_checkpoint(tmp_path, newest)
    full = OSError(28, "No space left on device")

    def refuse(*_: object) -> None:
        raise full

    for name in ("write_bytes", "replace"):
        with monkeypatch.context() as patch:
            target: Any = Path if name == "write_bytes" else "morsr_mpi.adapters.hdf5_common.os"
            if isinstance(target, str):
                patch.setattr(f"{target}.{name}", refuse)
            else:
                patch.setattr(target, name, refuse)
            with pytest.raises(InputError, match="No space left on device"):
                save_checkpoint(tmp_path / checkpoint_name(newest.pulse + 1), newest)
        assert [p.name for p in tmp_path.iterdir()] == [checkpoint_name(newest.pulse)]
