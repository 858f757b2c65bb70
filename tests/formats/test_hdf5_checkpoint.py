"""Checkpoints: sound or refused, the newest sound one is found, the previous one kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from morsr_mpi.adapters.hdf5_checkpoint import (
    load_checkpoint,
    load_checkpoint_solution,
    newest_checkpoint,
    save_checkpoint,
    store_checkpoint,
)
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InputError
from morsr_mpi.base.version import ALGORITHM_VERSION
from morsr_mpi.objectives.solution import Solution
from morsr_mpi.storage.checkpoint import Checkpoint, checkpoint_name, pulse_of_name


def checkpoint(pulse: int = 5, version: int = ALGORITHM_VERSION, size: int = 5000) -> Checkpoint:
    rng = np.random.default_rng(pulse)
    return Checkpoint(
        problem_digest=sha256(b"p"),
        options_digest=sha256(b"o"),
        pulse=pulse,
        state=rng.bytes(size),
        solution=Solution(
            rng.integers(-9, 9, (2, 16), dtype=np.int32),
            rng.random(2),
            rng.random(2),
            np.zeros(2, dtype=np.uint8),
            np.ones(2, dtype=np.int64),
        ),
        algorithm_version=version,
    )


@pytest.mark.parametrize("size", [0, 1, 5000, 3_000_000])
def test_round_trip(tmp_path: Path, size: int) -> None:
    path = tmp_path / "c.h5"
    saved = checkpoint(size=size)
    save_checkpoint(path, saved)
    loaded = load_checkpoint(path)
    assert loaded.digest() == saved.digest()
    assert loaded.state == saved.state
    assert (loaded.pulse, loaded.algorithm_version) == (5, ALGORITHM_VERSION)


def test_names() -> None:
    assert checkpoint_name(12) == "checkpoint-000000000012.h5"
    assert pulse_of_name(checkpoint_name(12)) == 12
    for other in ("checkpoint-12.h5", ".checkpoint-000000000012.h5.9.tmp", "x"):
        assert pulse_of_name(other) is None


def test_other_algorithm_version_keeps_its_solution(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    old = checkpoint(version=ALGORITHM_VERSION + 1)
    save_checkpoint(path, old)
    with pytest.raises(InputError, match=f"version {ALGORITHM_VERSION + 1}.*{ALGORITHM_VERSION} "):
        load_checkpoint(path)
    assert load_checkpoint_solution(path).digest() == old.solution.digest()


def test_belongs_to_its_problem_and_options() -> None:
    c = checkpoint()
    c.require(sha256(b"p"), sha256(b"o"))
    with pytest.raises(InputError, match="another problem"):
        c.require(sha256(b"q"), sha256(b"o"))
    with pytest.raises(InputError, match="other options"):
        c.require(sha256(b"p"), sha256(b"q"))


@pytest.mark.parametrize(
    "name", ["pulse", "algorithm_version", "problem_digest", "options_digest", "digest"]
)
def test_header_is_covered_by_the_digest(tmp_path: Path, name: str) -> None:
    path = tmp_path / "c.h5"
    save_checkpoint(path, checkpoint(version=ALGORITHM_VERSION))
    with h5py.File(path, "a") as f:
        value = f.attrs[name]
        f.attrs[name] = sha256(b"x").hex() if "digest" in name else value + 1
    with pytest.raises(InputError, match=r"damaged|algorithm version"):
        load_checkpoint(path)
    with h5py.File(path, "a") as f:
        del f.attrs[name]
    with pytest.raises(InputError, match=f"no sound attribute {name}"):
        load_checkpoint(path)


def test_state_is_covered_by_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    save_checkpoint(path, checkpoint())
    with h5py.File(path, "a") as f:
        f["state"][17] ^= 1
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(path)


def test_keeps_the_newest_two(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-000000000001.h5.77.tmp").write_bytes(b"left by a killed writer")
    (tmp_path / "note.txt").write_text("mine")
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / "missing") is None
    for pulse in (1, 2, 10):
        store_checkpoint(tmp_path, checkpoint(pulse))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        checkpoint_name(2),
        checkpoint_name(10),
        "note.txt",
    ]
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert (found[0].name, found[1].pulse) == (checkpoint_name(10), 10)


def test_falls_back_to_the_previous_sound_one(tmp_path: Path) -> None:
    store_checkpoint(tmp_path, checkpoint(1))
    newest = store_checkpoint(tmp_path, checkpoint(2))
    newest.write_bytes(newest.read_bytes()[:-100])
    warnings: list[str] = []
    found = newest_checkpoint(tmp_path, warnings)
    assert found is not None
    assert found[1].pulse == 1
    assert len(warnings) == 1
    assert "truncated" in warnings[0]
    assert checkpoint_name(2) in warnings[0]


def test_none_sound_is_an_error(tmp_path: Path) -> None:
    """Files without a sound one among them must not look like a fresh start."""
    for pulse in (1, 2):
        store_checkpoint(tmp_path, checkpoint(pulse)).write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint can be used: .*000002.h5 is empty"):
        newest_checkpoint(tmp_path)


def test_a_file_system_that_fills_up_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: the write fails half-way."""
    store_checkpoint(tmp_path, checkpoint(1))
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "import test_hdf5_checkpoint as t\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        f"    t.store_checkpoint(Path({str(tmp_path)!r}), t.checkpoint(2, size=300_000))\n"
        "except t.InputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "cannot write" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint_name(1)]
    found = newest_checkpoint(tmp_path)
    assert found is not None
    assert found[1].pulse == 1
