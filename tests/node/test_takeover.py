"""Slow, stopped and misjudged ranks: others take over, S and journal stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import ToyExplorer, ToySearch, ToyTask, toy_result, toy_settings

from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.journal_file import MemoryJournal
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.app.loop import NodeLoop
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.node.core import Node
from morsr_mpi.node.pulses import OpenPulse
from morsr_mpi.node.records import contributors_of
from morsr_mpi.provenance.chain import VerifiedChain, verify_chain
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.storage.memory_store import MemoryStore


class SlowRun:
    """Needs several slices for what another does in one: units pass with time."""

    def __init__(self, task: ToyTask, clock: ManualClock, seconds: float) -> None:
        self._task = task
        self._clock = clock
        self._left = seconds
        self.work = 0

    def step(self, units: int) -> bool:
        self._clock.sleep(min(self._left, 0.002))
        self._left -= 0.002
        if self._left <= 0.0:
            self.work = self._task.units
        return self._left <= 0.0

    def result(self) -> bytes:
        return toy_result(self._task)


class SlowExplorer:
    """A unit takes a millisecond, times a factor."""

    def __init__(self, clock: ManualClock, factor: float = 1.0) -> None:
        self._clock = clock
        self._factor = factor

    def begin(self, task: ToyTask) -> Any:
        return SlowRun(task, self._clock, 0.001 * self._factor * task.units)


def drive(
    searches: Sequence[ToySearch],
    clock: ManualClock,
    explorers: Sequence[Any],
    pauses: Sequence[tuple[float, float] | None],
    capacities: Sequence[int] | None = None,
) -> tuple[list[NodeLoop], list[VerifiedChain], list[float]]:
    """Run ranks of which some stand still for a while; returns loops, journals, end times."""
    size, authority = len(searches), TwinAuthority()
    network = MemoryNetwork(size)
    loops, journals = [], [MemoryJournal() for _ in range(size)]
    for rank, search in enumerate(searches):
        chosen = toy_settings(
            rank, size, lag=search.lag, capacity=(capacities or [1000] * 99)[rank]
        )
        node = Node(chosen, search, authority.signer(rank), MemoryStore())
        loops.append(
            NodeLoop(node, network.transport(rank), clock, explorers[rank], journals[rank])
        )
    ends = [0.0] * size
    for _ in range(2_000_000):
        if all(loop.finished for loop in loops):
            break
        busy = False
        for rank, loop in enumerate(loops):
            pause = pauses[rank]
            if loop.finished or (pause and pause[0] <= clock.now() < pause[1]):
                continue
            busy = loop.turn() or busy
            if loop.node.search.finished and not ends[rank]:
                ends[rank] = clock.now()
        if not busy:
            clock.sleep(0.001)
    else:
        raise AssertionError("the ranks did not come to an end")
    chains = [verify_chain(journal.records()) for journal in journals]
    assert len({chain.point for chain in chains}) == 1
    assert len({loop.node.search.state_digest() for loop in loops}) == 1
    return loops, chains, ends


def alone(search: ToySearch) -> bytes:
    clock = ManualClock(1e-5)
    (loop,), _, _ = drive([search], clock, [ToyExplorer()], [None])
    return loop.node.search.state_digest()


@given(
    size=st.integers(1, 8),
    lag=st.integers(0, 4),
    width=st.integers(1, 12),
    slow=st.lists(st.sampled_from([1.0, 1.0, 2.0, 7.0]), min_size=8, max_size=8),
    pauses=st.lists(
        st.none() | st.tuples(st.floats(0.01, 0.3), st.floats(0.05, 1.0)), min_size=8, max_size=8
    ),
    capacities=st.lists(st.integers(1, 2000), min_size=8, max_size=8),
)
@settings(max_examples=25, deadline=None)
def test_same_bits_for_any_ranks_slowness_and_stops(
    size: int,
    lag: int,
    width: int,
    slow: list[float],
    pauses: list[tuple[float, float] | None],
    capacities: list[int],
) -> None:
    def search() -> ToySearch:
        return ToySearch(6, width, (0, 30, 700, 9000), 20, lag=lag)

    clock = ManualClock(1e-5)
    spans = [(p[0], p[0] + p[1]) if p else None for p in pauses]
    loops, chains, _ = drive(
        [search() for _ in range(size)],
        clock,
        [SlowExplorer(clock, slow[rank]) for rank in range(size)],
        spans[:size],
        capacities,
    )
    assert loops[0].node.search.state_digest() == alone(search())
    assert len(chains[0].pulses()) == 6
    assert not any(loop.node.refused for loop in loops)


def test_what_a_stopped_rank_has_not_finished_is_taken_over() -> None:
    clock = ManualClock(1e-5)
    searches = [ToySearch(4, 16, (50,), 40, lag=3, awkward=False) for _ in range(4)]
    loops, chains, ends = drive(
        searches, clock, [SlowExplorer(clock)] * 4, [None, None, (0.05, 4.0), None]
    )
    assert max(ends[r] for r in (0, 1, 3)) < 3.5, "nobody waited for the stopped rank"
    given = [contributors_of(pulse).count(2) for pulse in chains[0].pulses()]
    assert sum(given) < 4 * 16 / 4
    assert loops[2].stats.rounds > 0
    assert searches[2].state_digest() == alone(ToySearch(4, 16, (50,), 40, lag=3, awkward=False))


def test_a_slow_rank_gets_less() -> None:
    clock = ManualClock(1e-5)
    searches = [ToySearch(8, 40, (50,), 40, awkward=False) for _ in range(2)]
    explorers = [SlowExplorer(clock), SlowExplorer(clock, 20.0)]
    loops, _, _ = drive(searches, clock, explorers, [None, None])
    first, second = loops[0].node.tasks_by_rank
    assert second < first / 4


def test_two_results_that_differ_are_a_dispute_of_both_ranks() -> None:
    search = ToySearch(1, 3, (50,), awkward=False)
    _, tasks = search.plan()
    pulse = OpenPulse(0, tasks, [0, 1, 2])
    assert pulse.accept(0, b"one", 1)
    assert not pulse.accept(0, b"one", 2)
    assert pulse.givers[0] == 1
    with pytest.raises(InternalError, match=r"ranks 1 and 2 gave different results for task 0"):
        pulse.accept(0, b"two", 2)
    with pytest.raises(InternalError, match=r"ranks 1 and 3 gave different results"):
        pulse.compare(0, 3, bytes(32))
    with pytest.raises(ProtocolError, match="impossible"):
        pulse.accept(3, b"", 1)


@pytest.mark.parametrize("slept", [0.15, 0.5, 4.0])
def test_a_rank_that_sleeps_while_the_others_meet_misses_nothing(slept: float) -> None:
    """What the others say once they have met waits until it has met them too."""
    size, clock = 4, ManualClock(1e-5)
    network, authority = MemoryNetwork(size), TwinAuthority()
    loops = []
    for rank in range(size):
        signer = authority.signer(rank)
        node = Node(toy_settings(rank, size), ToySearch(15), signer, MemoryStore())
        loops.append(NodeLoop(node, network.transport(rank), clock, ToyExplorer()))
    for loop in loops:
        loop.turn()  # all enter the round in which they meet
    while not all(loop.finished for loop in loops):
        awake = loops if clock.now() >= slept else loops[:3]
        busy = [loop.turn() for loop in awake if not loop.finished]
        clock.sleep(0.001 if any(busy) else 0.005)
        assert clock.now() < slept + 10.0
    assert {loop.node.search.state_digest() for loop in loops} == {alone(ToySearch(15))}
