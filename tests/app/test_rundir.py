"""The run directory is made once and never overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import UsageError


def test_a_new_directory_has_all_parts(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "a" / "b")
    assert all(part.is_dir() for part in (run.checkpoints, run.ledger, run.keys))
    run.log("hello")
    assert run.log_file.read_text().splitlines()[-1].endswith(" hello")


def test_an_empty_directory_is_taken_over(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path)


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "anything").touch()
    with pytest.raises(UsageError, match="exists; go on with it by --resume, or choose another"):
        RunDirectory.create(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        RunDirectory.create(tmp_path / "anything")


def test_a_place_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made") as caught:
        RunDirectory.create(tmp_path / "file" / "below")
    assert "\n" not in str(caught.value)


def test_resume_needs_a_directory_and_removes_the_stop_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        RunDirectory.reopen(tmp_path / "none")
    run = RunDirectory.create(tmp_path / "run")
    run.stop_file.touch()
    again = RunDirectory.reopen(run.path)
    assert again.stop_file.exists()
    again.take_over()
    assert not again.stop_file.exists()
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="is no run directory"):
        RunDirectory.reopen(tmp_path / "other")
    assert not any((tmp_path / "other").iterdir())


def test_discard_removes_what_create_made_and_nothing_else(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "a").discard()
    assert not (tmp_path / "a").exists()
    kept = RunDirectory.create(tmp_path / "b")
    (kept.path / "mine.txt").write_text("mine")
    kept.discard()
    assert (kept.path / "mine.txt").read_text() == "mine"
