"""What doctor looks at: file systems and cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from morsr_mpi.app import cores, filesystem
from morsr_mpi.app.doctor import examine, to_json

MOUNTS = """/dev/sda1 / ext4 rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
server:/export /tmp/with\\040blank nfs4 rw 0 0
"""


def test_file_system_of_a_path() -> None:
    assert filesystem.file_system_type(Path("/dev/shm"), MOUNTS) == "tmpfs"
    assert filesystem.file_system_type(Path("/usr"), MOUNTS) == "ext4"
    assert filesystem.file_system_type(Path("/usr"), "") == ""


def test_a_path_that_does_not_exist_counts_as_its_parent(tmp_path: Path) -> None:
    assert filesystem.existing_parent(tmp_path / "a" / "b") == tmp_path
    assert filesystem.locking_works(tmp_path / "a") == ""
    assert (filesystem.free_bytes(tmp_path / "a") or 0) > 0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
def test_one_core_shares_with_itself() -> None:
    core = min(os.sched_getaffinity(0))
    assert core in cores.siblings(core)
    assert 0.2 < cores.measure_sharing((core, core)) < 0.8


def test_doctor_looks_at_everything(tmp_path: Path) -> None:
    checks = list(examine(tmp_path))
    names = {check.name for check in checks}
    assert {
        "MPI library",
        "mpirun",
        "cores",
        "CPU level",
        "HDF5",
        "Slurm",
        "run directories",
    } <= names
    assert all(check.advice for check in checks if not check.ok)
    assert to_json(checks)["warnings"] == sum(not check.ok for check in checks)
