"""What a run directory has to tell, part by part; what cannot be read is named, not fatal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.adapters.hdf5_checkpoint import newest_checkpoint
from morsr_mpi.adapters.hdf5_problem import load_problem
from morsr_mpi.adapters.hdf5_result import load_result, load_run
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.inspect_run import scaling_text, tasks_of_job
from morsr_mpi.app.report.history import History, read_history
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.verifiers import signer_of
from morsr_mpi.base import config
from morsr_mpi.base.errors import InputError, MorsrError
from morsr_mpi.node.certified import verify_certificates
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import SolveResult
from morsr_mpi.provenance.bodies import (
    Certified,
    Epoch,
    Genesis,
    Regroup,
    Rollback,
    Seal,
    fingerprint,
)
from morsr_mpi.provenance.chain import VerifiedChain, verify_chain
from morsr_mpi.provenance.scaling import Scaling
from morsr_mpi.search.outline import open_chambers

T = TypeVar("T")


@dataclass
class Ledger:
    """What the journal says. lines: (label, text); tasks: by rank; events: losses and decisions."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    tasks: dict[int, int] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)


@dataclass
class Story:
    """One run. What is None or empty is not there; missing says why, one line each."""

    path: Path
    history: History | None = None
    result: SolveResult | None = None
    run: Mapping[str, Any] = field(default_factory=dict)
    ledger: Ledger | None = None
    frontier: dict[int, int] | None = None
    problem: QuadraticProblem | None = None
    condition: float | None = None
    moves: NDArray[np.float64] | None = None
    evidence: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What it is called on the page."""
        return self.path.resolve().name or str(self.path)

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all to show."""
        return (
            self.history is None
            and self.result is None
            and self.ledger is None
            and (self.frontier is None)
        )


def read_story(path: Path) -> Story:
    """Read what a run directory holds. Raises InputError when that is nothing of morsr's."""
    if not path.is_dir():
        raise InputError(f"{path} is no directory; name the --run-dir of a run")
    run, story = RunDirectory(path), Story(path)

    def part(what: str, file: Path, read: Callable[[], T]) -> T | None:
        """Read one part; say what is wrong with it."""
        if not file.exists():
            story.missing.append(f"{what}: {file.relative_to(path)} is not there")
            return None
        try:
            return read()
        except Exception as exc:  # damaged in whatever way: the other parts are shown
            kind = "" if isinstance(exc, MorsrError) else f"{type(exc).__name__}: "
            story.missing.append(f"{what}: {kind}{' '.join(str(exc).split())[:400]}")
            return None

    story.history = part("curves over time", run.history, lambda: read_history(run.history))
    if story.history is not None:
        story.missing += story.history.notes
        if story.history.torn:
            story.missing.append(f"curves: {story.history.torn} lines cannot be read")
    story.result = part("result", run.result, lambda: load_result(run.result))
    story.run = part("cost", run.result, lambda: load_run(run.result)) or {}
    story.ledger = part("ledger", run.journal, lambda: _ledger(run))
    story.frontier = part("open chambers", run.checkpoints, lambda: _frontier(run))
    if story.empty:
        raise InputError(
            f"{path} has nothing of a run of morsr that can be shown ({'; '.join(story.missing)})"
        )
    story.problem = part("problem", run.problem, lambda: load_problem(run.problem))
    if story.problem is not None:
        problem = story.problem
        story.condition = part("condition of Q", run.problem, lambda: _condition(problem))
    if story.problem is not None and story.result is not None:
        problem, result = story.problem, story.result
        story.moves = part("moves", run.problem, lambda: _moves(problem, result))
    if run.evidence.is_dir():
        story.evidence = part("evidence", run.evidence, lambda: _evidence(run)) or []
    story.log = part("log", run.log_file, lambda: _log(run.log_file)) or []
    return story


def _frontier(run: RunDirectory) -> dict[int, int] | None:
    newest = newest_checkpoint(run.checkpoints)
    if newest is None:
        raise InputError("there is no checkpoint")
    return open_chambers(newest[1].state)


def _condition(problem: QuadraticProblem) -> float | None:
    """Condition of Q, for Theorem 2.1; None for a Q that takes too long."""
    if problem.n > config.REPORT_DIMENSION:
        return None
    values = np.linalg.eigvalsh(problem.Q)
    return float(values[-1] / values[0])


def _moves(problem: QuadraticProblem, result: SolveResult) -> NDArray[np.float64]:
    """Tiles of the first targets less their rounded targets, in units of the scale, (·, 8)."""
    from morsr_mpi.lattice.e8 import nearest

    if problem.n != result.doubled.shape[1] or problem.k != result.doubled.shape[0]:
        raise InputError("problem.h5 and result.h5 are of different problems")
    count = max(1, config.REPORT_TILES // problem.m)
    targets = problem.targets[:count].reshape(-1, 8) / problem.scale
    rounded = nearest(np.ascontiguousarray(targets)) / 2.0
    return np.asarray(result.doubled[:count].reshape(-1, 8) / 2.0 - rounded)


def _evidence(run: RunDirectory) -> list[str]:
    found = []
    for path in sorted(run.evidence.iterdir())[: config.REPORT_LINES]:
        data = path.read_bytes()
        found.append(f"{path.name}: {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")
    return found


def _log(path: Path) -> list[str]:
    """Last lines of the log."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (64 << 10)))
        lines = file.read().decode(errors="replace").splitlines()
    return lines[-config.REPORT_LINES :]


def _ledger(run: RunDirectory) -> Ledger:
    """Check chain and certificates, count; task records are for `morsr audit`."""
    chain = verify_chain(read_records(run.journal))
    genesis = chain.bodies[0]
    assert isinstance(genesis, Genesis)
    found = Ledger(tasks=tasks_of_job(chain.bodies))
    add = found.lines.append
    add(("genesis", f"{fingerprint(chain.point.genesis)} ({chain.point.genesis.hex()})"))
    add(("written by", f"morsr {genesis.software}, security {genesis.security}"))
    pulses = len(chain.pulses())
    add(("chain", f"{chain.point.count} records, {pulses} pulses, each linked to the one before"))
    add(("certificates", _votes(chain, genesis.security)))
    add(("state", _sealed(run, chain)))
    if run.tasks.is_dir():
        paths = [p for p in run.tasks.glob("*.morsr") if not p.name.startswith(".")]
        size = sum(p.stat().st_size for p in paths)
        add(
            (
                "task records",
                f"{len(paths)} segments, {size / 2**20:.1f} MiB; `morsr audit` checks them",
            )
        )
    for before, body in pairwise(chain.bodies):
        match body:
            case Epoch() if not isinstance(before, Regroup):
                found.events.append(f"a job goes on from pulse {body.committed}")
            case Regroup():
                gone = ", ".join(f"rank {rank} {why}" for rank, why in body.gone)
                found.events.append(
                    f"group {body.epoch}: {len(body.ranks) // 2} ranks{'; ' if gone else ''}{gone}"
                )
            case Rollback():
                found.events.append(f"back to pulse {body.committed} after wrong results")
            case Scaling():
                found.events.append(scaling_text(body))
    return found


def _votes(chain: VerifiedChain, security: str) -> str:
    count = sum(isinstance(body, Certified) for body in chain.bodies)
    if count > config.REPORT_CERTIFICATES:
        return f"{count}, too many to check here: `morsr audit` does"
    votes = verify_certificates(chain, signer_of)
    worth = "valid" if security != "off" else "unsigned, so worth nothing"
    return (
        f"{votes.certificates} of a quorum for {votes.certified} pulses, {worth}; "
        f"{votes.uncertified} pulses without"
    )


def _sealed(run: RunDirectory, chain: VerifiedChain) -> str:
    seal = chain.bodies[-1]
    if not isinstance(seal, Seal):
        return "not sealed: the run goes on, was stopped, or was cut off"
    for name, size, digest in seal.files:
        if name == "result.h5":
            data = run.result.read_bytes() if run.result.exists() else b""
            if len(data) != size or hashlib.sha256(data).digest() != digest:
                raise InputError("result.h5 is not the file that was sealed")
    return f"sealed, {len(seal.files)} files; result.h5 is the one that was sealed"
