"""All checks of the project, in one go: `python3 setup.py test`.

Order: style, types, tests that run inside an MPI world, then the test suite (the C library's own
tests are part of it), whose closing line is the last thing a test runner prints. Every stage
runs even when an earlier one failed. With arguments only the suite runs, and pytest gets them:
`python3 setup.py test tests/base -k digest`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
#: Ranks of the tests that run inside an MPI world (marked `mpi`).
RANKS = 3
#: A stage that takes longer than this hangs.
STAGE_SECONDS = 1500
#: What pytest says with its exit code when there was nothing to run.
NO_TESTS = 5


def run(command: list[str], env: dict[str, str] | None = None) -> int:
    """Run a command in the checkout and return its exit code; 124 when it hangs."""
    try:
        step = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **(env or {})}, timeout=STAGE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"{command[0]} did not end within {STAGE_SECONDS} s", flush=True)
        return 124
    return step.returncode


def style() -> int:
    """Lint and formatting."""
    return run([PYTHON, "-m", "ruff", "check", "--quiet", "."]) or run(
        [PYTHON, "-m", "ruff", "format", "--quiet", "--check", "."]
    )


def types() -> int:
    """Static types, of the package and of what sets it up."""
    return run([PYTHON, "-m", "mypy"]) or run(
        [PYTHON, "-m", "mypy", ".ci/bootstrap.py", ".ci/checks.py"]
    )


def in_mpi_world() -> int:
    """The tests marked `mpi`, on a few ranks of one MPI world."""
    collect = [PYTHON, "-m", "pytest", "--only-mpi", "--collect-only", "-q", "-m", "mpi"]
    found = subprocess.run(collect, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode == NO_TESTS:
        return 0
    # Variables, not options: every MPI takes them, the ones it does not know are ignored.
    env = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    return run(["mpirun", "-n", str(RANKS), PYTHON, "-m", "pytest", "--only-mpi", "-m", "mpi"], env)


def suite(arguments: list[str]) -> int:
    """The test suite; tests that need more start mpirun themselves."""
    return run([PYTHON, "-m", "pytest", *arguments])


def main(arguments: list[str]) -> int:
    """Run the stages; 0 when all passed, otherwise 1 after naming those that did not."""
    if arguments:
        return suite(arguments)
    stages: dict[str, Callable[[], int]] = {
        "style": style,
        "types": types,
        "tests on MPI ranks": in_mpi_world,
        "test suite": lambda: suite([]),
    }
    failed = []
    for name, stage in stages.items():
        begin = time.monotonic()
        print(f"== {name}", flush=True)
        code = stage()
        if code:
            failed.append(name)
        if name != "test suite":
            took = time.monotonic() - begin
            print(f"== {name}: {'failed' if code else 'ok'} ({took:.0f} s)", flush=True)
    if failed:
        print(f"FAILED: {', '.join(failed)}; look above", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
