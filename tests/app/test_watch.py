"""watch: a run followed through its files, going on, ended, cut off, half written."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import morsr_mpi
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.watch import look, picture, watch
from morsr_mpi.base.errors import InputError


@pytest.fixture(scope="module")
def ended(large: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that has ended."""
    path = tmp_path_factory.mktemp("watch") / "run"
    morsr_mpi.solve(morsr_mpi.Problem.load(large), run_dir=path, ranks=2, work=100_000)
    return path


def test_a_run_that_has_ended_is_told_and_left(ended: Path) -> None:
    out = io.StringIO()
    watch(ended, 1.0, stream=out, sleep=lambda _: pytest.fail("nothing to wait for"))
    (line,) = out.getvalue().splitlines()
    assert line.startswith("finished, pulse ")
    assert "2 ranks" in line
    assert "targets 3/3" in line


def test_a_run_is_followed_until_it_ends(ended: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.checkpoints.mkdir()
    load = json.loads((ended / "load.json").read_text())
    lines = (ended / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    out, steps = io.StringIO(), iter(range(9))

    def sleep(_: float) -> None:
        step = next(steps)
        if step == 0:  # the ranks have met
            run.load_file.write_text(json.dumps({**load, "state": "running"}))
        elif step == 1:
            run.history.write_bytes(lines[-1] + lines[-1][:40])  # the last one is torn
        elif step == 3:
            run.load_file.write_text(json.dumps({**load, "state": "stopped"}))

    watch(tmp_path, 1.0, stream=out, sleep=sleep, clock=lambda: load["time"])
    found = [line.split(", ")[:2] for line in out.getvalue().splitlines()]
    assert [line[0] for line in found] == ["starting", "running", "running", "stopped"]
    assert found[2][1].startswith("pulse")


def test_a_run_that_is_silent_is_not_called_running(ended: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.checkpoints.mkdir()
    load = json.loads((ended / "load.json").read_text())
    run.load_file.write_text(json.dumps({**load, "state": "running"}))
    assert look(run, load["time"] + 1.0).state == "running"
    assert "silent for 100 s" in look(run, load["time"] + 100.0).state


def test_the_picture_has_every_rank_and_the_log(ended: Path) -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(picture(look(RunDirectory(ended), 0.0), ended))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for expected in ("incumbent", "gap", "rank 0", "rank 1", "█", "work used up"):
        assert expected in text


@pytest.mark.parametrize("junk", [b"", b"{}\n", b"[1]\n", b"\xff\n", b'{"version": 1}\n'])
def test_a_foreign_history_is_passed_over(junk: bytes, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.history.write_bytes(junk)
    assert look(run, 0.0).line is None


def test_what_is_no_run_is_refused(tmp_path: Path, morsr: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="no run directory"):
        watch(tmp_path, 1.0)
    done = morsr(["watch", tmp_path / "nothing"])
    assert done.code == 65
    assert len(done.err.splitlines()) == 1
