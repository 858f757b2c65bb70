"""Prediction of agreement: every message of a vote, and of a change of membership, at
calibrated costs. The core and its messages are the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from morsr_mpi.app.simulate.calibration import Calibration, Network
from morsr_mpi.app.simulate.faults import FaultPlan, FaultyConduct
from morsr_mpi.app.simulate.liars import Conspiracy
from morsr_mpi.app.simulate.member import Member, Sent
from morsr_mpi.app.simulate.replica import sequential
from morsr_mpi.app.simulate.vote_truth import VoteTruth
from morsr_mpi.app.simulate.vote_world import MessageCosts, VoteWorld
from morsr_mpi.base.config import COLLECTOR_ABOVE
from morsr_mpi.consensus.effects import Decided, MembershipChanged
from morsr_mpi.consensus.messages import PrePrepare

#: More ranks than this do not vote (DESIGN section 4, `max_voters`).
MAX_VOTERS = 128
#: Decisions that are timed.
_DECISIONS = 3


class Stopwatch(VoteTruth):
    """Notes when decisions were proposed and taken, and when a membership began."""

    world: VoteWorld

    def __init__(self, size: int) -> None:
        super().__init__([], size, sequential(200))
        self.proposed: dict[int, float] = {}
        self.taken: dict[int, list[float]] = {}
        self.reformed: list[float] = []

    def _now(self, member: Member) -> float:
        return max(self.world.queue.now, self.world.instances[member.rank][0].busy_until)

    def sent(self, member: Member, message: Sent) -> None:
        """Note a proposal."""
        if isinstance(message, PrePrepare):
            height = message.vote.subject.height
            self.proposed.setdefault(height, self.world.queue.now)

    def decided(self, member: Member, effect: Decided, passed: list[tuple[int, bytes]]) -> None:
        """Note a decision."""
        self.taken.setdefault(effect.height, []).append(self._now(member))

    def left(self, member: Member, effect: MembershipChanged) -> None:
        """Note a new membership."""
        self.reformed.append(self._now(member))


@dataclass(frozen=True)
class VotePrediction:
    """Seconds: latency, median over ranks from proposal to decision; cpu, of one decision on
    one rank; reform, from a death to the membership without the dead rank, on all."""

    latency: float
    cpu: float
    reform: float


def predict_votes(calibration: Calibration, network: Network, ranks: int) -> VotePrediction:
    """Simulate the votes of `ranks` ranks, at most MAX_VOTERS of which vote."""
    size = min(ranks, MAX_VOTERS)
    if size == 1:
        return VotePrediction(0.0, 0.0, 0.0)
    costs = MessageCosts(calibration.vote, calibration.sign, calibration.verify)
    report = calibration.death_report.get(network.name, 0.1)

    def world() -> tuple[VoteWorld, Stopwatch]:
        watch = Stopwatch(size)
        plan = FaultPlan(delay=(network.one_way(300),) * 2)
        made = VoteWorld(
            0, size, FaultyConduct(0, plan), watch, Conspiracy(), 1e6,
            costs=costs, death_report=(report, report),
        )  # fmt: skip
        watch.world = made
        return made, watch

    quiet, watch = world()
    quiet.open({}, _DECISIONS, 1.0, COLLECTOR_ABOVE)
    quiet.run(1e6)
    latency = median(
        at - watch.proposed[height] for height, times in watch.taken.items() for at in times
    )
    cpu = sum(i.spent for instances in quiet.instances for i in instances) / size / _DECISIONS
    if size == 2:  # the survivor is alone
        return VotePrediction(latency, cpu, report)
    losing, watch = world()
    losing.open({}, 10**6, 1.0, COLLECTOR_ABOVE)
    death = 1e-9
    losing.crash(death, size - 1)
    while len(watch.reformed) < size - 1 and losing.queue.now < 60.0 and losing.queue.step():
        pass
    reform = max(watch.reformed, default=60.0) - death
    return VotePrediction(latency, cpu, reform)
