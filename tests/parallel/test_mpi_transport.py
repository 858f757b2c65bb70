"""The transport's contract over MPI: `mpirun -n N pytest --only-mpi`, and in a subprocess."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.mpi
def test_contract_in_this_world() -> None:
    from transport_contract import check_transport, drive_alone

    from morsr_mpi.adapters.mpi import MpiTransport

    drive_alone(MpiTransport(), check_transport)


@pytest.mark.subprocess_mpi
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_contract_in_a_subprocess(mpi: Callable[..., Any], ranks: int) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from transport_contract import check_transport, drive_alone\n"
        "from morsr_mpi.adapters.mpi import MpiTransport\n"
        "drive_alone(MpiTransport(), check_transport)\n"
        "print('kept')\n"
    )
    done = mpi(ranks, [sys.executable, "-c", program, str(HERE.parent)], timeout=90).check()
    assert done.out.split() == ["kept"] * ranks


@pytest.mark.subprocess_mpi
def test_launcher_of_another_mpi_is_named(mpi: Callable[..., Any]) -> None:
    program = (
        "from morsr_mpi.adapters.mpi import world_size_mismatch as check\n"
        "assert check({}) is None and check({'PMI_SIZE': '1', 'PMI_RANK': 'x'}) is None\n"
        "print(check({'PMI_SIZE': '4'}))\n"
    )
    (line,) = mpi(1, [sys.executable, "-c", program]).check().out.splitlines()
    assert "MPICH announced 4 ranks" in line
    assert "sees 1" in line
