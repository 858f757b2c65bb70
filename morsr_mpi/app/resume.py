"""Where a run starts: from nothing, or from the newest sound checkpoint of its directory."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from morsr_mpi.adapters.envelope_files import EnvelopeKeys
from morsr_mpi.adapters.hdf5_checkpoint import load_checkpoint, newest_checkpoint
from morsr_mpi.adapters.journal_file import read_records, recover
from morsr_mpi.app.agree import Together
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.task_ledger import settle_segments
from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.errors import InputError, InternalError, TamperError, UsageError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.provenance.bodies import Epoch, Regroup
from morsr_mpi.provenance.chain import ChainPoint, verify_chain
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import Prepared
from morsr_mpi.search.state import Search


@dataclass
class Start:
    """Where rank 0 says the run starts.

    checkpoint: file to restore from, None for a new run. journal: where the journal stands.
    restarts: how often the run was resumed, this time included. notes: what happened, one
    line each, for people and for the result's list of failures.
    """

    checkpoint: Path | None = None
    journal: ChainPoint = field(default_factory=ChainPoint)
    restarts: int = 0
    notes: list[str] = field(default_factory=list)


def find_start(
    run: RunDirectory,
    problem: QuadraticProblem,
    options: SearchOptions,
    keys: EnvelopeKeys | None = None,
) -> Start:
    """Return the start of a resumed run, on rank 0.

    keys: to open sealed checkpoints with. Raises UsageError without a checkpoint, InputError
    when none is sound or it belongs to another problem or other options, TamperError for a
    journal that is not sound.
    """
    start = Start()
    newest = newest_checkpoint(run.checkpoints, start.notes, keys)
    if newest is None:
        raise UsageError(
            f"nothing to resume: {run.checkpoints} holds no checkpoint; start a new run directory"
        )
    start.checkpoint, checkpoint = newest
    checkpoint.require(problem.digest, options.digest())
    if not run.journal.exists():
        raise TamperError(f"{run.journal} is missing, so this run cannot go on")
    torn = recover(run.journal)
    if torn:
        start.notes.append(f"journal: {torn} bytes that the last job left unfinished were cut off")
    cut = settle_segments(run)
    if cut:
        start.notes.append(f"task records: {cut} bytes that the last job left unfinished were cut")
    chain = verify_chain(read_records(run.journal))
    recorded = len(chain.pulses())
    if recorded < checkpoint.pulse:
        raise TamperError(
            f"the checkpoint stands after {checkpoint.pulse} pulses, the journal records "
            f"{recorded}: one of them is not of this run"
        )
    start.journal = chain.point
    set_aside(run, start)
    start.restarts = 1 + sum(
        isinstance(body, Epoch) and not isinstance(before, Regroup)
        for before, body in pairwise(chain.bodies)
    )
    return start


def set_aside(run: RunDirectory, start: Start) -> None:
    """Rename checkpoints newer than the one we start from: they are damaged.

    Under their names they would count as the previous one to fall back to.
    """
    assert start.checkpoint is not None
    for path in sorted(run.checkpoints.glob("checkpoint-*.h5")):
        if path.name > start.checkpoint.name:
            with contextlib.suppress(OSError):
                path.rename(path.with_name(f"damaged-{path.name}"))
                start.notes.append(f"kept the damaged checkpoint as damaged-{path.name}")


@dataclass(frozen=True)
class SharedStart:
    """What all ranks are told of the start. token: names the job."""

    checkpoint: Path | None
    restarts: int
    token: str


def share_start(together: Together, start: Start, token: str) -> SharedStart:
    """Tell all ranks where rank 0 starts, and the name of the job."""
    name = str(start.checkpoint.absolute()) if start.checkpoint is not None else ""
    data = together.exchange(encode((name, start.restarts, token)))[0]
    match decode(data):
        case (str(name), int(restarts), str(token)):
            return SharedStart(Path(name) if name else None, int(restarts), token)
    raise InternalError("rank 0 told nothing of the start")


def restore(
    path: Path,
    problem: QuadraticProblem,
    prepared: Prepared,
    options: SearchOptions,
    keys: EnvelopeKeys | None = None,
) -> tuple[Search, dict[bytes, bytes]]:
    """Return the state of a checkpoint, and results of tasks in flight by task id, on every rank.

    keys: as of `find_start`. Raises InputError.
    """
    checkpoint = load_checkpoint(path, keys)
    checkpoint.require(problem.digest, options.digest())
    search = restore_state(checkpoint.state, problem, prepared, options)
    if search.committed != checkpoint.pulse:
        raise InputError(f"{path} names pulse {checkpoint.pulse}, its state {search.committed}")
    return search, checkpoint.sections.results() if checkpoint.sections is not None else {}


def restore_state(
    snapshot: bytes, problem: QuadraticProblem, prepared: Prepared, options: SearchOptions
) -> Search:
    """Return the state of a snapshot. Raises InputError."""
    return Search.restore(problem, prepared, options, snapshot)
