"""What a released version wrote stays readable, to the same digests (DESIGN section 7)."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from morsr_mpi.adapters.hdf5_checkpoint import (
    load_checkpoint,
    load_checkpoint_solution,
    save_checkpoint,
)
from morsr_mpi.adapters.hdf5_problem import load_problem, save_problem
from morsr_mpi.adapters.hdf5_result import load_result, load_run, save_result, solution_digest

DATA = Path(__file__).resolve().parents[1] / "data"

PROBLEM = "5bef5c23408436631b17a9e6da111d19ec935df087de8f9072b4b3ec3dfdd274"
SOLUTION = "a6111c5ff45d8b99cc11f242c8d4ffcec1a8609d5cf318c209d4b0d9093d5973"
CHECKPOINT = "845be32d845085383f87f9cf66b03f8e6c5927af0e01fd4d769ea47441836e19"
SECTIONS = "263f627990aa69261ac08fe8fa86e1314aa514cdaa9ad9131866cfd408f7015a"


@pytest.fixture(scope="module")
def golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_golden", DATA / "make_golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_problem(golden: ModuleType, tmp_path: Path) -> None:
    p = load_problem(DATA / "problem-1.0.h5")
    assert p.digest.hex() == PROBLEM == golden.golden_problem().digest.hex()
    save_problem(tmp_path / "again.h5", p)
    assert load_problem(tmp_path / "again.h5").digest == p.digest


def test_result(golden: ModuleType, tmp_path: Path) -> None:
    r = load_result(DATA / "result-1.0.h5")
    assert r.solution.digest().hex() == SOLUTION == golden.golden_solution().digest().hex()
    assert r.to_json() == golden.golden_result().to_json()
    assert r.problem_digest == PROBLEM
    assert load_run(DATA / "result-1.0.h5")["hosts"] == ["a", "b"]
    save_result(tmp_path / "again.h5", r)
    assert solution_digest(tmp_path / "again.h5").hex() == SOLUTION


def test_checkpoint(golden: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = DATA / "checkpoint-1.0.h5"
    assert load_checkpoint_solution(path).digest().hex() == SOLUTION
    monkeypatch.setattr("morsr_mpi.adapters.hdf5_checkpoint.ALGORITHM_VERSION", 1)
    c = load_checkpoint(path)
    assert c.digest().hex() == CHECKPOINT == golden.golden_checkpoint().digest().hex()
    assert c.state == bytes(range(256))
    save_checkpoint(tmp_path / "again.h5", c)
    assert load_checkpoint(tmp_path / "again.h5").digest() == c.digest()


def test_checkpoint_with_sections(golden: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    path = DATA / "checkpoint-1.1.h5"
    monkeypatch.setattr("morsr_mpi.adapters.hdf5_checkpoint.ALGORITHM_VERSION", 1)
    c = load_checkpoint(path)
    assert c.digest().hex() == CHECKPOINT
    assert c.sections == golden.golden_sections()
    assert c.sections is not None
    assert c.sections.digest().hex() == SECTIONS


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump is not installed")
def test_stock_h5dump_reads_them() -> None:
    for path in sorted(DATA.glob("*.h5")):
        done = subprocess.run(["h5dump", str(path)], capture_output=True, text=True, check=True)
        assert done.stdout.count("DATA {") > 5
        assert done.stderr == ""


def test_they_are_small() -> None:
    assert sum(p.stat().st_size for p in DATA.glob("*.h5")) < 49152
