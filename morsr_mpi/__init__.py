"""Certified, reproducible minimisation over tiled E8 lattices, on one core or an MPI cluster.

    import morsr_mpi
    problem = morsr_mpi.Problem(Q, target, scale=1.0)
    result = morsr_mpi.solve(problem, work=1_000_000)

What is named here is loaded on first use: `import morsr_mpi` alone imports neither NumPy
nor mpi4py, so that `morsr --help` answers at once on any login node.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from morsr_mpi.base.version import __version__

if TYPE_CHECKING:
    from morsr_mpi.app.api import Problem, solve
    from morsr_mpi.app.computation_chain import verify_computation_chain
    from morsr_mpi.base.errors import InputError, MorsrError, UsageError
    from morsr_mpi.objectives.solution import SolveResult

__all__ = [
    "InputError",
    "MorsrError",
    "Problem",
    "SolveResult",
    "UsageError",
    "__version__",
    "solve",
    "verify_computation_chain",
]

_WHERE = {
    "InputError": "morsr_mpi.base.errors",
    "MorsrError": "morsr_mpi.base.errors",
    "Problem": "morsr_mpi.app.api",
    "SolveResult": "morsr_mpi.objectives.solution",
    "UsageError": "morsr_mpi.base.errors",
    "solve": "morsr_mpi.app.api",
    "verify_computation_chain": "morsr_mpi.app.computation_chain",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names for completion, those not loaded yet included."""
    return sorted({*globals(), *__all__})
