"""What the environment is taken to say; environments as launchers really make them."""

from __future__ import annotations

import pytest

from morsr_mpi.app import environment
from morsr_mpi.base.errors import UsageError

OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "PMIX_RANK": "2"}
HYDRA = {"PMI_SIZE": "3", "PMI_RANK": "1"}
SRUN = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "7"}
#: A batch script itself is no rank, though Slurm gives it a SLURM_PROCID.
BATCH_SCRIPT = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("", 1, 0)),
        (OPEN_MPI, ("Open MPI's mpirun", 4, 2)),
        (HYDRA, ("MPICH's mpirun (PMI)", 3, 1)),
        (SRUN, ("srun", 8, 7)),
        (BATCH_SCRIPT, ("", 1, 0)),
        (SRUN | OPEN_MPI, ("Open MPI's mpirun", 4, 2)),
        ({"PMI_SIZE": "x", "PMI_RANK": "0"}, ("", 1, 0)),
        ({"PMI_SIZE": "2", "PMI_RANK": "2"}, ("", 1, 0)),
    ],
)
def test_launcher_is_recognised(environ: dict[str, str], expected: tuple[str, int, int]) -> None:
    info = environment.launch_info(environ)
    assert (info.launcher, info.size, info.rank) == expected
    assert info.launched == bool(expected[0])


def test_fault_tolerance_is_read_from_what_mpirun_sets() -> None:
    assert environment.fault_tolerant({"OMPI_MCA_mpi_ft_enable": "1"})
    assert not environment.fault_tolerant({"OMPI_MCA_mpi_ft_enable": "0"})
    assert not environment.fault_tolerant({})


def test_columns_behind_pipes() -> None:
    assert environment.launch_columns({}) is None
    assert environment.launch_columns({"MORSR_LAUNCHED": "0"}) == 0
    assert environment.launch_columns({"MORSR_LAUNCHED": "120"}) == 120


def test_cpu_level_that_is_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="MORSR_CPU_LEVEL=mmx: this CPU offers baseline"):
        environment.apply_cpu_level({"MORSR_CPU_LEVEL": "mmx"})


def test_cpu_level_can_be_forced() -> None:
    best = environment.apply_cpu_level({})
    try:
        assert environment.apply_cpu_level({"MORSR_CPU_LEVEL": "baseline"}) == "baseline"
    finally:
        environment.apply_cpu_level({"MORSR_CPU_LEVEL": best})


def test_variables_that_other_hosts_need() -> None:
    environ = {"PYTHONPATH": "x", "MORSR_CPU_LEVEL": "avx2", "HOME": "/", "OMP_NUM_THREADS": "1"}
    assert environment.forwarded_variables(environ) == [
        "MORSR_CPU_LEVEL",
        "OMP_NUM_THREADS",
        "PYTHONPATH",
    ]
