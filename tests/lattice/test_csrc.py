"""The C kernels stand alone: their own tests, under sanitizers, without Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[2] / "csrc" / "tests" / "run.sh"


def test_c_kernels_under_sanitizers(tmp_path: Path) -> None:
    compiler = os.environ.get("CC", "gcc")
    if shutil.which(compiler) is None:
        pytest.skip(f"no C compiler named {compiler}")
    done = subprocess.run(
        [str(RUN)],
        env={**os.environ, "BUILD": str(tmp_path), "CC": compiler},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_lanes: ok" in done.stdout
    assert "test_e8: ok" in done.stdout
    assert "test_term: ok" in done.stdout
