"""Choice of the CPU level of all kernels; it changes the speed, never the bits."""

from __future__ import annotations

from morsr_mpi.base.errors import UsageError
from morsr_mpi.lattice import e8
from morsr_mpi.objectives import _terms
from morsr_mpi.search import _engine

LEVELS = ("baseline", "avx2", "avx512")


def cpu_levels() -> tuple[str, ...]:
    """Levels this CPU has, slowest first."""
    return LEVELS[: _engine.best_level() + 1]


def cpu_level() -> str:
    """Level in use."""
    return _engine.level_name()


def use_cpu_level(name: str) -> None:
    """Use the kernels of one level from now on; UsageError when this CPU lacks it."""
    if name not in cpu_levels():
        raise UsageError(f"CPU level {name!r} is not available here; choose from {cpu_levels()}")
    _engine.set_level(LEVELS.index(name))
    _terms.set_level(LEVELS.index(name))
    e8.set_cpu_level(name)
