"""`morsr inspect` of single files: what a problem, result or checkpoint holds, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from morsr_mpi.adapters.hdf5_checkpoint import (
    load_checkpoint,
    load_checkpoint_solution,
)
from morsr_mpi.adapters.hdf5_kind import kind_of_file
from morsr_mpi.adapters.hdf5_problem import load_problem
from morsr_mpi.adapters.hdf5_result import load_result, load_run
from morsr_mpi.adapters.hdf5_sealed import sealed_header
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.solution import Solution
from morsr_mpi.search.outline import open_chambers
from morsr_mpi.storage.checkpoint import Checkpoint
from morsr_mpi.storage.sections import Sections, Worker

#: Targets shown one by one; of the rest only the sums.
SHOWN_TARGETS = 12
#: Depths of the frontier shown one by one, and failures of a checkpoint.
SHOWN_DEPTHS = 16
SHOWN_FAILURES = 5


@dataclass
class Findings:
    """What was found: lines of (label, text) to show, and what is wrong, one line each."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, label: str, text: object) -> None:
        """Add one line."""
        self.lines.append((label, str(text)))


def inspect_file(path: Path, *, check: bool) -> Findings:
    """Explain one file. check: verify every digest it names or implies, too.

    Raises InputError for a file that is none of ours or is damaged.
    """
    kind = kind_of_file(path)
    show = _SHOW.get(kind)
    if show is None:
        raise InputError(f"{path} is a {kind} file, which this version of morsr does not know")
    found = Findings()
    found.add("file", f"{path} ({_size(path.stat().st_size)})")
    found.add("type", kind)
    show(found, path, check)
    return found


def _problem(found: Findings, path: Path, check: bool) -> None:
    problem = load_problem(path)
    found.add("dimension", f"n = {problem.n}, {problem.m} E8 tiles")
    found.add("targets", f"k = {problem.k}")
    found.add("scale", f"{problem.scale!r}")
    diagonal = np.diagonal(problem.Q)
    found.add("Q", f"symmetric; diagonal from {diagonal.min():.6g} to {diagonal.max():.6g}")
    low, high = problem.targets.min(), problem.targets.max()
    found.add("target range", f"{low:.6g} to {high:.6g}")
    found.add("digest", problem.digest.hex())
    if check:
        from morsr_mpi.search.expectation import sphere_bound
        from morsr_mpi.search.prepare import prepare

        prepared = prepare(problem)
        tolerance = prepared.tolerance
        said = "nothing can be certified" if tolerance >= 1.0 else "of a certificate"
        found.add("definite", f"Q is positive definite; tolerance {tolerance:.3g}, {said}")
        mean = sphere_bound(prepared)
        found.add("sphere bound", f"{mean:.6g} per target: an expectation, not a certificate")


def _result(found: Findings, path: Path, check: bool) -> None:
    result = load_result(path)
    run = load_run(path)
    found.add("problem", result.problem_digest)
    found.add("options", result.options_digest)
    if result.fingerprint:
        found.add("genesis", result.fingerprint)
    state = str(run.get("state", "finished"))
    found.add(
        "run",
        f"{state}; {result.ranks} rank{'s' if result.ranks != 1 else ''}, "
        f"{result.wall_seconds:.2f} s, restarts {result.restarts}",
    )
    if result.run_dir:
        found.add("run directory", result.run_dir)
    for text in result.failures:
        found.add("failure", text)
    describe_solution(found, result.solution, result.tolerance)
    if check:
        found.add("checked", "shapes, checksums and types of all datasets agree")


def _checkpoint(found: Findings, path: Path, check: bool) -> None:
    try:
        checkpoint = load_checkpoint(path)
    except InputError as exc:
        if "algorithm version" not in str(exc):
            raise
        found.add("state", str(exc))
        describe_solution(found, load_checkpoint_solution(path))
        return
    found.add("problem", checkpoint.problem_digest.hex())
    found.add("options", checkpoint.options_digest.hex())
    found.add("algorithm", f"version {checkpoint.algorithm_version}")
    found.add("pulses", f"{checkpoint.pulse} committed")
    found.add("state", _size(len(checkpoint.state)))
    describe_checkpoint(found, checkpoint)
    describe_solution(found, checkpoint.solution)
    found.add("digest", f"{checkpoint.digest().hex()} (agrees with the contents)")


def describe_checkpoint(found: Findings, checkpoint: Checkpoint) -> None:
    """Add the frontier by depth and, where the file has it, how the job stood."""
    found.add("frontier", frontier_text(open_chambers(checkpoint.state)))
    sections = checkpoint.sections
    if sections is None or not sections.members:
        return
    done = sum(task.result is not None for task in sections.flight)
    chambers = sum(task.chambers for task in sections.flight)
    found.add(
        "in flight",
        f"{len(sections.flight)} tasks with {chambers} chambers, {done} of them finished",
    )
    found.add(
        "agreement",
        f"view {sections.view}, {sections.certified} pulses certified by "
        f"{len(sections.members)} ranks, group {sections.epoch}; {sections.records} records in "
        "the journal",
    )
    for worker in sections.workers[:SHOWN_TARGETS]:
        found.add(f"rank {worker.rank}", worker_text(worker, sections))
    if len(sections.workers) > SHOWN_TARGETS:
        found.add("more ranks", len(sections.workers) - SHOWN_TARGETS)
    for text in sections.failures[-SHOWN_FAILURES:]:
        found.add("failure", text)


def frontier_text(counts: dict[int, int]) -> str:
    """Return the number of open chambers, and how many there are at each depth."""
    total = sum(counts.values())
    parts = [f"{depth}: {count}" for depth, count in counts.items()]
    if len(parts) > SHOWN_DEPTHS:
        rest = sum(list(counts.values())[SHOWN_DEPTHS:])
        parts = [*parts[:SHOWN_DEPTHS], f"deeper: {rest}"]
    by = f"; by depth in tiles {', '.join(parts)}" if parts else ""
    return f"{total} open chambers{by}"


def worker_text(worker: Worker, sections: Sections) -> str:
    """Return what one rank of a checkpoint has done and what it has to do."""
    if worker.state != "works":
        return {"gone": "gone", "absent": "does not answer"}.get(worker.state, worker.state)
    open_ = [t for t in sections.flight if t.rank == worker.rank and t.result is None]
    return (
        f"{worker.tasks} tasks counted, {sum(t.chambers for t in open_)} chambers in "
        f"{len(open_)} tasks to do; {worker.work} work units, busy {worker.busy / 1000.0:.1f} s"
    )


def _sealed(found: Findings, path: Path, check: bool) -> None:
    said = sealed_header(path)
    found.add("holds", f"{said.purpose}, encrypted: {said.suite}")
    found.add("for key", said.recipient.hex())
    found.add("signed by", f"{sha256(said.sender).hex()} (the signature agrees)")
    found.add("opens with", "solve --resume --envelope-keys DIR, DIR with that key")


_SHOW: dict[str, Callable[[Findings, Path, bool], None]] = {
    "morsr-problem": _problem,
    "morsr-result": _result,
    "morsr-checkpoint": _checkpoint,
    "morsr-envelope": _sealed,
}


def describe_solution(found: Findings, solution: Solution, tolerance: float | None = None) -> None:
    """Add objective, bound, gap, certificate and work of each target."""
    certified = int(np.count_nonzero(solution.certified))
    said = f" to {tolerance:.2g}" if tolerance is not None and certified else ""
    found.add(
        "solution",
        f"n = {solution.n}, k = {solution.k}; {certified} of {solution.k} certified{said}",
    )
    for t in range(min(solution.k, SHOWN_TARGETS)):
        found.add(f"target {t}", target_text(solution, t))
    if solution.k > SHOWN_TARGETS:
        found.add(
            "all targets",
            f"objective {solution.objective.sum():.10g}, bound {solution.lower_bound.sum():.10g}, "
            f"work {int(solution.work.sum())}",
        )
    found.add("digest", f"{solution.digest().hex()} (of /solution)")


def target_text(solution: Solution, t: int) -> str:
    """Return objective, bound, gap or certificate, and work of one target on one line."""
    objective, bound = float(solution.objective[t]), float(solution.lower_bound[t])
    if solution.certified[t]:
        verdict = "certified"
    elif objective > 0.0 and np.isfinite(objective):
        verdict = f"gap {100.0 * (objective - bound) / objective:.3g} %"
    else:
        verdict = "gap open"
    return (
        f"objective {objective:.12g}, lower bound {bound:.12g}, {verdict}, "
        f"work {int(solution.work[t])}"
    )


def _size(count: int) -> str:
    """Return a number of bytes for people."""
    for size, suffix in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= size:
            return f"{count / size:.1f} {suffix}"
    return f"{count} bytes"


def show(found: Findings) -> Iterator[str]:
    """Return the lines as text, labels aligned."""
    width = max((len(label) for label, _ in found.lines), default=0)
    for label, text in found.lines:
        yield f"{label:<{width}}  {text}"


def plain(value: Any) -> str:
    """Return an entry of /run or of a record for people."""
    return value.hex() if isinstance(value, bytes) else str(value)
