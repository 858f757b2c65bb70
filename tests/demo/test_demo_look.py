"""`morsr inspect` explains what a demo left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from morsr_mpi.app.api import solve
from morsr_mpi.app.demo.look import inspect_demo, is_demo
from morsr_mpi.base.errors import InputError


def left_behind(path: Path) -> Path:
    solve(np.eye(16), np.full(16, 0.3), run_dir=path / "layer1")
    layers = [{"name": "layer1", "proxy_loss": 0.0125}]
    method = {"name": "morsr", "bits_per_weight": 2.15, "accuracy": 0.96, "layers": layers}
    report = {"ranks": 2, "seconds": 23.4, "methods": [method]}
    (path / "demo.json").write_text(json.dumps(report))
    return path


def test_the_table_and_every_layer_are_shown(tmp_path: Path) -> None:
    assert not is_demo(tmp_path)
    found = inspect_demo(left_behind(tmp_path), check=True)
    assert is_demo(tmp_path)
    text = "\n".join(f"{label} {line}" for label, line in found.lines)
    assert "2 ranks, 23 s" in text
    assert "layer1 1.250 %; 2.15 bits per weight; test accuracy 96.0 %" in text
    assert "1 of 1 certified" in text
    assert found.wrong == []


def test_what_is_wrong_with_a_layer_is_said(tmp_path: Path) -> None:
    journal = left_behind(tmp_path) / "layer1" / "ledger" / "journal.morsr"
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    journal.write_bytes(bytes(data))
    found = inspect_demo(tmp_path, check=True)
    assert any(line.startswith("layer1: ") for line in found.wrong)


@pytest.mark.parametrize("report", ["", "{}", '{"ranks": 2, "seconds": 1, "methods": [3]}'])
def test_a_report_that_cannot_be_read_is_one_line(tmp_path: Path, report: str) -> None:
    (tmp_path / "demo.json").write_text(report)
    with pytest.raises(InputError, match="cannot be read"):
        inspect_demo(tmp_path, check=False)
