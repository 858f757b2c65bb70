"""Free asynchrony: any finished tasks are committed; the journal replays to the same bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import toy_settings

from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.journal_file import MemoryJournal
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.app.loop import Hooks, NodeLoop
from morsr_mpi.app.rerun import rerun
from morsr_mpi.base.errors import TamperError
from morsr_mpi.node.core import Node
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.provenance.chain import ChainPoint, VerifiedChain, verify_chain
from morsr_mpi.provenance.steps import Step, unpack_tasks
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import Prepared, prepare
from morsr_mpi.search.state import Search
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.storage.memory_store import MemoryStore


def problem(seed: int, n: int = 48, k: int = 2) -> QuadraticProblem:
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    Q = (q * np.geomspace(1.0, 15.0, n)) @ q.T
    return QuadraticProblem.create((Q + Q.T) / 2, rng.uniform(-5.0, 5.0, (k, n)), 1.0)


class Delayed:
    """The real explorer, each task at a speed of its own."""

    def __init__(self, explorer: Explorer, clock: ManualClock, rank: int, seed: int) -> None:
        self._explorer = explorer
        self._clock = clock
        self._state = 1 + rank + 100 * seed

    def begin(self, task: Any) -> Any:
        self._state = (1103515245 * self._state + 12345) % (1 << 31)
        run = self._explorer.begin(task)
        clock, left = self._clock, [(self._state >> 16) % 30]
        step = run.step

        def slow(units: int) -> bool:
            clock.sleep(0.002)
            left[0] -= 1
            return left[0] <= 0 and step(10**9)

        run.step = slow  # type: ignore[method-assign]
        return run


def run_free(
    size: int,
    lag: int,
    seed: int,
    shared: tuple[QuadraticProblem, Prepared],
    stop_after: int = 10**9,
    snapshot: bytes = b"",
    journal: MemoryJournal | None = None,
) -> tuple[list[Search], VerifiedChain]:
    given_problem, prepared = shared
    options = SearchOptions(None, lag, free=True)
    clock, authority, network = ManualClock(1e-5), TwinAuthority(), MemoryNetwork(size)
    searches = [Search(given_problem, prepared, options) for _ in range(size)]
    if snapshot:
        searches = [Search.restore(*shared, options, snapshot) for _ in range(size)]
    journals = [MemoryJournal() for _ in range(size)]
    at = ChainPoint()
    if journal is not None:
        journals[0] = journal
        if snapshot:
            at = verify_chain(journal.records()).point
    loops = []
    for rank, search in enumerate(searches):
        chosen = toy_settings(rank, size, lag=lag, free=True)
        node = Node(chosen, search, authority.signer(rank), MemoryStore(), at)
        explorer = Delayed(Explorer(given_problem, prepared), clock, rank, seed)
        asked = rank == size - 1
        hooks = Hooks(
            stop_requested=lambda s=search, a=asked: (
                "test" if a and s.committed >= stop_after else ""
            )
        )
        loops.append(
            NodeLoop(node, network.transport(rank), clock, explorer, journals[rank], hooks)
        )
    for _ in range(500_000):
        if all(loop.finished for loop in loops):
            break
        busy = [loop.turn() for loop in loops if not loop.finished]
        if not any(busy):
            clock.sleep(0.001)
    else:
        raise AssertionError("the ranks did not come to an end")
    chains = [verify_chain(journals[0].records())]
    if not snapshot:
        chains += [verify_chain(other.records()) for other in journals[1:]]
    assert len({chain.point for chain in chains}) == 1
    assert len({search.state_digest() for search in searches}) == 1
    return searches, chains[0]


SHARED = {seed: (p, prepare(p)) for seed in (1, 2) for p in [problem(seed)]}


@given(
    size=st.integers(1, 5),
    lag=st.integers(0, 3),
    seed=st.integers(0, 99),
    which=st.sampled_from([1, 2]),
)
@settings(max_examples=15, deadline=None)
def test_free_runs_certify_the_same_optimum_and_replay_to_the_same_bits(
    size: int, lag: int, seed: int, which: int
) -> None:
    shared = SHARED[which]
    searches, chain = run_free(size, lag, seed, shared)
    solution = searches[0].solution()
    assert solution.certified.all()
    ordered = Search(*shared, SearchOptions(None))
    explorer = Explorer(*shared)
    while not ordered.finished:
        pulse, tasks = ordered.plan()
        results = []
        for task in tasks:
            run = explorer.begin(task)
            while not run.step(10**6):
                pass
            results.append(run.result())
        ordered.commit(pulse, results)
    assert np.array_equal(solution.objective, ordered.solution().objective)
    again = Search(*shared, SearchOptions(None, lag, free=True))
    rerun(again, explorer, chain.pulses(), lag)
    assert again.solution().to_bytes() == solution.to_bytes()
    assert again.state_digest() == searches[0].state_digest()


def test_steps_take_part_of_a_pulse_and_late_tasks_are_given_up() -> None:
    shared = SHARED[1]
    _, chain = run_free(4, 1, 7, shared)
    steps = [body for body in chain.pulses() if isinstance(body, Step)]
    assert len(steps) == len(chain.pulses())
    pulses = [{pulse for pulse, _ in unpack_tasks(step.picks)} for step in steps]
    assert any(len(of) > 1 or min(of) != step.pulse for of, step in zip(pulses, steps, strict=True))
    late = [key for step in steps for key in unpack_tasks(step.dropped)]
    for step in steps:
        assert all(pulse <= step.pulse - 1 for pulse, _ in unpack_tasks(step.dropped))
        assert all(pulse >= step.pulse - 1 for pulse, _ in unpack_tasks(step.picks))
    picked = [key for step in steps for key in unpack_tasks(step.picks)]
    assert len(picked) == len(set(picked))
    assert not set(picked) & set(late)


def test_a_changed_list_does_not_replay() -> None:
    shared = SHARED[2]
    _, chain = run_free(3, 2, 3, shared)
    steps = chain.pulses()
    long = next(i for i, step in enumerate(steps) if len(step.contributors) > 2)
    body = steps[long]
    assert isinstance(body, Step)
    half = len(body.picks) // 16 * 8
    changed = replace(body, picks=body.picks[half:] + body.picks[:half])
    with pytest.raises(TamperError, match=f"commit {body.pulse}: the tasks differ"):
        rerun(
            Search(*shared, SearchOptions(None, 2, free=True)),
            Explorer(*shared),
            [*steps[:long], changed],
            2,
        )


def test_a_stopped_free_run_goes_on_and_replays() -> None:
    shared = SHARED[1]
    journal = MemoryJournal()
    searches, chain = run_free(3, 1, 5, shared, stop_after=2, journal=journal)
    assert not searches[0].finished
    assert chain.records[-1].kind == "stop"
    snapshot = searches[0].snapshot()
    restored = Search.restore(*shared, SearchOptions(None, 1, free=True), snapshot)
    assert restored.snapshot() == snapshot
    done, chain = run_free(2, 1, 6, shared, snapshot=snapshot, journal=journal)
    assert done[0].solution().certified.all()
    again = Search(*shared, SearchOptions(None, 1, free=True))
    rerun(again, Explorer(*shared), chain.pulses(), 1)
    assert again.state_digest() == done[0].state_digest()
