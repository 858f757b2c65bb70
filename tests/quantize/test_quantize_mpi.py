"""Quantizations on several ranks: the same bits on 1 to 4, after a kill, after the loss of a rank.

The commands are those of docs/quantize.md.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills import Running, environment, program, ranks_of, send
from small_model import hessians, write_model

pytestmark = pytest.mark.subprocess_mpi
Run = Callable[..., Any]
OPTIONS = ["--scale", "0.06", "--work", "3000"]
FILES = ("quantized.safetensors", "codes.safetensors")


def arguments_of(folder: Path) -> list[str]:
    """What is quantised."""
    model, calibration = write_model(folder)
    return ["quantize", str(model), "--calibration", str(calibration), *OPTIONS]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, morsr: Run) -> dict[str, bytes]:
    """The files of a run on one rank."""
    folder = tmp_path_factory.mktemp("alone")
    morsr([*arguments_of(folder), "--run-dir", str(folder / "run")]).check()
    return {name: (folder / "run" / name).read_bytes() for name in FILES}


def files_of(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in FILES}


@pytest.mark.parametrize(
    "ranks", [2, pytest.param(3, marks=pytest.mark.long), pytest.param(4, marks=pytest.mark.long)]
)
def test_the_same_bits_on_several_ranks(
    ranks: int, undisturbed: dict[str, bytes], tmp_path: Path, morsr: Run
) -> None:
    run = tmp_path / "run"
    launch = ["launch", "-n", str(ranks), "--"]
    done = morsr([*launch, *arguments_of(tmp_path), "--run-dir", str(run), "--json"]).check()
    assert files_of(run) == undisturbed
    report = json.loads(done.out)
    assert [layer["ranks"] for layer in report["layers"]] == [ranks] * 3


class Quantizing(Running):
    """A quantization whose every layer is held before it commits its second pulse."""

    @classmethod
    def start(cls, run: Path, ranks: int, arguments: list[str], *, hold: int | None) -> Quantizing:
        """Start `morsr launch`."""
        words = [*program(run, hold), "launch", "-n", str(ranks), "--"]
        return cls(run, [*words, *arguments, "--run-dir", run])

    def log(self) -> str:
        """What the run of the first layer has logged."""
        path = self.run / "layers" / "0000-a.weight" / "run" / "log.txt"
        return path.read_text() if path.exists() else ""


def test_a_job_killed_in_mid_run_goes_on_to_the_same_bits(
    undisturbed: dict[str, bytes], tmp_path: Path, morsr: Run
) -> None:
    run = tmp_path / "run"
    arguments = arguments_of(tmp_path)
    with Quantizing.start(run, 2, arguments, hold=1) as running:
        running.wait_for(running.searching)
        for pid in ranks_of(run).values():
            send(pid, signal.SIGKILL)
        assert running.end() != 0
    assert not (run / "quantized.safetensors").exists()
    again = [*arguments, "--run-dir", str(run), "--resume"]
    morsr(again).check()
    assert files_of(run) == undisturbed


def test_a_stop_file_stops_the_job_and_resume_goes_on(
    undisturbed: dict[str, bytes], tmp_path: Path, morsr: Run
) -> None:
    run = tmp_path / "run"
    arguments = arguments_of(tmp_path)
    with Quantizing.start(run, 2, arguments, hold=1) as running:
        running.wait_for(running.searching)
        (run / "STOP").touch()
        assert running.end() == 75
    assert not json.loads((run / "report.json").read_text())["finished"]
    morsr(["launch", "-n", "2", "--", *arguments, "--run-dir", str(run), "--resume"]).check()
    assert files_of(run) == undisturbed


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.long)])
def test_after_the_loss_of_a_rank_the_layer_is_finished_and_the_job_started_again(
    rank: int, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["--restarts", "1", "--", *arguments_of(tmp_path)]
    words = [*program(run, 1), "launch", "-n", "3", *arguments, "--run-dir", run]
    with Quantizing(run, words) as running:
        running.wait_for(running.searching)
        running.signal(signal.SIGKILL, rank)
        running.go_on()
        assert running.end() == 0
    assert "starting again" in running.err
    assert files_of(run) == undisturbed
    first = json.loads((run / "report.json").read_text())["layers"][0]
    assert any(f"rank {rank} died" in text for text in first["failures"])


@pytest.mark.long
def test_the_commands_of_the_page_run(tmp_path: Path, command: Run) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "quantize.md").read_text()
    text = page.split("```sh\n")[1].split("```")[0]
    write_model(tmp_path)
    forms = {name: form + 0.01 * np.eye(len(form)) for name, form in hessians().items()}
    np.savez(tmp_path / "hessians.npz", **forms)
    place = tmp_path / "programs"
    place.mkdir()
    words = " ".join(map(str, program(tmp_path, None)))
    (place / "morsr").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    (place / "morsr").chmod(0o755)
    path = f"{place}{os.pathsep}{environment()['PATH']}"
    lines = text.replace("--run-dir", "--work 2000 --run-dir")
    command(["bash", "-euc", lines], cwd=tmp_path, env={"PATH": path}, timeout=300).check()
