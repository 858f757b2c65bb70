"""report: a page that works by itself, of runs that ended, were cut off, are damaged or foreign."""

from __future__ import annotations

import base64
import re
import shutil
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import morsr_mpi
from morsr_mpi.app.report import figures
from morsr_mpi.app.report.history import read_history
from morsr_mpi.app.report.page import page
from morsr_mpi.app.report.story import read_story
from morsr_mpi.app.report.write import make_report
from morsr_mpi.base import config
from morsr_mpi.base.errors import InputError, UsageError
from morsr_mpi.lattice.e8 import nearest

pytest.importorskip("matplotlib")
VOID = {"meta", "img", "br", "link", "hr"}
PICTURES = {"convergence", "gap", "utilisation", "phases", "frontier", "coxeter"}


class Page(HTMLParser):
    """Reads a page: its tags in order, what it refers to, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.refers: list[str] = []
        self.images: list[bytes] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and what it refers to."""
        self.tags.append(tag)
        self.text += " "
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "srcset"):
                assert value is not None
                head = "data:image/png;base64,"
                if value.startswith(head):
                    self.images.append(base64.b64decode(value[len(head) :], validate=True))
                else:
                    self.refers.append(value)

    def handle_endtag(self, tag: str) -> None:
        """A tag ends in its place."""
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data


def undrawn(path: Path) -> Page:
    """The page of a run without its pictures, looked at likewise."""
    return checked(page([read_story(path)], {}))


def looked_at(path: Path) -> Page:
    """The page, after the checks that every page passes."""
    return checked(path.read_text(encoding="utf-8"))


def checked(text: str) -> Page:
    """The page, after the checks that every page passes."""
    assert len(text.encode()) < config.REPORT_BYTES
    found = Page(text)
    assert not found.open
    assert not found.refers
    assert "script" not in found.tags
    assert not re.search(r"url\(|@import", text)
    for image in found.images:
        assert image.startswith(b"\x89PNG\r\n")
    return found


@pytest.fixture(scope="module")
def run(large: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two starts, with everything that it leaves."""
    path = tmp_path_factory.mktemp("report") / "a <run> & more"
    problem = morsr_mpi.Problem.load(large)
    morsr_mpi.solve(problem, run_dir=path, ranks=2, work=100_000)
    morsr_mpi.solve(problem, run_dir=path, ranks=2, work=200_000, resume=True)
    return path


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run to damage."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


def test_a_page_shows_a_whole_run(run: Path, tmp_path: Path) -> None:
    report = make_report([run], tmp_path)
    shown = looked_at(report.page)
    assert {p.stem for p in report.pictures} == PICTURES
    assert len(shown.images) == len(PICTURES)
    assert report.missing == ()
    for expected in (
        "a <run> & more", "parallel_efficiency", "exploration_coverage", "Failures and evidence",
        "a job goes on from pulse", "certificates", "sealed", "work used up", "communication",
    ):  # fmt: skip
        assert expected in shown.text
    result = read_story(run).result
    assert result is not None
    assert f"{result.objective.sum():.8g}" in shown.text


def test_runs_are_compared_by_their_bits(run: Path, copy: Path, tmp_path: Path) -> None:
    shown = looked_at(make_report([run, copy, tmp_path / "nothing"], tmp_path / "out").page)
    digests = re.findall(r"\b[0-9a-f]{16}\b", shown.text.split("digest of /solution")[1])
    assert digests[0] == digests[1]
    assert len(shown.images) == len(PICTURES) + 1
    assert "comparison with" in shown.text


@pytest.mark.parametrize(
    "gone", ["metrics.jsonl", "result.h5", "problem.h5", "ledger", "checkpoints", "log.txt"]
)
def test_what_is_not_there_is_said(copy: Path, gone: str) -> None:
    path = copy / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert any("is not there" in line for line in read_story(copy).missing)
    assert "is not there" in undrawn(copy).text


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "result.h5", "problem.h5", "ledger/journal.morsr", "log.txt"]
)
@pytest.mark.parametrize("how", ["torn", "noise", "empty", "directory"])
def test_what_is_damaged_is_said_and_the_rest_shown(copy: Path, name: str, how: str) -> None:
    path = copy / name
    data = path.read_bytes()
    if how == "directory":
        path.unlink()
        path.mkdir()
    else:
        noise = np.random.default_rng(1).bytes(1000)
        path.write_bytes({"torn": data[: len(data) // 2], "noise": noise, "empty": b""}[how])
    shown = undrawn(copy)
    if name != "log.txt" and not (name == "metrics.jsonl" and how == "torn"):
        assert "cannot be read" in shown.text
    assert "copy" in shown.text


def test_a_run_that_goes_on_is_shown(copy: Path) -> None:
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text(lines[0] + lines[1][:30])
    (copy / "result.h5").unlink()
    assert "lines cannot be read" in looked_at(make_report([copy]).page).text


@pytest.mark.parametrize("there", [[], ["notes.txt"], ["checkpoints/", "ledger/", "log.txt"]])
def test_nothing_to_show_is_bad_input(
    there: list[str], tmp_path: Path, morsr: Callable[..., Any]
) -> None:
    for name in there:
        path = tmp_path / name
        path.mkdir() if name.endswith("/") else path.write_text("no run")
    with pytest.raises(InputError, match="nothing of a run"):
        make_report([tmp_path])
    done = morsr(["report", tmp_path])
    assert done.code == 65
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "report.html").exists()


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no directory"):
        make_report([tmp_path / "x"])


def test_without_matplotlib_a_line_says_what_to_do(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'morsr\[report\]'"):
        make_report([run], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_page_cannot_be_made_to_do_something(copy: Path) -> None:
    with (copy / "log.txt").open("a") as file:
        file.write("<script>alert(1)</script><img src='http://example.invalid/x'>\n")
    assert "<script>alert(1)</script>" in undrawn(copy).text


def test_the_history_of_two_starts_is_one(run: Path) -> None:
    history = read_history(run / "metrics.jsonl")
    assert (np.diff(history.seconds) >= 0.0).all()
    assert sorted(set(history.starts.tolist())) == [0, 1]
    assert history.columns["elapsed"][-1] < history.seconds[-1]
    assert history.utilisation.shape == (len(history), 2)


def test_the_roots_are_those_of_the_lattice() -> None:
    roots = figures._roots()
    assert len(np.unique(roots, axis=0)) == 240
    assert (np.sum(roots * roots, axis=1) == 2.0).all()
    assert (nearest(roots) == 2.0 * roots).all()


def test_the_curve_of_the_theorem_worsens_with_ranks() -> None:
    assert figures.theorem_rate(10.0, 4) == pytest.approx(1 / 400)
    assert figures.theorem_rate(1.0, 1) < 1.0
