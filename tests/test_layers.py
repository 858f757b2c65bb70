"""The import rule, checked in the source: DESIGN section 6, docs/ARCHITECTURE.md.

Imports point downward only, siblings do not see each other, each outside library has one
layer that may use it, and below the adapters nothing can reach a clock, randomness, the
environment or a file. The checks read the source, so an import inside a function counts too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "morsr_mpi"
MAX_LINES = 400

#: Each layer and its height; those of one height are siblings and must not import each other.
HEIGHT = {
    "base": 0,
    "lattice": 1,
    "objectives": 2,
    "cluster": 3,
    "consensus": 3,
    "search": 3,
    "provenance": 3,
    "storage": 3,
    "security": 3,
    "wire": 4,
    "node": 5,
    "adapters": 6,
    "app": 7,
    "cli": 8,
}
#: Outside libraries that only some layers may import.
ONLY_IN = {
    "mpi4py": {"adapters"},
    "h5py": {"adapters"},
    "lmdb": {"adapters"},
    "safetensors": {"adapters"},
    "lz4": {"wire"},
    "ssl": {"adapters"},
    "click": {"cli"},
    "cryptography": {"security", "adapters"},
    "setuptools": set(),
    "fpylll": set(),
}
#: Standard modules through which a clock, randomness, the environment or files are reached.
IMPURE = {
    *("time", "datetime", "random", "secrets", "uuid", "os", "io", "pathlib", "tempfile", "shutil"),
    *("glob", "fcntl", "mmap", "socket", "select", "signal", "subprocess", "multiprocessing"),
    *("threading", "asyncio", "platform", "locale", "getpass", "logging", "pickle", "shelve"),
}
#: Names that reach the same without an import.
IMPURE_CALLS = {"open", "input", "print", "__import__", "eval", "exec", "breakpoint"}
IMPURE_ATTRIBUTES = {"random", "fromfile", "tofile", "memmap", "loadtxt", "savetxt", "environ"}

PYX_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", re.MULTILINE)


def layer_of(module: str) -> str | None:
    """The layer of a module name; None for the package itself and for what is outside."""
    parts = module.split(".")
    return parts[1] if parts[0] == "morsr_mpi" and len(parts) > 1 else None


def module_of(path: Path) -> str:
    """The module name of a file in the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, module: str, *, is_package: bool = False) -> Iterator[str]:
    """Every module that Python source imports, relative imports made absolute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = module.split(".")
                keep = len(up) - node.level + (1 if is_package else 0)
                base = ".".join([*up[:keep], *filter(None, [base])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def broken_imports(module: str, imported: Iterator[str]) -> list[str]:
    """What is wrong with these imports of one module, as readable lines."""
    here = layer_of(module)
    if here is None or here not in HEIGHT:  # morsr_mpi/__init__.py, __main__.py: the front door
        return []
    wrong = []
    for name in imported:
        there = layer_of(name)
        top = name.split(".")[0]
        if there in HEIGHT and there != here and HEIGHT[there] >= HEIGHT[here]:
            kind = "its sibling" if HEIGHT[there] == HEIGHT[here] else "upward:"
            wrong.append(f"{module} imports {kind} {name}")
        if there == "adapters" and here == "cli":
            wrong.append(f"{module} imports {name}: adapters are chosen in app only")
        if name == "morsr_mpi" and here != "cli":
            wrong.append(f"{module} imports the package's front door: name the module")
        if top in ONLY_IN and here not in ONLY_IN[top]:
            wrong.append(f"{module} imports {name}: only {sorted(ONLY_IN[top])} may")
        if top in IMPURE and HEIGHT[here] < HEIGHT["adapters"]:
            wrong.append(f"{module} imports {name}: nothing below adapters may")
    return sorted(set(wrong))


def impure_uses(module: str, source: str) -> list[str]:
    """Uses of built-in names and attributes that break purity below the adapters."""
    here = layer_of(module)
    if here is None or HEIGHT.get(here, 99) >= HEIGHT["adapters"]:
        return []
    tree = ast.parse(source)
    in_hash = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__hash__"
        for inner in ast.walk(node)
    }
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in IMPURE_CALLS:
                wrong.append(f"{module}:{node.lineno} calls {node.func.id}()")
            if node.func.id in ("hash", "id") and id(node) not in in_hash:
                wrong.append(f"{module}:{node.lineno} calls {node.func.id}(): differs by process")
        if isinstance(node, ast.Attribute) and node.attr in IMPURE_ATTRIBUTES:
            wrong.append(f"{module}:{node.lineno} uses .{node.attr}")
    return wrong


def python_files() -> list[Path]:
    """All Python sources of the package."""
    return sorted(p for p in PACKAGE.rglob("*.py") if "__pycache__" not in p.parts)


def counted_files() -> list[Path]:
    """All hand-written source files of the checkout; generated C and build output are not."""
    found = []
    for top in ("morsr_mpi", "csrc", "tests", "benchmarks", "slurm", ".ci"):
        for path in (ROOT / top).rglob("*"):
            if path.suffix not in (".py", ".pyx", ".pxd", ".pxi", ".c", ".h", ".inc"):
                continue
            if path.suffix == ".c" and path.with_suffix(".pyx").exists():
                continue
            found.append(path)
    return sorted([*found, ROOT / "setup.py"])


def test_every_folder_is_a_layer() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= HEIGHT.keys()
    loose = {p.name for p in PACKAGE.glob("*.py")}
    assert loose <= {"__init__.py", "__main__.py"}


def test_imports_point_downward() -> None:
    wrong = []
    for path in python_files():
        module = module_of(path)
        imported = imports_of(path.read_text(), module, is_package=path.name == "__init__.py")
        wrong += broken_imports(module, imported)
    for path in sorted(PACKAGE.rglob("*.pyx")):
        found = (a or b for a, b in PYX_IMPORT.findall(path.read_text()))
        wrong += broken_imports(module_of(path), found)
    assert not wrong, "\n".join(wrong)


def test_nothing_impure_below_the_adapters() -> None:
    wrong = [line for p in python_files() for line in impure_uses(module_of(p), p.read_text())]
    assert not wrong, "\n".join(wrong)


def test_files_stay_short() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for p in counted_files()
        if (n := len(p.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_every_module_says_what_it_is() -> None:
    silent = [str(p) for p in python_files() if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not silent


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("morsr_mpi.base.x", "import morsr_mpi.search.tasks"),
        ("morsr_mpi.search.x", "from morsr_mpi.storage.checkpoint import Checkpoint"),
        ("morsr_mpi.search.x", "from morsr_mpi import storage"),
        ("morsr_mpi.search.x", "from ..consensus import votes"),
        ("morsr_mpi.node.x", "def f():\n    from morsr_mpi.adapters import mpi"),
        ("morsr_mpi.node.x", "from mpi4py import MPI"),
        ("morsr_mpi.app.x", "import h5py"),
        ("morsr_mpi.app.x", "import click"),
        ("morsr_mpi.cli.x", "from morsr_mpi.adapters.clock import SystemClock"),
        ("morsr_mpi.lattice.x", "import cryptography.hazmat"),
        ("morsr_mpi.wire.x", "from time import monotonic"),
        ("morsr_mpi.base.x", "import os.path"),
    ],
)
def test_the_check_sees_a_broken_import(module: str, source: str) -> None:
    assert broken_imports(module, imports_of(source, module))


@pytest.mark.parametrize(
    "source",
    ["open('x')", "import numpy as np\nnp.random.default_rng()", "hash('x')", "x = a.environ"],
)
def test_the_check_sees_an_impure_use(source: str) -> None:
    assert impure_uses("morsr_mpi.search.x", source)
    assert not impure_uses("morsr_mpi.app.x", source)


def test_the_check_lets_downward_imports_pass() -> None:
    source = "from morsr_mpi.base.errors import InputError\nfrom ..base import digest\nimport numpy"
    assert not broken_imports("morsr_mpi.search.x", imports_of(source, "morsr_mpi.search.x"))
