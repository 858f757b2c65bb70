"""Ranks that sleep at random, longer than views last: the run ends, in the same state.

A rank may sleep before the others meet it, between two pulses, while views change; nothing that
was said to it meanwhile may be lost. Each of the first seeds once found such a loss.
"""

from __future__ import annotations

import os
import random

import pytest
from toys import ToyExplorer, ToySearch, toy_result, toy_settings

from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.app.loop import NodeLoop
from morsr_mpi.node.core import Node
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.security.unsigned import UnsignedSigner
from morsr_mpi.storage.memory_store import MemoryStore

PULSES = 15
#: Seconds on the clock of the run within which it must be over, once nobody sleeps any more.
PATIENCE = 150.0


def awaited(lag: int) -> bytes:
    """The state a sequential run ends in."""
    search = ToySearch(PULSES, lag=lag)
    while not search.finished:
        while len(search.flight) <= search.lag and search.plan()[1]:
            pass
        number, tasks = search.flight[0]
        search.commit(number, [toy_result(task) for task in tasks])
    return search.state_digest()


def sleepy_run(seed: int) -> None:
    """One run; fails when it does not come to an end, or ends elsewhere."""
    draw = random.Random(seed)
    size, lag = draw.choice([2, 3, 4, 4, 4, 5, 7]), draw.choice([0, 0, 0, 1, 2])
    signed = draw.random() >= 0.5
    clock, network, authority = ManualClock(1e-5), MemoryNetwork(size), TwinAuthority()
    loops = []
    for rank in range(size):
        signer = authority.signer(rank) if signed else UnsignedSigner()
        node = Node(
            toy_settings(rank, size, lag=lag), ToySearch(PULSES, lag=lag), signer, MemoryStore()
        )
        loops.append(NodeLoop(node, network.transport(rank), clock, ToyExplorer()))
    often, longest = draw.choice([0.0, 0.001, 0.01, 0.05]), draw.choice([0.05, 0.5, 4.0, 8.0])
    until = [draw.random() * longest if draw.random() < 0.5 else 0.0 for _ in range(size)]
    healed = draw.choice([1.0, 5.0, 20.0])
    while not all(loop.finished for loop in loops):
        busy = False
        for rank in draw.sample(range(size), size):
            if loops[rank].finished or clock.now() < until[rank]:
                continue
            if clock.now() < healed and draw.random() < often:
                until[rank] = clock.now() + longest * draw.random() ** 3
            else:
                busy = loops[rank].turn() or busy
        clock.sleep(0.002 if busy else 0.01)
        at = [loop.node.search.committed for loop in loops]
        assert clock.now() < healed + longest + PATIENCE, f"seed {seed}: no end, ranks at {at}"
    assert {loop.node.search.state_digest() for loop in loops} == {awaited(lag)}
    refused = [loop.node.refused for loop in loops]
    assert not any(refused), f"seed {seed}: honest ranks were refused: {refused}"


@pytest.mark.parametrize("seed", [6, 16, 1364, 111, 112, 118, 130, *range(20, 24)])
def test_nothing_said_to_a_sleeper_is_lost(seed: int) -> None:
    sleepy_run(seed)


@pytest.mark.long
def test_many_sleepers() -> None:
    for seed in range(int(os.environ.get("MORSR_SLEEPY_RUNS", "500"))):
        sleepy_run(seed)
