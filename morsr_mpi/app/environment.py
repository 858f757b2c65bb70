"""What the environment says: who launched us, as which rank of how many, which CPU level.

Environment variables are read here and nowhere else. Importing this module is cheap:
neither NumPy nor mpi4py, so that a plain run and `--help` stay without MPI.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from morsr_mpi.base.errors import UsageError

#: Forces the kernels of a lower CPU level; results do not depend on it.
CPU_LEVEL_VARIABLE = "MORSR_CPU_LEVEL"
#: Set by `morsr launch` for its ranks: columns of the terminal it shows their output on,
#: 0 when that is no terminal. mpirun puts pipes in between, which hide it.
LAUNCHED_VARIABLE = "MORSR_LAUNCHED"

#: (launcher, variable of the world's size, variable of the rank), first match wins: a rank
#: of Open MPI inside a Slurm step has the variables of both.
_LAUNCHERS = (
    ("Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("MVAPICH's mpirun", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("MPICH's mpirun (PMI)", "PMI_SIZE", "PMI_RANK"),
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)


@dataclass(frozen=True)
class LaunchInfo:
    """What a launcher announced. launcher: its name, "" when there is none (a plain start).

    variable: the one that named the size.
    """

    launcher: str = ""
    size: int = 1
    rank: int = 0
    variable: str = ""

    @property
    def launched(self) -> bool:
        """Whether a launcher started this process, so that MPI has to be initialised."""
        return bool(self.launcher)


def launch_info(environ: Mapping[str, str] | None = None) -> LaunchInfo:
    """Return what the launcher announced in the environment (default: this process's)."""
    env = os.environ if environ is None else environ
    for launcher, size_name, rank_name in _LAUNCHERS:
        size, rank = _number(env.get(size_name)), _number(env.get(rank_name))
        if size is None or rank is None or not 0 <= rank < size:
            continue
        if launcher == "srun" and "SLURM_STEP_ID" not in env:
            continue
        return LaunchInfo(launcher, size, rank, size_name)
    return LaunchInfo()


def job_seconds_left(now: float, environ: Mapping[str, str] | None = None) -> float | None:
    """Return the seconds that Slurm leaves this job; None where it does not say.

    now: seconds since 1970, as SLURM_JOB_END_TIME.
    """
    env = os.environ if environ is None else environ
    end = _number(env.get("SLURM_JOB_END_TIME"))
    return None if end is None else end - now


def slurm_job(environ: Mapping[str, str] | None = None) -> tuple[str, int]:
    """Return the number of the Slurm job we are in and its nodes; "" and 1 outside of one."""
    env = os.environ if environ is None else environ
    job, task = env.get("SLURM_ARRAY_JOB_ID"), env.get("SLURM_ARRAY_TASK_ID")
    job = f"{job}_{task}" if job and task else env.get("SLURM_JOB_ID", "")
    return job, (_number(env.get("SLURM_JOB_NUM_NODES")) or 1) if job else 1


def _number(text: str | None) -> int | None:
    """Return a non-negative integer, None for anything else."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None


def fault_tolerant(environ: Mapping[str, str] | None = None) -> bool:
    """Whether Open MPI's launcher was asked for fault tolerance (`--with-ft ulfm`)."""
    env = os.environ if environ is None else environ
    return env.get("OMPI_MCA_mpi_ft_enable", "").lower() in ("1", "true", "yes")


def launch_columns(environ: Mapping[str, str] | None = None) -> int | None:
    """Columns of the terminal of `morsr launch`, 0 without one; None when it did not start us."""
    env = os.environ if environ is None else environ
    return _number(env.get(LAUNCHED_VARIABLE))


def apply_cpu_level(environ: Mapping[str, str] | None = None) -> str:
    """Select the CPU level the environment asks for, for all kernels; return the level in use.

    Raises UsageError for a level that does not exist or that this CPU does not have.
    """
    from morsr_mpi.search.cpu import cpu_level, cpu_levels, use_cpu_level

    env = os.environ if environ is None else environ
    wanted = env.get(CPU_LEVEL_VARIABLE, "")
    if wanted:
        if wanted not in cpu_levels():
            raise UsageError(
                f"{CPU_LEVEL_VARIABLE}={wanted}: this CPU offers {', '.join(cpu_levels())}; unset "
                "the variable or choose one of these"
            )
        use_cpu_level(wanted)
    return cpu_level()


def forwarded_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return names of variables that ranks on other hosts need too, sorted.

    mpirun forwards only its own; ours, Python's, those of HDF5 and of thread counts decide
    whether the ranks find the package and how they behave.
    """
    env = os.environ if environ is None else environ
    exact = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
    prefixes = ("MORSR_", "HDF5_", "OMP_", "PYTHON")
    return sorted(name for name in env if name in exact or name.startswith(prefixes))
