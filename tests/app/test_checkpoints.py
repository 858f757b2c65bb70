"""Checkpoints of a run: in mid-pulse, with finished results, never ahead of the journal."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from morsr_mpi import Problem, solve
from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.hdf5_checkpoint import load_checkpoint, newest_checkpoint
from morsr_mpi.adapters.hdf5_result import solution_digest
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app import chief, keeper, records, regrouping
from morsr_mpi.app.fence import Fence
from morsr_mpi.app.inspect import inspect_file
from morsr_mpi.app.rerun import explore
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.signals import Requests
from morsr_mpi.base import config
from morsr_mpi.node import agreement
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.provenance.bodies import Pulse, parse
from morsr_mpi.provenance.records import decode_record
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search
from morsr_mpi.storage.checkpoint import Checkpoint
from morsr_mpi.storage.sections import Sections

WORK = 300_000


class PowerCut(BaseException):
    """Ends a run without any of its clean-up."""


def pulses_of(journal: Path) -> int:
    found = enumerate(read_records(journal))
    bodies = [parse(decode_record(data, i)) for i, data in found]
    return sum(isinstance(body, Pulse) for body in bodies)


def cut_with_results_in_flight(
    problem: QuadraticProblem, run: RunDirectory, patch: pytest.MonkeyPatch
) -> None:
    """Run until a checkpoint holds a result of a pulse in flight, however fast the machine is.

    A look between any two steps of a task, a vote on every commit, and a checkpoint asked for as
    soon as some task of an open pulse is finished and the journal has all that is committed.
    """
    look, drain = chief.Chief.look, keeper.Writer.drain
    asked: list[int] = []

    def watched(self: Any, node: Any, search: Any, group: Any, requests: Requests) -> None:
        finished = sum(result is not None for *_, result in node.in_flight())
        if finished and 2 <= search.committed <= node.certified:
            requests._on_signal(signal.SIGUSR2, None)
            asked.append(search.committed)
        look(self, node, search, group, requests)
        if asked:
            drain(self.records._writer)
            found = newest_checkpoint(run.checkpoints)
            assert found is not None
            assert found[1].pulse == asked[0] <= pulses_of(run.journal), "ahead of the journal"
            raise PowerCut

    patch.setattr(chief.Chief, "look", watched)
    patch.setattr(config, "SLICE_SECONDS", 1e-9)
    patch.setattr(config, "STOP_POLL_SECONDS", 0.0)
    patch.setattr(agreement, "VOTE_SECONDS", 0.0)
    with pytest.raises(PowerCut):
        solve(problem, run_dir=run.path, work=WORK)


def test_finished_results_in_flight_are_not_computed_again(
    large: Path, tmp_path: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path / "run")
    problem = Problem.load(large)
    with monkeypatch.context() as patch:
        cut_with_results_in_flight(problem, run, patch)
    path = max(run.checkpoints.glob("checkpoint-*.h5"))
    sections = load_checkpoint(path).sections
    assert sections is not None
    spared = sections.results()
    assert spared
    lines = dict(inspect_file(path, check=True).lines)
    assert f"{len(spared)} of them finished" in lines["in flight"]
    assert "open chambers" in lines["frontier"]
    assert "tasks counted" in lines["rank 0"]

    begin, computed = regrouping.Remembering.begin, set[bytes]()

    def counted(self: Any, task: Any) -> Any:
        task_run = begin(self, task)
        if not isinstance(task_run, regrouping.Known):
            computed.add(task.task_id)
        return task_run

    monkeypatch.setattr(regrouping.Remembering, "begin", counted)
    result = solve(problem, run_dir=run.path, work=WORK, resume=True)
    assert solution_digest(run.result) == undisturbed
    assert result.restarts == 1
    assert computed
    assert not computed & set(spared)


def test_the_options_stand_in_a_checkpoint_for_people(small: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    solve(Problem.load(small), run_dir=run.path, work=50_000, pulse_tasks=5, ranks=3)
    sections = load_checkpoint(max(run.checkpoints.glob("checkpoint-*.h5"))).sections
    assert sections is not None
    assert '"pulse_tasks": 5' in sections.options
    assert sections.members == (0, 1, 2)
    assert [worker.rank for worker in sections.workers] == [0, 1, 2]
    assert sections.genesis != bytes(32)
    assert sections.records > 2


def test_a_state_that_is_held_stays_while_the_search_goes_on(large: Path) -> None:
    problem = Problem.load(large)
    prepared = prepare(problem)
    search, explorer = Search(problem, prepared, SearchOptions(WORK)), Explorer(problem, prepared)
    for _ in range(6):
        held, before = records.hold(search, Sections()), search.snapshot()
        points = search.solution().digest()
        pulse, tasks = search.plan()
        assert held.make().state == before != search.snapshot()
        results = [explore(explorer, task) for task in tasks]
        search.commit(pulse, results)
        made = held.make()
        assert made.state == before
        assert (made.pulse, made.solution.digest()) == (pulse, points)


def test_checkpoints_take_at_most_a_hundredth_of_the_processors_time(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that costs so much comes so seldom; one that cannot be counted on waits."""
    run = RunDirectory.create(tmp_path / "run")
    problem = Problem.load(small)
    search = Search(problem, prepare(problem), SearchOptions(WORK))
    stored: list[int] = []

    def costly(folder: Path, checkpoint: Checkpoint, keys: object) -> None:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.05:
            pass
        stored.append(checkpoint.pulse)

    monkeypatch.setattr(records, "store_checkpoint", costly)
    fence = Fence.claim(run.fence, "job")
    kept = records.Records(
        run, SystemClock(), 0.01, lambda _: pytest.fail("no result is due"), print, fence, list
    )
    search.committed = 3
    kept.look(search, Sections, 2, True)
    kept._writer.drain()
    assert stored == [], "the journal has no record of pulse 2 yet"
    kept.look(search, Sections, 3, False)
    kept._writer.drain()
    assert stored == [3]
    assert kept._checkpoints.seconds >= 100 * 0.05
    assert kept.longest >= 0.05
    assert kept.checkpoints == 1
    assert kept.checkpoint_cpu >= 0.05
    kept.abandon()
