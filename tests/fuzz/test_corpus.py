"""Bad input is refused and nothing else happens: seeds, earlier findings, mutations of both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import SEEDS, TARGETS

HERE = Path(__file__).resolve().parent
FINDINGS = sorted((HERE / "corpus").glob("*.bin"))


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_pass(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.stem)
def test_earlier_findings_pass(path: Path) -> None:
    TARGETS[path.stem.split("-")[0]](path.read_bytes())


_EDITS = st.lists(
    st.tuples(st.integers(0, 2**16), st.integers(0, 2), st.binary(min_size=1, max_size=9)),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", TARGETS)
@given(pick=st.integers(0, 999), edits=_EDITS)
@settings(max_examples=60)
def test_edited_seeds_pass(name: str, pick: int, edits: list[tuple[int, int, bytes]]) -> None:
    data = SEEDS[name][pick % len(SEEDS[name])]
    for place, kind, piece in edits:
        at = place % (len(data) + 1)
        # Overwrite, insert, or cut out.
        data = (
            data[:at] + (piece if kind < 2 else b"") + data[at + (0 if kind == 1 else len(piece)) :]
        )
    TARGETS[name](data)


@pytest.mark.long
@pytest.mark.parametrize("name", TARGETS)
def test_coverage_guided(name: str) -> None:
    program = [sys.executable, str(HERE / "coverage_guided.py"), name, "45"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == 77:
        pytest.skip("atheris is not installed")
    assert done.returncode == 0, done.stderr[-3000:]
