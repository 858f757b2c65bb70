"""Measures what a node's own work costs, and what two ranks of one machine say to each other.

Used by `benchmarks/calibrate.py`; as a program under mpirun it prints latency and rate.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from morsr_mpi.adapters.simulated import EvenConduct
from morsr_mpi.app.simulate.cluster import Cluster, Costs
from morsr_mpi.app.simulate.faults import stream
from morsr_mpi.app.simulate.liars import Conspiracy
from morsr_mpi.app.simulate.vote_truth import VoteTruth
from morsr_mpi.app.simulate.vote_world import VoteWorld
from morsr_mpi.app.simulate.workload import Item, WorkloadExplorer, WorkloadSearch
from morsr_mpi.base.digest import sha256
from morsr_mpi.node.core import Node
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.security.unsigned import UnsignedSigner
from morsr_mpi.storage.memory_store import MemoryStore

#: Seconds a measurement lasts.
_MEASURE_SECONDS = 0.3


def seconds_per_call(call: Callable[[], object]) -> float:
    """CPU seconds of one call: the least of five batches, so that others disturb little."""
    call()
    count = 1
    while True:
        start = time.process_time()
        for _ in range(count):
            call()
        if time.process_time() - start > _MEASURE_SECONDS / 10:
            break
        count *= 2
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(count):
            call()
        best = min(best, (time.process_time() - start) / count)
    return best


@dataclass(frozen=True)
class Probe:
    """CPU seconds: turn, a pass of the loop with a round of empty slots; frame, opening a
    frame with one result, its signature apart; slot, looking at one empty slot; vote, taking
    one vote, its signature apart."""

    turn: float
    frame: float
    slot: float
    vote: float


def measure_ranks(size: int = 8, pulses: int = 60) -> Probe:
    """Run nodes with empty tasks in this process, and split what they cost."""
    busy = _node_seconds(size, pulses, 1)
    turn, slot = _idle_cost()
    # Of each pulse every rank opens one frame of each other one.
    frames = size * (size - 1) * pulses
    frame = max(0.0, busy.cpu - busy.turns * turn) / frames
    return Probe(turn, frame, slot, _vote_seconds())


@dataclass(frozen=True)
class _Busy:
    cpu: float
    turns: int


def _node_seconds(size: int, pulses: int, tasks_each: int) -> _Busy:
    """CPU seconds and turns of whole clusters; one task for each rank and pulse."""
    workload = tuple(
        tuple(Item(0, 200, 1.0) for _ in range(tasks_each * size)) for _ in range(pulses)
    )
    cluster = Cluster(size, EvenConduct(1e-4), Costs())

    def node(rank: int, clock: object) -> Node:
        settings = NodeSettings(rank, size, sha256(b"p"), sha256(b"o"))
        return Node(settings, WorkloadSearch(workload), UnsignedSigner(), MemoryStore())

    cluster.open(node, [WorkloadExplorer()] * size)
    start = time.process_time()
    cluster.run(until=1e9)
    took = time.process_time() - start
    return _Busy(took, sum(seat.turns for seat in cluster.seats))


def _idle_cost() -> tuple[float, float]:
    """CPU seconds of a turn with an empty round, and of each slot in it."""
    found = []
    for size in (2, 64):
        busy = _empty_rounds(size)
        found.append(busy.cpu / busy.turns)
    slot = max(0.0, found[1] - found[0]) / 62
    return max(0.0, found[0] - 2 * slot), slot


def _empty_rounds(size: int) -> _Busy:
    """A cluster whose only task never ends while it is watched: rounds of empty slots."""
    workload = ((Item(10**9, 0, 1.0),),)
    cluster = Cluster(size, EvenConduct(1e-4), Costs())

    def node(rank: int, clock: object) -> Node:
        settings = NodeSettings(rank, size, sha256(b"p"), sha256(b"o"))
        return Node(settings, WorkloadSearch(workload), UnsignedSigner(), MemoryStore())

    cluster.open(node, [WorkloadExplorer()] * size)
    cluster.run(until=0.1)
    before = sum(seat.turns for seat in cluster.seats)
    start = time.process_time()
    cluster.run(until=0.1 + 40.0 / size)
    took = time.process_time() - start
    return _Busy(took, sum(seat.turns for seat in cluster.seats) - before)


def _vote_seconds() -> float:
    """CPU seconds of one message of the agreement, signatures (a hash here) included."""
    from morsr_mpi.app.simulate.faults import FaultPlan, FaultyConduct
    from morsr_mpi.app.simulate.replica import sequential

    truth = VoteTruth([], 10, sequential(2000))
    conduct = FaultyConduct(0, FaultPlan(delay=(1e-4, 1e-4)))
    world = VoteWorld(0, 10, conduct, truth, Conspiracy(), 1.0)
    world.open({}, 60, 1.0, 64)
    stream(0, "unused")
    start = time.process_time()
    world.run(1e9)
    return (time.process_time() - start) / world.messages


def main() -> None:
    """Under mpirun with two ranks: print latency and rate as JSON."""
    from morsr_mpi.adapters.mpi_probe import ping_pong

    found = ping_pong()
    if found is not None:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
