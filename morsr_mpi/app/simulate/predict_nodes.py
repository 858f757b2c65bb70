"""Prediction by messages: the same nodes, every message and every turn, at calibrated costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from morsr_mpi.adapters.simulated import Delivery, SimulatedClock
from morsr_mpi.app.simulate.calibration import Calibration, Network
from morsr_mpi.app.simulate.cluster import Cluster, CostlySigner, Costs
from morsr_mpi.app.simulate.traffic import CountingTransport
from morsr_mpi.app.simulate.workload import (
    Item,
    Workload,
    WorkloadExplorer,
    WorkloadSearch,
    WorkloadTask,
)
from morsr_mpi.base.digest import sha256
from morsr_mpi.node.core import Node
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.storage.memory_store import MemoryStore

#: Virtual units of a workload's task: microseconds of one core.
UNITS_PER_SECOND = 1e6


class PresetConduct:
    """A faultless network of a preset; a round is a collective of ceil(log2 N) steps."""

    in_order = True

    def __init__(self, network: Network, size: int) -> None:
        self._network = network
        steps = max(1, (size - 1).bit_length())
        self._round = steps * network.latency
        self._size = size

    def frame(self, now: float, source: int, dest: int, frame: bytes) -> Sequence[Delivery]:
        """One delivery."""
        return ((self._network.one_way(len(frame)), frame),)

    def slot(self, now: float, number: int, source: int, dest: int, slot: bytes) -> Delivery:
        """The steps, and all slots past every rank."""
        return (self._round + self._size * len(slot) / self._network.bytes_per_second, slot)


class CostlySearch(WorkloadSearch):
    """A workload whose planning, assignment and committing take time."""

    def __init__(
        self,
        workload: Workload,
        clock: SimulatedClock,
        plan: float,
        commit: float,
        digest: float,
    ) -> None:
        super().__init__(workload)
        self._clock = clock
        self._plan, self._commit, self._digest = plan, commit, digest

    def plan(self) -> tuple[int, Sequence[WorkloadTask]]:
        """Plan and take the time."""
        number, tasks = super().plan()
        self._clock.charge(self._plan * len(tasks))
        return number, tasks

    def commit(self, pulse: int, results: Sequence[bytes]) -> None:
        """Commit and take the time."""
        super().commit(pulse, results)
        self._clock.charge(self._commit * len(results) + self._digest)


@dataclass
class NodePrediction:
    """wall: seconds; efficiency, communication: shares of ranks × wall; messages, bytes: by
    type, over all ranks; tasks: of each pulse; rank_tasks: of each rank."""

    ranks: int
    wall: float
    efficiency: float
    communication: float
    messages: Counter[str]
    bytes: Counter[str]
    tasks: list[int] = field(default_factory=list)
    rank_tasks: list[int] = field(default_factory=list)


def predict_nodes(
    calibration: Calibration,
    network: Network,
    workload: Workload,
    ranks: int,
    plan: float = 0.0,
    commit: float = 0.0,
    digest: float = 0.0,
    lag: int = 0,
) -> NodePrediction:
    """Simulate every message of a run. plan, commit: CPU seconds per task; digest: per
    pulse."""
    cal = calibration
    costs = Costs(
        unit=1.0 / UNITS_PER_SECOND,
        turn=cal.turn + ranks * cal.slot,
        frame=cal.frame,
        sign=cal.sign,
        verify=cal.verify,
    )
    cluster = Cluster(ranks, PresetConduct(network, ranks), costs)
    per_task = plan + cal.assign_task + ranks * cal.assign_pair

    def node(rank: int, clock: SimulatedClock) -> Node:
        settings = NodeSettings(rank, ranks, sha256(b"p"), sha256(b"o"), lag=lag)
        search = CostlySearch(workload, clock, per_task, commit, digest)
        signer = CostlySigner(Ed25519Signer(sha256(b"%d" % rank)), clock, costs)
        return Node(settings, search, signer, MemoryStore())

    counting = [CountingTransport(seat.transport) for seat in cluster.seats]
    for seat, counter in zip(cluster.seats, counting, strict=True):
        seat.port = counter
    cluster.open(node, [WorkloadExplorer()] * ranks)
    cluster.run(until=1e12)
    wall = max(seat.finished_at or float("inf") for seat in cluster.seats)
    explored = sum(item.units for pulse in workload for item in pulse) / UNITS_PER_SECOND
    busy = sum(seat.clock.cpu() for seat in cluster.seats)
    inner = sum(map(len, workload)) * ranks * (per_task + commit) + len(workload) * ranks * digest
    messages: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for counter in counting:
        messages += counter.messages
        sizes += counter.bytes
    return NodePrediction(
        ranks,
        wall,
        explored / (ranks * wall),
        (busy - explored - inner) / (ranks * wall),
        messages,
        sizes,
        [len(pulse) for pulse in workload],
        list(cluster.seats[0].node.tasks_by_rank),
    )


def even_workload(pulses: int, ranks: int, each: int, units: int, size: int) -> Workload:
    """Pulses of equal tasks, `each` for every rank."""
    return tuple(tuple(Item(units, size, 1.0) for _ in range(each * ranks)) for _ in range(pulses))
