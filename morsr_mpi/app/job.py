"""The steps of one run on one rank, in order, and again where ranks were lost in between.

Steps that can fail on one rank are taken together (`agree`), so that all ranks end alike. The
chief keeps the run directory; the search itself is the node's and the loop's business. When
the group of ranks breaks, those that are left regroup and go on with the phase they were in:
the start from its beginning, the search from the newest state among them, the end again.
"""

from __future__ import annotations

import secrets
import struct
import traceback
from functools import partial

from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.app import loop
from morsr_mpi.app.account import gather, run_entries, summary
from morsr_mpi.app.admission import Admission
from morsr_mpi.app.after_loss import AfterLoss
from morsr_mpi.app.agree import CommonError, Together
from morsr_mpi.app.chief import Chief
from morsr_mpi.app.computing import Computing
from morsr_mpi.app.crew import Crew
from morsr_mpi.app.crypto import CryptoCost, MeteredSigner
from morsr_mpi.app.environment import LaunchInfo
from morsr_mpi.app.fence import FencedError
from morsr_mpi.app.guardian import Guardian
from morsr_mpi.app.hosts import check_hosts, names_of_hosts
from morsr_mpi.app.node_data import NodeData
from morsr_mpi.app.nodes import make_nodes
from morsr_mpi.app.outcome import tell_ready
from morsr_mpi.app.parts import Frame, Load, Outcome, Refusals, line_of, verdict_of
from morsr_mpi.app.recovery import go_forward, recover
from morsr_mpi.app.regrouping import Losses, Remembering
from morsr_mpi.app.replicas import open_replicas
from morsr_mpi.app.resume import restore, share_start
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.settings import Settings
from morsr_mpi.app.sharing import Share
from morsr_mpi.app.signals import Requests
from morsr_mpi.app.standing import sections_of
from morsr_mpi.app.task_ledger import TaskLedgers
from morsr_mpi.app.telemetry import observe, standing_of
from morsr_mpi.base.errors import (
    ExcludedError,
    InternalError,
    MorsrError,
    PeersLostError,
)
from morsr_mpi.node.core import Node
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import SolveResult
from morsr_mpi.provenance.chain import ChainPoint
from morsr_mpi.search.prepare import Prepared
from morsr_mpi.search.soundness import is_sound
from morsr_mpi.search.state import Search
from morsr_mpi.storage.memory_store import MemoryStore
from morsr_mpi.wire.regrouping import END, SEARCH, START


class Job(AfterLoss):
    """One rank's part in a run."""

    def __init__(
        self,
        load: Load,
        settings: Settings,
        admission: Admission,
        info: LaunchInfo,
        requests: Requests,
        quiet: bool,
        guardian: Guardian | None,
        frame: Frame | None = None,
    ) -> None:
        super().__init__()
        world = admission.world
        self._admission = admission
        self._load = load
        self._settings = settings
        self._options = settings.search_options()
        self._world = world
        self._info = info
        self._requests, self._guardian = requests, guardian
        self._clock = world.clock
        self._begin_at = self._wall_from = self._clock.now()
        self._frame = frame
        make = (frame.reporter,) if frame is not None else ()
        size = max(world.size, settings.ranks)
        self._chief = Chief(settings, world.clock, quiet, size, *make)
        self._crypto = CryptoCost(world.clock)
        self._signer = MeteredSigner(admission.signer(), self._crypto)
        self._survivable, refusals = world.fault_tolerant, Refusals(self._log)
        self._store = MemoryStore()
        self._crew = Crew(
            admission.links(refusals, self._crypto.tls),
            world.clock,
            self._signer,
            hang_timeout=settings.hang_timeout,
            whole=lambda: admission.transport(refusals, self._crypto.tls),
            survivable=self._survivable,
            beat=guardian.beat if guardian is not None else None,
            log=self._log,
        )
        self._losses = Losses(world.size)
        self._tasks = TaskLedgers(self._chief.warn)
        self._computing = Computing(settings.cache)
        self._chief.start.notes.extend(map(str, admission.left))
        self._problem: QuadraticProblem | None = None
        self._prepared: Prepared | None = None
        self._searches: list[Search] = []
        self._nodes: list[Node] = []
        self._explorers: list[Remembering] = []
        self._journal_at = ChainPoint()
        self._token = ""
        self._restarts = self._rounds_of_start = 0
        self.data = NodeData(settings.checkpoint_every, self._begin_at)
        self._found: list[loop.Outcome] | None = None

    @property
    def others_go_on(self) -> bool:
        """Whether the other ranks would notice the death of this one, and go on."""
        return self._survivable and self._crew.size > 1

    def internal_line(self, exc: BaseException) -> str:
        """Return the one line for an internal error."""
        return line_of(exc, self._run.log_file if self._run is not None else None)

    def note_failure(self, exc: Exception) -> None:
        """Log an error, take the bar away, and write what waits to be written."""
        chief = self._chief
        if isinstance(exc, ExcludedError | FencedError):
            chief.resign()
            return
        if chief.narrator is not None:
            chief.narrator.close()
        if chief.records is not None:
            chief.records.abandon()
        chief.telemetry.abandon()
        cause = exc.__cause__ if isinstance(exc, CommonError) else exc
        if cause is not None and not isinstance(cause, MorsrError):
            self._log("".join(traceback.format_exception(cause)))
        elif chief.active and chief.run is not None:
            chief.run.try_log(f"error: {exc}")

    @property
    def _run(self) -> RunDirectory | None:
        path = self._settings.run_dir
        return RunDirectory(path) if path is not None and path.is_dir() else None

    def _log(self, text: str) -> None:
        if self._run is not None and self._run.ledger.is_dir():
            self._run.try_log(f"rank {self._world.rank}: {text}")

    # --- the phases ------------------------------------------------------------------------
    def run(self) -> Outcome:
        """Take all steps, those of a phase again after a loss. Raises what ends this rank."""
        crew = self._crew
        while True:
            try:
                if crew.phase == START:
                    self._start()
                    crew.phase = SEARCH
                if crew.phase == SEARCH:
                    self._found = self._search()
                    crew.phase = END
                if self._guardian is not None:
                    self._guardian.pause()
                return self._finish(self._found)
            except FencedError:
                if not (self.others_go_on and self._chief.superseded()):
                    raise
            except PeersLostError as loss:
                if not self.others_go_on:
                    raise InternalError(f"the ranks lost each other: {loss}") from loss
                self._judge(loss)
            self._regroup()

    def _start(self) -> None:
        """Everything up to the first round of the search."""
        crew, chief, describe = self._crew, self._chief, self.internal_line
        together = Together(crew.transport(0), self._clock)
        again, self._rounds_of_start = self._rounds_of_start > 0, 1
        self.data.meet(together)
        if self._settings.expect_hosts is not None and not self._settings.resume:
            hosts = names_of_hosts(together)
            together.agree(lambda: check_hosts(hosts, self._settings.expect_hosts), describe)
        chief.keys = together.agree(self._settings.load_envelope_keys, describe)
        if self._frame is not None and self._problem is None:
            together.agree_on(0, self._frame.before, describe)
            self._wall_from = self._clock.now()
        problem = self._problem = self.data.problem(self._load, self._problem, describe)
        if crew.is_chief:
            tell_ready()  # every rank has been heard of, so every rank has its handlers
        if self._settings.run_dir is not None:
            together.agree_on(0, lambda: chief.open_run_dir(again=again), describe)
        self._set_limits()
        if crew.is_chief:
            chief.active = True
            chief.narrate(self._ranks, problem)
            chief.tell_identities(self._admission, self._info.launcher)
        if self._settings.resume:
            together.agree_on(0, lambda: chief.find_start(problem), describe)
            chief.start.notes.extend(map(str, self._admission.left))
        shared = share_start(together, chief.start, secrets.token_hex(8))
        self._token, self._restarts = shared.token, shared.restarts
        try:
            prepared = self._prepared = self.data.prepared(problem, self._prepared, describe)
        except CommonError:
            chief.discard()
            raise
        self.data.tell(chief.note, chief.warn if crew.is_chief else self._log)

        known: dict[bytes, bytes] = {}

        def search() -> Search:
            if shared.checkpoint is None:
                return Search(problem, prepared, self._options)
            found, results = restore(
                shared.checkpoint, problem, prepared, self._options, chief.keys
            )
            known.update(results)
            return found

        count = self._settings.ranks
        self._searches = together.agree(lambda: [search() for _ in range(count)], describe)
        self._explorers = together.agree(
            lambda: self._computing.explorers(problem, prepared, count), describe
        )
        cache, members = self._computing.cache, crew.group.members
        self._replicas = open_replicas(together, members, cache, problem.digest)
        if self._settings.resume:
            self._take_from_ledger(together)
        committed, self._origin = self._searches[0].committed, self._searches[0].snapshot()
        at = together.agree_on(0, lambda: chief.open_journal(self._token, committed), describe)
        self._journal_at = at or ChainPoint()
        for explorer in self._explorers:
            explorer.known.update(known)

    def _take_from_ledger(self, together: Together) -> None:
        """Go on from the last certified pulse whose results are in caches, not the checkpoint's."""
        crew, lag = self._crew, self._options.lag
        found, ledger = recover(
            Share(together),
            lambda: crew.transport(3),
            self._clock,
            self._run,
            self._computing.cache,
            self._replicas,
            self._searches[0].committed,
        )
        self._chief.note(found.line)

        def forward() -> None:
            for search in self._searches:
                go_forward(search, ledger, lag, found.end, found.results)

        together.agree(forward, self.internal_line)

    def _search(self) -> list[loop.Outcome]:
        """Run the nodes of this process to their end; return how each ended."""
        crew, size = self._crew, self._ranks
        first = crew.group.members.index(crew.rank)
        self._nodes = make_nodes(
            self._searches,
            self._settings,
            self._admission,
            (self._signer, self._store),
            (first, size),
            self._journal_at,
            partial(is_sound, self._explorers[0].anew),
        )
        self._tasks.open(self._run, self._nodes)
        self._chief.keep(self._searches[0], self._describe)
        if self._rolled_back:
            self._chief.go_back(self._searches[0])
            self._rolled_back = False
        journal = self._chief.journal
        if len(self._nodes) == 1:
            hooks = self._hooks(0)
            node, explorer = self._nodes[0], self._explorers[0]
            transport = crew.transport(1)
            how = (explorer, journal, hooks, crew.patience)
            return [loop.run_node(node, transport, self._clock, *how)]
        journals = [journal, *[None] * (len(self._nodes) - 1)]
        every = [self._hooks(i) for i in range(len(self._nodes))]
        network, clock = MemoryNetwork(size), self._clock
        return loop.run_in_process(self._nodes, self._explorers, journals, every, network, clock)

    def _finish(self, outcomes: list[loop.Outcome] | None) -> Outcome:
        """Write what remains, agree on the time it took, and return the result."""
        assert outcomes is not None
        outcome = outcomes[0]
        crew, chief = self._crew, self._chief
        transport = crew.transport(2)
        together = Together(transport, self._clock)
        node, search = self._nodes[0], self._searches[0]
        result = self._describe(search)
        clock = together.exchange(struct.pack(">dq", result.wall_seconds, self._restarts))[0]
        result.wall_seconds, result.restarts = struct.unpack(">dq", clock)
        verdict = verdict_of(result, outcome.stopped)
        chief.telemetry.close_rank()
        together.agree(self._tasks.close, self.internal_line)
        self._computing.close()
        cost = run_entries(gather(together, outcomes, self._crypto, self._replicas))

        def close() -> None:
            if chief.records is not None and not chief.sealed:
                sections = sections_of(node, crew.group, self._options, chief.start.notes)
                size, digest = chief.records.finish(search, sections, result, verdict, cost)
                chief.records = None
                chief.record_decisions(node)
                if not outcome.stopped:
                    chief.append_seal(node, size, digest)
            chief.journal.close()
            chief.tell_load(node, stopped=bool(outcome.stopped))

        together.agree_on(0, close, self.internal_line)
        chief.tell_end(node, search.progress(), verdict, outcome.stopped, summary(cost))
        if chief.active:  # everything else is written, and nobody waits for it any more
            chief.telemetry.close(standing_of(search, len(crew.group.gone)), self._restarts)
        if crew.had_losses:
            crew.farewell(transport)
        rank, size, losses = together.rank, together.size, crew.had_losses
        return Outcome(result, outcome.stopped, rank, size, losses, self._world)

    # --- what the loop and the files are told ----------------------------------------------
    @property
    def _ranks(self) -> int:
        return self._crew.size if self._world.size > 1 else self._settings.ranks

    def _set_limits(self) -> None:
        """Where and when to look for requests to stop."""
        self._requests.limit(self._settings.max_hours, self._begin_at)
        if self._run is not None and self._crew.is_chief:
            self._requests.stop_file = self._run.stop_file

    def _hooks(self, index: int) -> loop.Hooks:
        """Return what the loop calls; the chief's first node reports and records."""
        search, chief, speaks = self._searches[index], self._chief, index == 0

        def poll() -> str:
            now = self._clock.now()
            self.data.patrol(now)
            if speaks:
                chief.telemetry.look(now)
                if chief.narrator is not None:
                    chief.narrator.meet(self._nodes[0], chief.start)
                    chief.narrator.update(now, search.progress)
                chief.look(self._nodes[0], search, self._crew.group, self._requests)
            return self._requests.poll(now) or ""

        tasks = self._tasks.hook(index)
        evidence, replicas = chief.keep_evidence, self._replicas
        hooks = loop.Hooks(None, None, evidence, tasks, poll, self._log, replicas)
        rank = self._crew.rank if self._world.size > 1 else index
        return observe(hooks, chief.telemetry.recorder(rank, self._token), self._nodes[index])

    def _describe(self, search: Search) -> SolveResult:
        """Return the result as it would be with a search's solution, with the story so far."""
        assert self._prepared is not None
        run_dir, node = self._settings.run_dir, self._nodes[0]
        return SolveResult.of(
            search.solution(),
            tolerance=self._prepared.tolerance,
            ranks=self._world.size if self._world.size > 1 else self._settings.ranks,
            wall_seconds=self._clock.now() - self._wall_from,
            failures=list(self._chief.start.notes),
            restarts=self._restarts,
            fingerprint=node.fingerprint if node.has_met else "",
            run_dir=str(run_dir) if run_dir is not None else None,
            problem_digest=search.problem.digest.hex(),
            options_digest=search.options.digest().hex(),
        )
