"""One run from the problem to its result, on every rank: `morsr solve` and `morsr_mpi.solve`.

Steps that can fail on one rank are taken together (`agree`), so that all ranks end alike.
Rank 0 keeps the run directory; the search itself is the node's and the loop's business.
"""

from __future__ import annotations

import contextlib
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from morsr_mpi.adapters.journal_file import FileJournal, MemoryJournal
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.app import loop
from morsr_mpi.app.admission import Admission, admit
from morsr_mpi.app.agree import CommonError, Together
from morsr_mpi.app.environment import (
    LaunchInfo,
    apply_cpu_level,
    fault_tolerant,
    launch_columns,
    launch_info,
)
from morsr_mpi.app.narrator import Narrator, keep_credentials
from morsr_mpi.app.outcome import tell_ready
from morsr_mpi.app.records import Records
from morsr_mpi.app.resume import Start, find_start, restore, share_checkpoint
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.settings import Settings
from morsr_mpi.app.signals import Requests
from morsr_mpi.app.world import open_world
from morsr_mpi.base.errors import InternalError, MorsrError, UsageError
from morsr_mpi.base.ports import Journal
from morsr_mpi.node.core import Node
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import SolveResult
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.prepare import Prepared, prepare
from morsr_mpi.search.state import Search
from morsr_mpi.storage.memory_store import MemoryStore

Load = Callable[[], QuadraticProblem]


@dataclass(frozen=True)
class Outcome:
    """result: the same on all ranks, except for what only rank 0 knows.

    stopped: why the run stopped early, "" when it is finished. rank, size: of this process.
    """

    result: SolveResult
    stopped: str
    rank: int
    size: int


def run_solve(
    load: Load,
    settings: Settings,
    *,
    quiet: bool = False,
    requests: Requests | None = None,
    info: LaunchInfo | None = None,
) -> Outcome:
    """Run to the end and return what was found; every rank of an MPI job calls this.

    load: returns the problem, on every rank. requests: handlers installed already. Raises
    CommonError, the same on all ranks; errors inside the search end all ranks of an MPI job.
    """
    info = launch_info() if info is None else info
    try:
        apply_cpu_level()
        world = open_world(info)
        if settings.ranks > 1 and world.size > 1:
            raise UsageError("ranks are nodes in one process; under mpirun leave it at 1")
        admission = admit(world, settings.security, settings.keys, settings.run_name)
    except MorsrError as exc:
        # Every rank comes to the same verdict by itself, and there may be no MPI to agree by.
        raise CommonError(exc.exit_code, str(exc), 0) from exc
    with contextlib.ExitStack() as stack:
        if requests is None:
            requests = stack.enter_context(Requests())
        job = _Job(load, settings, admission, info, requests, quiet)
        try:
            return job.run()
        except Exception as exc:
            job.note_failure(exc)
            if isinstance(exc, CommonError):
                raise
            line = exc if isinstance(exc, MorsrError) else InternalError(job.internal_line(exc))
            if admission.world.size > 1:
                admission.world.fail(line)
            rank = 0 if getattr(exc, "everywhere", False) else admission.world.rank
            code = line.exit_code
            raise CommonError(code, str(line), rank) from exc


class _Job:
    """The steps of one run on one rank, in order."""

    def __init__(
        self,
        load: Load,
        settings: Settings,
        admission: Admission,
        info: LaunchInfo,
        requests: Requests,
        quiet: bool,
    ) -> None:
        world = admission.world
        self._admission = admission
        self._load = load
        self._settings = settings
        self._options = settings.search_options()
        self._world = world
        self._info = info
        self._requests = requests
        self._quiet = quiet
        self._clock = world.clock
        self._begin = self._clock.now()
        self._together = Together(admission.transport(), self._clock)
        self._chief = world.rank == 0
        self._ranks = world.size if world.size > 1 else settings.ranks
        self._run: RunDirectory | None = None
        self._records: Records | None = None
        self._narrator: Narrator | None = None
        self._start = Start()
        self._start.notes.extend(map(str, admission.left))
        self._nodes: list[Node] = []

    # --- what the caller may ask after an error -------------------------------------------
    def internal_line(self, exc: BaseException) -> str:
        """Return the one line for an internal error."""
        text = " ".join(str(exc).split())
        where = (
            f"the traceback is in {self._run.log_file}"
            if self._run is not None
            else "run it again as `morsr --debug solve ...`"
        )
        return f"internal error: {type(exc).__name__}{': ' + text if text else ''}; {where}"

    def note_failure(self, exc: Exception) -> None:
        """Log an error, take the bar away, and write what waits to be written."""
        if self._narrator is not None:
            self._narrator.close()
        if self._records is not None:
            self._records.abandon()
        if self._run is not None:
            cause = exc.__cause__ if isinstance(exc, CommonError) else exc
            if cause is not None and not isinstance(cause, MorsrError):
                text = "".join(traceback.format_exception(cause))
                self._run.try_log(f"rank {self._world.rank}: {text}")
            elif self._chief:
                self._run.try_log(f"error: {exc}")

    # --- the steps -------------------------------------------------------------------------
    def run(self) -> Outcome:
        """Take all steps."""
        together, describe = self._together, self.internal_line
        problem = together.agree(self._load, describe)
        if self._chief:
            tell_ready()  # every rank has been heard of, so every rank has its handlers
        run_dir = self._settings.run_dir
        if run_dir is not None:
            self._run = together.agree_on(0, self._open_run_dir, describe)
            if not self._chief:
                self._run = RunDirectory(run_dir)
        self._open_narrator(problem)
        if self._settings.resume:
            start = together.agree_on(0, lambda: self._find_start(problem), describe)
            self._start = start or Start()
            self._start.notes.extend(map(str, self._admission.left))
        checkpoint = share_checkpoint(together, self._start)
        try:
            prepared = together.agree(lambda: prepare(problem), describe)
        except CommonError:
            self._discard()
            raise
        if checkpoint is None:
            searches = [
                Search(problem, prepared, self._options) for _ in range(self._settings.ranks)
            ]
        else:
            searches = together.agree(
                lambda: [
                    restore(checkpoint, problem, prepared, self._options)
                    for _ in range(self._settings.ranks)
                ],
                describe,
            )
        journal = together.agree_on(0, self._open_journal, describe)
        outcome = self._search(problem, prepared, searches, journal)
        return self._finish(outcome, prepared, journal)

    def _open_run_dir(self) -> RunDirectory:
        path = self._settings.run_dir
        assert path is not None
        run = RunDirectory.reopen(path) if self._settings.resume else RunDirectory.create(path)
        self._requests.stop_file = run.stop_file
        return run

    def _discard(self) -> None:
        """Remove a run directory made for a problem that turned out to be none."""
        if self._chief and self._run is not None and not self._settings.resume:
            self._run.discard()
            self._run = None

    def _find_start(self, problem: QuadraticProblem) -> Start:
        assert self._run is not None
        start = find_start(self._run, problem, self._options)
        self._run.take_over()
        return start

    def _open_journal(self) -> Journal:
        return FileJournal(self._run.journal) if self._run is not None else MemoryJournal()

    def _open_narrator(self, problem: QuadraticProblem) -> None:
        """Rank 0: begin to tell how the run goes; all: set the wall time."""
        if self._settings.max_hours is not None:
            self._requests.deadline = self._begin + 3600.0 * self._settings.max_hours
        if self._chief:
            self._narrator = Narrator(self._ranks, self._run, launch_columns(), self._quiet)
            self._narrator.begin(problem)
            if self._settings.security == "tls" and not self._admission.established:
                self._narrator.note(
                    "tls with certificates of this run: identity not established (give --keys)"
                )
            if self._run is not None:
                keep_credentials(self._run, self._admission.credentials)
            if self._world.size > 1 and not fault_tolerant():
                self._narrator.warn_of_no_fault_tolerance(self._info.launcher)

    # --- the search ------------------------------------------------------------------------
    def _search(
        self,
        problem: QuadraticProblem,
        prepared: Prepared,
        searches: list[Search],
        journal: Journal | None,
    ) -> loop.Outcome:
        """Run the nodes of this process to their end; return rank 0's outcome, or this rank's."""
        world, size = self._world, self._ranks
        left = tuple((item.rank, item.reason) for item in self._admission.left)
        first = world.rank if world.size > 1 else 0
        self._nodes = [
            Node(
                NodeSettings(
                    rank=first + i,
                    size=size,
                    problem=problem.digest,
                    options=self._options.digest(),
                    lag=self._options.lag,
                    dedicated=self._settings.coordinator == "dedicated",
                    agreed=(self._options.work, left) if left else (self._options.work,),
                ),
                search,
                self._admission.signer(),
                MemoryStore(),
                self._start.journal,
            )
            for i, search in enumerate(searches)
        ]
        if self._chief and self._run is not None:
            self._records = Records(
                self._run,
                self._clock,
                self._settings.checkpoint_every,
                self._describe(prepared, self._nodes[0]),
                self._warn,
            )
        hooks = [self._hooks(search) for search in searches]
        explorers = [Explorer(problem, prepared) for _ in self._nodes]
        if len(self._nodes) == 1:
            transport = self._admission.transport()
            return loop.run_node(
                self._nodes[0], transport, self._clock, explorers[0], journal, hooks[0]
            )
        others = [None] * (len(self._nodes) - 1)
        return loop.run_in_process(
            self._nodes,
            explorers,
            [journal, *others],
            [hooks[0], *others],
            MemoryNetwork(size),
            self._clock,
        )[0]

    def _warn(self, text: str) -> None:
        """Note what could not be written; called from the writer's thread."""
        if text not in self._start.notes:
            self._start.notes.append(text)
            if self._narrator is not None:
                self._narrator.warn(text)

    def _hooks(self, search: Search) -> loop.Hooks:
        """Return what the loop calls; rank 0 reports and records."""

        def poll() -> str:
            now = self._clock.now()
            if self._narrator is not None:
                self._narrator.meet(self._nodes[0], self._start)
                self._narrator.update(now, search.progress)
            return self._requests.poll(now) or ""

        def committed(state: Search) -> None:
            if self._records is not None:
                self._records.committed(state, self._requests.take_checkpoint())

        def log(text: str) -> None:
            if self._run is not None:
                self._run.try_log(f"rank {self._world.rank}: {text}")

        return loop.Hooks(on_commit=committed, stop_requested=poll, log=log)

    def _describe(self, prepared: Prepared, node: Node) -> Callable[[Search], SolveResult]:
        """Return what makes a result of a search, with the story so far."""
        run = self._run

        def describe(search: Search) -> SolveResult:
            return SolveResult.of(
                search.solution(),
                tolerance=prepared.tolerance,
                ranks=self._ranks,
                wall_seconds=self._clock.now() - self._begin,
                failures=list(self._start.notes),
                restarts=self._start.restarts,
                fingerprint=node.fingerprint,
                run_dir=str(run.path) if run is not None else None,
                problem_digest=search.problem.digest.hex(),
                options_digest=search.options.digest().hex(),
            )

        return describe

    # --- the end ---------------------------------------------------------------------------
    def _finish(
        self, outcome: loop.Outcome, prepared: Prepared, journal: Journal | None
    ) -> Outcome:
        """Write what remains, agree on the time it took, and return the result."""
        node, search = self._nodes[0], outcome.search
        result = self._describe(prepared, node)(search)
        clock = self._together.exchange(
            struct.pack(">dq", result.wall_seconds, self._start.restarts)
        )[0]
        result.wall_seconds, result.restarts = struct.unpack(">dq", clock)

        def close() -> None:
            if self._records is not None:
                size, digest = self._records.finish(search, result, _state(result, outcome))
                self._records = None
                if not outcome.stopped and journal is not None:
                    journal.append(node.seal([("result.h5", size, digest)]))
            if journal is not None:
                journal.close()

        self._together.agree_on(0, close, self.internal_line)
        if self._narrator is not None:
            self._narrator.meet(node, self._start)
            verdict = _state(result, outcome)
            if outcome.stopped:
                verdict = f"stopped ({outcome.stopped})"
            self._narrator.end(self._clock.now(), search.progress(), verdict, node)
            if outcome.stopped and self._run is not None:
                self._narrator.note("go on with the same command and --resume")
        return Outcome(result, outcome.stopped, self._world.rank, self._world.size)


def _state(result: SolveResult, outcome: loop.Outcome) -> str:
    """Return how a run ended, in one word or two."""
    if outcome.stopped:
        return "stopped"
    return "certified" if bool(result.certified.all()) else "work used up"
