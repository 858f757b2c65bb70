"""Fixtures of the lattice tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from morsr_mpi.lattice import e8


@pytest.fixture(params=e8.LEVELS)
def cpu_level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once at every CPU level this machine has."""
    if request.param not in e8.cpu_levels():
        pytest.skip(f"this CPU has no {request.param}")
    before = e8.cpu_level()
    e8.set_cpu_level(request.param)
    yield request.param
    e8.set_cpu_level(before)
