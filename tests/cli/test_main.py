"""The command line itself: help without imports, exit codes, one line per error."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from morsr_mpi.cli.main import COMMANDS


def morsr(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `morsr` in a process of its own."""
    import os

    return subprocess.run(
        [sys.executable, "-m", "morsr_mpi", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | environ,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["solve", "--help"]])
def test_help_imports_neither_numpy_nor_mpi4py(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from morsr_mpi.cli.main import run\n"
        f"code = run({arguments!r})\n"
        "heavy = {'numpy', 'mpi4py', 'h5py', 'rich', 'cryptography'} & set(sys.modules)\n"
        "print('LOADED', code, sorted(heavy))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.rstrip().endswith("LOADED 0 []")


def test_the_package_itself_is_light_and_lazy() -> None:
    code = (
        "import sys, morsr_mpi\n"
        "assert not {'numpy', 'mpi4py'} & set(sys.modules)\n"
        "assert {'solve', 'Problem'} <= set(dir(morsr_mpi))\n"
        "morsr_mpi.Problem\n"
        "assert 'numpy' in sys.modules and 'mpi4py' not in sys.modules\n"
        "try: morsr_mpi.nothing\n"
        "except AttributeError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "has no attribute 'nothing'" in done.stdout


def test_every_command_is_described() -> None:
    done = morsr()
    assert done.returncode == 0
    for name, (_, text) in COMMANDS.items():
        assert name in done.stdout
        assert text in done.stdout
        assert morsr(name, "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["solve"], "Missing argument 'PROBLEM'"),
        (["solve", "p.h5"], "Missing option '--run-dir'"),
        (["solve", "p.h5", "--run-dir", "d", "--work", "0"], "'0' is not a positive whole number"),
        (["solve", "p.h5", "--run-dir", "d", "--work", "nan"], "'nan' is not a positive whole"),
        (["solve", "p.h5", "--run-dir", "d", "--work", "many"], "neither a number of work units"),
        (["solve", "p.h5", "--run-dir", "d", "--work", "1.5"], "not a positive whole number"),
        (["solve", "p.h5", "--run-dir", "d", "--max-hours", "-1"], "not positive and finite"),
        (["solve", "p.h5", "--run-dir", "d", "--checkpoint-every", "inf"], "not positive and"),
        (["solve", "p.h5", "--run-dir", "d", "--pulse-tasks", "0"], "not in the range"),
        (["solve", "p.h5", "--run-dir", "d", "--pulse-tasks", "1000000"], "--pulse-tasks must be"),
        (["solve", "p.h5", "--run-dir", "d", "--coordinator", "none"], "is not one of"),
        (["solve", "p.h5", "--run-dir", "d", "--frobnicate"], "No such option '--frobnicate'"),
        (["launch", "--", "solve"], "Missing option '-n'"),
        (["launch", "-n", "2"], "Missing argument"),
        (["launch", "-n", "2", "--", "inspect", "x"], "does not run on several ranks"),
        (["launch", "-n", "2", "--", "solve", "p.h5"], "Missing option '--run-dir'"),
        (["plan", "p.h5"], "Missing option '-n'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_64(arguments: list[str], says: str) -> None:
    done = morsr(*arguments)
    assert done.returncode == 64
    assert done.stdout == ""
    assert done.stderr.startswith("morsr: error: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_only_rank_0_speaks() -> None:
    rank = {"OMPI_COMM_WORLD_SIZE": "2"}
    assert "No such command" in morsr("nothing", OMPI_COMM_WORLD_RANK="0", **rank).stderr
    other = morsr("nothing", OMPI_COMM_WORLD_RANK="1", **rank)
    assert (other.returncode, other.stderr) == (64, "")


def test_data_errors_are_one_line_and_exit_65() -> None:
    for arguments in (["inspect", "/nonexistent.h5"], ["plan", "/nonexistent.h5", "-n", "2"]):
        done = morsr(*arguments)
        assert (done.returncode, done.stdout) == (65, "")
        assert done.stderr == "morsr: error: /nonexistent.h5 does not exist\n"


def test_doctor_prints_json_and_nothing_else() -> None:
    done = morsr("doctor", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["warnings"] == sum(not check["ok"] for check in found["checks"])
