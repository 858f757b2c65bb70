"""`morsr replay`: recorded computations again, compared bit by bit (paper, algorithm 6.1).

Three ways. *Records*: some task records, each from its own parameters. *All*: the whole journal
from its first pulse, every task executed and every state compared. *With a cache*: the whole
journal, some tasks executed, the results of the others taken from the cache where their digest
is the one recorded. On several ranks each executes its share.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from morsr_mpi.adapters.hdf5_problem import load_problem
from morsr_mpi.adapters.hdf5_result import load_result
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.audit_tasks import by_group, read_segment
from morsr_mpi.app.computing import open_cache
from morsr_mpi.app.replay_options import options_of
from morsr_mpi.app.rerun import Recorded, Rerun, explore
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.sharing import Share
from morsr_mpi.base.digest import DIGEST_BYTES, sha256, short
from morsr_mpi.base.errors import InputError, TamperError, UsageError
from morsr_mpi.base.ids import computation_id
from morsr_mpi.base.version import ALGORITHM_VERSION, __version__
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.provenance.bodies import Genesis
from morsr_mpi.provenance.chain import VerifiedChain, verify_chain
from morsr_mpi.provenance.groups import RunGroup, groups_of
from morsr_mpi.provenance.tasks import TaskRecord
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search
from morsr_mpi.search.tasks import Task
from morsr_mpi.storage.result_cache import ResultCache


@dataclass
class Replayed:
    """executed: tasks executed; tasks: recorded in all; states: digests of S compared; solution:
    whether /solution of result.h5 was reached; seed: of the choice."""

    executed: int = 0
    tasks: int = 0
    states: int = 0
    solution: bool = False
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)

    @property
    def line(self) -> str:
        """One line for people."""
        text = f"{self.executed} of {self.tasks} tasks executed again, every bit as recorded"
        if self.states:
            text += f"; {self.states} states as recorded"
        if self.solution:
            text += "; /solution is the one in result.h5"
        if 0 < self.executed < self.tasks:
            share = 100.0 * (1.0 - 0.05 ** (1.0 / self.executed))
            text += f"; wrong results in {share:.2g} % of all would be found 19 times in 20"
            text += f" (seed {self.seed})"
        return text


@dataclass(frozen=True)
class Request:
    """sample: how many tasks, None for all; task: the id of one, as hexadecimal digits; problem:
    its file, where the run directory has none; cache: of this node; seed: of the choice."""

    sample: int | None = 100
    task: str | None = None
    problem: Path | None = None
    cache: Path | None = None
    seed: int = 0


class Replay:
    """A run directory that is replayed, on one of the ranks of `share`."""

    def __init__(self, path: Path, request: Request, share: Share) -> None:
        """Raises TamperError for a journal that is not sound or of another algorithm version."""
        self._run = RunDirectory(path)
        self._request = request
        self._share = share
        self._chain = self._read()
        self._groups = groups_of(self._chain)
        self._problem = self._load(request.problem)
        self._explorer: Explorer | None = None
        self.found = Replayed(seed=request.seed)

    def run(self) -> Replayed:
        """Replay. Raises TamperError for the first thing that differs from what is recorded."""
        pulses = self._chain.pulses()
        self.found.tasks = sum(len(body.contributors) // 2 for body in pulses)
        request = self._request
        if request.sample is not None and request.cache is None:
            self._share.agree(self._replay_records)
            return self.found
        chosen: set[tuple[int, int]] | None = None
        if request.sample is not None:
            every = [(b.pulse, i) for b in pulses for i in range(len(b.contributors) // 2)]
            count = min(request.sample, len(every))
            chosen = set(random.Random(request.seed).sample(every, count))
        cache = open_cache(request.cache) if chosen is not None and request.cache else None
        self._replay_journal(chosen, cache)
        if cache is not None:
            cache.close()
        self.found.executed = self._share.total(self.found.executed)
        return self.found

    # --- what is there -----------------------------------------------------------------------
    def _read(self) -> VerifiedChain:
        run = self._run
        if not run.journal.is_file():
            raise TamperError(f"{run.journal} is missing: there is nothing to replay")
        try:
            chain = verify_chain(read_records(run.journal))
        except OSError as exc:
            raise TamperError(f"{run.journal} cannot be read: {exc.strerror or exc}") from None
        genesis = chain.bodies[0]
        assert isinstance(genesis, Genesis)
        if genesis.algorithm != ALGORITHM_VERSION:
            raise TamperError(
                f"{run.path} was computed with algorithm version {genesis.algorithm} (morsr "
                f"{genesis.software}), this is version {ALGORITHM_VERSION} (morsr {__version__}): "
                "replay it with a morsr of its own version"
            )
        self._genesis = genesis
        return chain

    def _load(self, given: Path | None) -> QuadraticProblem:
        path = given or self._run.problem
        if not path.exists():
            raise UsageError(f"{path} is missing: name the problem's file with --problem")
        try:
            problem = load_problem(path)
        except InputError as exc:
            if given is not None:
                raise
            raise TamperError(str(exc)) from None
        if problem.digest != self._genesis.problem:
            text = (
                f"{path} holds problem {short(problem.digest)}, the journal is of "
                f"{short(self._genesis.problem)}"
            )
            raise UsageError(text) if given is not None else TamperError(text)
        return problem

    def _explore(self, task: object) -> bytes:
        if self._explorer is None:  # factors are made when the first task needs them
            self._explorer = Explorer(self._problem, prepare(self._problem))
        return explore(self._explorer, task)

    # --- some records ------------------------------------------------------------------------
    def _replay_records(self) -> None:
        chosen = self._choose()
        share = self._share
        for group, record in chosen[share.rank :: share.size]:
            body = group.pulses.get(record.commit)
            at = record.place * DIGEST_BYTES
            if body is None or body.results[at : at + DIGEST_BYTES] != record.result:
                raise TamperError(
                    f"the record of task {record.place} of commit {record.commit} names another "
                    "result than the journal"
                )
            task = Task.from_parameters(record.parameters)
            if computation_id(self._problem.digest, task.task_id) != record.computation:
                raise TamperError(
                    f"the record of task {record.place} of commit {record.commit} has an id that "
                    "is not that of its parameters"
                )
            self._compare(self._explore(task), record.commit, record.place, record.result)
        self.found.executed = len(chosen)

    def _choose(self) -> list[tuple[RunGroup, TaskRecord]]:
        """Return the records to execute: the one asked for, or a sample drawn by the seed."""
        request = self._request
        draw = random.Random(request.seed)
        counting = {body.pulse: body for body in self._chain.pulses()}
        chosen: list[tuple[RunGroup, TaskRecord]] = []
        seen = 0
        for group, paths in by_group(self._run, self._groups) if self._run.tasks.is_dir() else ():
            for path in paths:
                _, batches = read_segment(path, group)
                for record in (record for batch in batches for record in batch.records):
                    if group.pulses.get(record.commit) is not counting.get(record.commit):
                        continue  # committed anew by a later group
                    if request.task is not None:
                        if record.computation.hex().startswith(request.task):
                            return [(group, record)]
                        continue
                    seen += 1
                    if len(chosen) < (request.sample or 0):
                        chosen.append((group, record))
                    elif (at := draw.randrange(seen)) < len(chosen):
                        chosen[at] = (group, record)
        if request.task is not None:
            raise UsageError(f"no task record of computation {request.task}")
        if not chosen and self.found.tasks:
            raise UsageError(f"{self._run.path} has no task records; replay it with --all")
        return chosen

    # --- the whole journal -------------------------------------------------------------------
    def _replay_journal(
        self, chosen: set[tuple[int, int]] | None, cache: ResultCache | None
    ) -> None:
        prepared = prepare(self._problem)
        self._explorer = Explorer(self._problem, prepared)
        counting = {body.pulse: group for group in self._groups for body in group.pulses.values()}
        group = self._groups[0]
        options = options_of(group, self._genesis)
        again = Rerun(Search(self._problem, prepared, options), group.lag)

        def execute(tasks: Sequence[Recorded]) -> list[bytes]:
            return self._share.results(
                [partial(self._result, item, chosen, cache) for item in tasks]
            )

        for body in self._chain.pulses():
            owner = counting[body.pulse]
            if owner is not group:
                again = self._change(again, group, owner)
                group = owner
            again.commit(body, execute)
            self.found.states += 1
        self._compare_solution(again)

    def _change(self, again: Rerun, old: RunGroup, new: RunGroup) -> Rerun:
        """Go on under the options of a later group, where they differ: a larger work limit."""
        before, after = options_of(old, self._genesis), options_of(new, self._genesis)
        search = again.search
        assert isinstance(search, Search)
        if before == after or search.committed != new.committed:
            return again
        for _ in range(2):
            restored = Search.restore(self._problem, search.prepared, after, search.snapshot())
            if restored.state_digest() == new.state:
                return Rerun(restored, new.lag)
            again.plan()  # it had stopped with the next pulses planned
        raise TamperError(
            f"journal record {new.position} starts from another state than it is led to"
        )

    def _result(
        self, item: Recorded, chosen: set[tuple[int, int]] | None, cache: ResultCache | None
    ) -> bytes:
        """Return the result of a task: executed, or from the cache if it need not be."""
        if chosen is not None and (item.commit, item.place) not in chosen and cache is not None:
            known = cache.get(computation_id(self._problem.digest, item.task.task_id))
            if known is not None and sha256(known) == item.result:
                return known
        result = self._explore(item.task)
        self.found.executed += 1
        self._compare(result, item.commit, item.place, item.result)
        return result

    def _compare(self, result: bytes, commit: int, place: int, recorded: bytes) -> None:
        if sha256(result) != recorded:
            raise TamperError(
                f"task {place} of commit {commit} gives result {short(sha256(result))}, "
                f"{short(recorded)} is recorded: it was computed wrongly, here or there"
            )

    def _compare_solution(self, again: Rerun) -> None:
        """Compare where the journal ends with result.h5, if that says it is as far."""
        search = again.search
        assert isinstance(search, Search)
        if not self._chain.sealed:
            return
        try:
            stored = load_result(self._run.result).solution
        except InputError as exc:
            raise TamperError(str(exc)) from None
        if stored.digest() != search.solution().digest():
            raise TamperError(f"{self._run.result}: /solution is not what its journal leads to")
        self.found.solution = True
