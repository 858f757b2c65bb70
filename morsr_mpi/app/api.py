"""The Python interface: `morsr_mpi.Problem` and `morsr_mpi.solve` (DESIGN section 7).

Works in a plain Python process, without MPI, and under mpirun, where every rank makes the
same call and gets the same result.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from numpy.typing import ArrayLike

from morsr_mpi.adapters.hdf5_problem import load_problem, save_problem
from morsr_mpi.app.agree import CommonError
from morsr_mpi.app.settings import Settings
from morsr_mpi.app.solve import run_solve
from morsr_mpi.base.errors import UsageError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import SolveResult
from morsr_mpi.objectives.tile_term import TileTerm
from morsr_mpi.search.options import DEFAULT_FRONTIER_LIMIT, DEFAULT_WORK


class Problem(QuadraticProblem):
    """Minimise (v - t)^T Q (v - t), plus a tile term if there is one, over v in scale * E8^m.

    Q: (n, n) real, symmetric, positive definite, n a multiple of 8. target: (n,), or (k, n)
    for k searches at once. scale: positive. tile_term: a mapping such as {"kind": "ball",
    "radius2": 10} (docs/objectives.md). Raises InputError for data that cannot be used;
    whether Q is positive definite turns out when it is solved.
    """

    def __init__(
        self,
        Q: ArrayLike,
        target: ArrayLike,
        scale: float = 1.0,
        tile_term: TileTerm | Mapping[str, object] | str | None = None,
    ) -> None:
        checked = QuadraticProblem.create(Q, target, scale, tile_term)
        super().__init__(checked.Q, checked.targets, checked.scale, checked.term)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the problem file for `morsr solve` (docs/formats/problem.md).

        Raises InputError when it cannot be written.
        """
        save_problem(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Problem:
        """Return the problem of a file; raises InputError for a file that cannot be used."""
        loaded = load_problem(path)
        problem = cls.__new__(cls)
        QuadraticProblem.__init__(problem, loaded.Q, loaded.targets, loaded.scale, loaded.term)
        return problem


def solve(
    problem: QuadraticProblem | ArrayLike,
    target: ArrayLike | None = None,
    scale: float = 1.0,
    *,
    tile_term: TileTerm | Mapping[str, object] | str | None = None,
    work: float | None = DEFAULT_WORK,
    run_dir: str | os.PathLike[str] | None = None,
    ranks: int = 1,
    pulse_tasks: int | None = None,
    frontier_limit: int = DEFAULT_FRONTIER_LIMIT,
    lag: int = 0,
    asynchrony: Literal["ordered", "free"] = "ordered",
    coordinator: Literal["working", "dedicated"] = "working",
    security: Literal["off", "sign"] = "sign",
    cache: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 30.0,
    max_hours: float | None = None,
    resume: bool = False,
    progress: bool = False,
) -> SolveResult:
    """Solve a problem, or Q and target(s) given as arrays.

    tile_term: as in Problem, where Q is given.
    work: units per target, about a microsecond of one core each; None or inf: until
    certified. run_dir: as `--run-dir`; None keeps everything in memory. ranks: nodes in this
    process (one thread, for trying things out; speed comes from mpirun). progress: lines on
    standard error. asynchrony: as `--async`. The other options are those of `morsr solve`
    (docs/reference-cli.md). A run that was stopped early returns what it has: look at `certified`.
    Raises InputError and UsageError, on every rank alike.
    """
    if isinstance(problem, QuadraticProblem):
        if target is not None:
            raise UsageError("solve(problem) takes no target: the problem has its own")
        if tile_term is not None:
            raise UsageError("solve(problem) takes no tile_term: the problem has its own or none")
        ready = problem
    elif target is None:
        raise UsageError("solve(Q, target) needs a target; or pass a Problem")
    else:
        ready = Problem(problem, target, scale, tile_term)
    settings = Settings(
        work=_units(work),
        pulse_tasks=pulse_tasks,
        frontier_limit=frontier_limit,
        lag=lag,
        asynchrony=asynchrony,
        run_dir=None if run_dir is None else Path(run_dir),
        max_hours=max_hours,
        coordinator=coordinator,
        security=security,
        cache=None if cache is None else Path(cache),
        checkpoint_every=checkpoint_every,
        resume=resume,
        ranks=ranks,
    )
    try:
        return run_solve(lambda: ready, settings, quiet=not progress).result
    except CommonError as exc:
        raise exc.as_error() from exc.__cause__


def _units(work: float | str | None) -> int | None:
    """Return a whole number of work units, None without limit."""
    if work is None or work in ("inf", float("inf")):
        return None
    if not isinstance(work, int | float):
        raise UsageError(f"work must be a whole number of units or None, not {work!r}")
    if work != work or work != int(work):
        raise UsageError(f"work must be a whole number of units or None, not {work!r}")
    return int(work)
