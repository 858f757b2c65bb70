"""What a job is given, what it returns, and small things it needs in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from morsr_mpi.app.progress import ReporterLike
from morsr_mpi.app.world import World
from morsr_mpi.base.config import MAX_REFUSAL_LINES
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import SolveResult

Load = Callable[[], QuadraticProblem]


@dataclass(frozen=True)
class Outcome:
    """result: the same on all ranks, except for what only the chief knows.

    stopped: why the run stopped early, "" when it is finished. rank, size: of this process in
    the group that ended the run; rank 0 is the chief, which speaks for all. losses: whether
    ranks were lost: then MPI is not to be finalised, which can wait for them forever. world: the
    ranks that took part.
    """

    result: SolveResult
    stopped: str
    rank: int
    size: int
    losses: bool
    world: World


@dataclass(frozen=True)
class Frame:
    """What a run is part of, where it is not all there is. before: a step that the chief takes
    alone before the problem is loaded, anew where ranks are lost meanwhile; reporter: makes what
    tells people how it goes.
    """

    before: Callable[[], None]
    reporter: Callable[..., ReporterLike]


def verdict_of(result: SolveResult, stopped: str) -> str:
    """Return how a run ended, in one word or two."""
    if stopped:
        return "stopped"
    return "certified" if bool(result.certified.all()) else "work used up"


def line_of(exc: BaseException, log_file: Path | None) -> str:
    """Return the one line for an internal error; log_file: where its traceback is."""
    text = " ".join(str(exc).split())
    where = (
        f"the traceback is in {log_file}"
        if log_file is not None
        else "run it again as `morsr --debug solve ...`"
    )
    return f"internal error: {type(exc).__name__}{': ' + text if text else ''}; {where}"


class Refusals:
    """Logs what TLS refuses, and why; beyond `config.MAX_REFUSAL_LINES` it only counts."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self.count = 0
        self._log = log

    def __call__(self, sender: int, why: str) -> None:
        """Take in one refusal. sender: the rank that it came from."""
        self.count += 1
        if self.count <= MAX_REFUSAL_LINES:
            self._log(f"refused: {why}")
