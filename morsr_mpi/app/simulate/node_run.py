"""One seeded run of simulated nodes: faults first, then healing and an end within a bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from morsr_mpi.app.jobs import ExplorerLike
from morsr_mpi.app.simulate.cluster import Cluster, Costs, Seat
from morsr_mpi.app.simulate.faults import FaultPlan, FaultyConduct, draw_plan, stream
from morsr_mpi.app.simulate.invariants import Invariants
from morsr_mpi.app.simulate.workload import WorkloadExplorer, WorkloadSearch, random_workload
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.ports import RunLike, SearchMachine, Signer, TaskLike
from morsr_mpi.node.core import Node
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.storage.memory_store import MemoryStore

#: Faults that nodes without votes survive.
NODE_FAULTS = (
    *("delay", "loss", "duplication", "reordering", "damage", "partition", "pause", "straggler"),
)
#: An idle rank of these runs may oversleep this long: a slow system, and fewer idle rounds.
LONGEST_SLEEP_SECONDS = 0.02
#: Virtual seconds after healing in which a run must end.
PROGRESS_SECONDS = 60.0


@dataclass
class RunReport:
    """What one seed gave. faults: effects by kind; checks: invariants looked at, by name;
    pulses: committed by every rank; trace: digest over all that happened; figures: counts for
    people."""

    seed: int
    size: int
    pulses: int
    faults: Counter[str]
    checks: Counter[str]
    violations: list[str] = field(default_factory=list)
    trace: bytes = b""
    seconds: float = 0.0
    figures: dict[str, int] = field(default_factory=dict)


def sequential_states(
    search: SearchMachine, begin: Callable[[Any], RunLike], lag: int
) -> list[bytes]:
    """Return the state digest after 0, 1, 2, … pulses of a run without ranks."""
    states = [search.state_digest()]
    open_pulses: list[tuple[int, Sequence[TaskLike]]] = []
    while True:
        while len(open_pulses) <= lag:
            number, tasks = search.plan()
            if not tasks:
                break
            open_pulses.append((number, tasks))
        if not open_pulses:
            return states
        number, tasks = open_pulses.pop(0)
        results = []
        for task in tasks:
            run = begin(task)
            while not run.step(1_000_000):
                pass
            results.append(run.result())
        search.commit(number, results)
        states.append(search.state_digest())


def run_nodes(seed: int, size: int | None = None, real_keys: bool = False) -> RunReport:
    """Run one seed. size: ranks, default drawn (4 to 32, mostly 4 to 10)."""
    draw = stream(seed, "run")
    drawn = draw_size(seed)
    size = drawn if size is None else size
    lag = draw.choice((0, 0, 1, 2, 3))
    pulses = draw.randint(8, 12)
    workload = random_workload(
        draw, pulses, draw.randint(1, 2 * size), draw.choice((200, 3000)), (0, 40, 700, 9000)
    )
    plan = draw_plan(seed, size, span=draw.uniform(0.1, 0.6), kinds=NODE_FAULTS)
    expected = sequential_states(WorkloadSearch(workload), WorkloadExplorer().begin, lag)
    authority = TwinAuthority(seed.to_bytes(8, "big"))

    def signer(rank: int) -> Signer:
        if real_keys:
            return Ed25519Signer(sha256(f"{seed}/{rank}".encode()))
        return authority.signer(rank)

    def node(rank: int) -> Node:
        settings = NodeSettings(
            rank=rank,
            size=size,
            problem=sha256(b"simulated problem"),
            options=sha256(b"simulated options"),
            lag=lag,
            capacity=draw_capacity(seed, rank),
        )
        return Node(settings, WorkloadSearch(workload), signer(rank), MemoryStore())

    return watch_nodes(seed, size, plan, node, [WorkloadExplorer()] * size, expected)


def draw_size(seed: int) -> int:
    """Ranks of a run: 4 to 32, mostly 4 to 10."""
    draw = stream(seed, "size")
    return draw.randint(4, 10) if draw.random() < 0.94 else draw.randint(11, 32)


def draw_capacity(seed: int, rank: int) -> int:
    """Announced speed of a rank."""
    return stream(seed, f"capacity {rank}").choice((500, 1000, 1000, 1000))


def watch_nodes(
    seed: int,
    size: int,
    plan: FaultPlan,
    node: Callable[[int], Node],
    explorers: Sequence[ExplorerLike],
    expected: Sequence[bytes],
    bound: float = PROGRESS_SECONDS,
) -> RunReport:
    """Run nodes through a plan and check every invariant at every commit.

    expected: state digests of a sequential run; bound: seconds from healing to the end.
    """
    conduct = FaultyConduct(seed, plan, spare_slots_below=1)
    truth = Invariants(range(size))
    trace = [b""]

    def committed(rank: int, which: Node) -> None:
        search = which.search
        state, done = search.state_digest(), search.committed
        trace[0] = sha256(trace[0] + bytes([rank]) + state + repr(cluster.queue.now).encode())
        truth.state(rank, done, state, expected[min(done, len(expected) - 1)])
        truth.ledger(rank, cluster.seats[rank].journal.records())

    cluster = Cluster(size, conduct, Costs(turn=2e-5), on_commit=committed)
    for seat in cluster.seats:
        _apply_plan(seat, plan, conduct.effects)
    cluster.open(lambda rank, clock: node(rank), explorers)
    cluster.run(until=plan.heal_at + bound)
    for seat in cluster.seats:
        truth.check(
            "progress",
            seat.finished_at is not None,
            f"rank {seat.rank} stands at pulse {seat.node.search.committed} of "
            f"{len(expected) - 1} {bound:g} s after healing"
            + (f": {seat.error}" if seat.error else ""),
        )
        truth.ledger(seat.rank, seat.journal.records())
    if all(seat.finished_at is not None for seat in cluster.seats):
        truth.check(
            "agreement",
            len({seat.node.chain.point for seat in cluster.seats}) == 1,
            "the ranks ended with different ledgers",
        )
    return RunReport(
        seed,
        size,
        min(seat.node.search.committed for seat in cluster.seats),
        conduct.effects,
        truth.checked,
        truth.violations,
        sha256(trace[0] + repr(sorted(conduct.effects.items())).encode()),
        cluster.queue.now,
    )


def _apply_plan(seat: Seat, plan: FaultPlan, effects: Counter[str]) -> None:
    """Let a plan's pauses and slowness befall one rank."""
    factor = plan.slowness_of(seat.rank)

    def slowness(now: float) -> float:
        if factor > 1.0:
            effects["straggler"] += 1
        return factor

    def ready_at(when: float) -> float:
        ready = plan.ready_at(seat.rank, when)
        if ready > when:
            effects["pause"] += 1
        return ready

    seat.rest.most = LONGEST_SLEEP_SECONDS
    seat.slowness = slowness
    seat.ready_at = ready_at
