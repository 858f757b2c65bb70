"""What a job does when its group of ranks is broken, or has convicted one of its members.

The ranks that are left form a new group, all in the newest state among them, or, after a
conviction, in the state that the job started from (`rollback`).
"""

from __future__ import annotations

from dataclasses import replace

from morsr_mpi.app import loop
from morsr_mpi.app.chief import Chief
from morsr_mpi.app.computing import Computing
from morsr_mpi.app.crew import Crew
from morsr_mpi.app.journal import pulses_of
from morsr_mpi.app.parts import Load
from morsr_mpi.app.regrouping import Losses, Remembering, recorded
from morsr_mpi.app.replicas import Replicas
from morsr_mpi.app.resume import restore_state
from morsr_mpi.app.rollback import CONVICTED, parts_of, recorded_rollback, standing
from morsr_mpi.app.settings import Settings
from morsr_mpi.app.task_ledger import TaskLedgers
from morsr_mpi.base.errors import (
    ConvictedError,
    ExcludedError,
    HostFaultError,
    PeersLostError,
    StateDiffersError,
)
from morsr_mpi.node.core import Node
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import SolveResult
from morsr_mpi.provenance.chain import Chain, ChainPoint
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import Prepared, prepare
from morsr_mpi.search.state import Search
from morsr_mpi.wire.regrouping import END, START, Plan


class AfterLoss:
    """The part of a job that takes losses; the rest of the job sets the fields."""

    _chief: Chief
    _computing: Computing
    _crew: Crew
    _explorers: list[Remembering]
    _found: list[loop.Outcome] | None
    _journal_at: ChainPoint
    _load: Load
    _losses: Losses
    _nodes: list[Node]
    _options: SearchOptions
    _prepared: Prepared | None
    _problem: QuadraticProblem | None
    _replicas: Replicas | None
    _restarts: int
    _searches: list[Search]
    _settings: Settings
    _tasks: TaskLedgers
    _token: str

    def __init__(self) -> None:
        #: Snapshot of the state that the job started from, and how often it has gone back to it.
        self._origin = b""
        self._generation = self._followed = 0
        self._liars: set[int] = set()
        self._replicas = None
        self._rolled_back = self._differed = False

    def rank_of(self, member: int) -> int:
        """Return the number in the job of a member of the present group."""
        return dict(enumerate(self._crew.group.members)).get(member, member)

    def _judge(self, loss: PeersLostError) -> None:
        """Look at why the group broke. Raises HostFaultError for a rank that is wrong again."""
        crew = self._crew
        if isinstance(loss, StateDiffersError):
            if self._differed:
                raise HostFaultError(str(loss)) from loss
            self._log(str(loss))
            self._differed = True
            self._go_back(self._generation)
        if isinstance(loss, ConvictedError):
            members = crew.group.members
            crew.expelled.update((members[rank], CONVICTED) for rank in loss.ranks)
        if self._nodes and self._nodes[0].guilty:  # they may have died meanwhile
            self._liars.update(map(self.rank_of, self._nodes[0].guilty))
            self._go_back(self._generation + 1)

    def _regroup(self) -> None:
        """Form a group with those that are left, all in the newest state among them."""
        crew = self._crew
        for node, explorer in zip(self._nodes, self._explorers, strict=False):
            explorer.known.update(node.finished_results())
            self._chief.remember(node.close_records() if not crew.expelled else ())
            if node.has_met:
                crew.keys.update(zip(crew.group.members, node.public_keys, strict=True))
                self._journal_at = node.chain.point
        self._tasks.break_off()
        while True:
            before = crew.group
            committed = self._searches[0].committed if self._searches else 0
            try:
                plan = crew.regroup(standing(self._generation, committed))
                generation, committed = parts_of(plan.committed)
                plan = replace(plan, committed=committed)
                self._follow(generation)
                if self._chief.superseded():  # while this rank was away
                    self._chief.resign()
                for text in self._losses.tell(before, crew.group):
                    self._chief.warn(text)
                    self._log(text)
                if plan.phase == START:
                    return
                if self._replicas is not None:
                    self._replicas.regroup(crew.group.members, crew.group.absent)
                self._level(plan)
                self._take_places(plan)
                if self._rolled_back:
                    self._chief.journal.recent.clear()  # pulses that are committed anew
            except PeersLostError:
                continue
            return

    def _go_back(self, generation: int) -> None:
        """Return to the state the job started from; results that are known stay known."""
        assert self._problem is not None
        assert self._prepared is not None
        self._generation = generation
        start = restore_state(self._origin, self._problem, self._prepared, self._options)
        self._searches = [start]

    def _follow(self, generation: int) -> None:
        """After a conviction: know what this rank computed itself, and nothing else."""
        if generation == self._followed:
            return
        for node, explorer in zip(self._nodes, self._explorers, strict=False):
            explorer.known = node.finished_results(committed=True)
        convicts = {*self._liars, *self._crew.expelled}
        if self._replicas is not None and self._replicas.exclude(convicts):
            self._computing.taint()
        self._generation = self._followed = generation
        self._crew.expelled = {}
        self._rolled_back = True

    def _level(self, plan: Plan) -> None:
        """Bring those behind to the state of the plan's source."""
        crew, journal = self._crew, self._chief.journal
        if crew.rank == plan.source and plan.behind:
            records = tuple(journal.recent)
            crew.send_state(plan, self._searches[0].snapshot(), records)
        if crew.rank not in plan.behind:
            return
        if plan.phase == END and self._found is None:
            raise ExcludedError("the run ended while this rank was still behind")
        problem = self._problem = self._problem or self._load()
        prepared = self._prepared = self._prepared or prepare(problem)
        received = crew.receive_state(plan)
        search = restore_state(received.snapshot(), problem, prepared, self._options)
        self._searches = [search]
        self._explorers = self._explorers or self._computing.explorers(problem, prepared, 1)
        if self._chief.active:
            self._journal_at = self._chief.catch_up(
                self._journal_at, received.records, plan.committed
            )
        else:
            journal.recent.extend(received.records)

    def _take_places(self, plan: Plan) -> None:
        """Become the chief, stay it, or stop being it; the chief records the new group."""
        crew, chief = self._crew, self._chief
        ended = plan.phase == END
        if not crew.is_chief:
            if chief.active:
                chief.resign()
            return
        if not chief.active:
            self._set_limits()
            committed = plan.committed
            if self._rolled_back:  # what is gone back behind is recorded all the same
                committed = max(committed, 1 + max(pulses_of(chief.journal.recent), default=-1))
            at = chief.succeed(self._token, committed, self._restarts, ended=ended)
            self._journal_at = at or self._journal_at
            chief.narrate_again(self._ranks)
            chief.note(f"rank {crew.rank} keeps the run directory from now on")
            for text in self._losses.told:
                chief.warn(text)
            if ended and self._settings.run_dir is not None:
                chief.keep(self._searches[0], self._describe)
        if not ended and self._journal_at.count:  # else the genesis will name the new group
            chain = Chain(self._journal_at)
            if self._rolled_back:
                back = recorded_rollback(plan.committed, self._liars, crew.group.gone)
                chief.journal.append(chain.append(back))
            chief.journal.append(chain.append(recorded(crew.group)))
            self._journal_at = chain.point

    # --- what the rest of the job does -----------------------------------------------------
    @property
    def _ranks(self) -> int:
        raise NotImplementedError

    def _set_limits(self) -> None:
        raise NotImplementedError

    def _log(self, text: str) -> None:
        raise NotImplementedError

    def _describe(self, search: Search) -> SolveResult:
        raise NotImplementedError
