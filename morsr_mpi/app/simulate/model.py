"""The scale model: what many ranks would do, pulse by pulse, from calibrated costs alone.

Simulating every message is out of reach for thousands of ranks, so each rank here is four
numbers per pulse: what it explores, what it opens, what it says, when it is done. Beside small
clusters simulated message by message (`predict_nodes`) it is held to the same figures by tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from morsr_mpi.app.simulate.calibration import Calibration, Network, Recorded
from morsr_mpi.app.simulate.predict_votes import predict_votes
from morsr_mpi.base.config import IDLE_SLEEP_MAX_SECONDS, MAX_ROUND_INTERVAL_SECONDS, SLOT_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.cluster.assignment import assign
from morsr_mpi.node.pacing import hold_seconds

#: Pulses that are modelled, after the width of pulses has settled.
PULSES = 24
#: Seconds between certificates at most: one per checkpoint (`--checkpoint-every`).
CERTIFICATE_SECONDS = 30.0
#: Share of the claims of *exhausted* that are executed again (`--recheck`).
DEFAULT_RECHECK = 0.02

#: A task: CPU seconds, bytes of its result, predicted weight.
Timed = tuple[float, int, float]


@dataclass(frozen=True)
class Prediction:
    """Shares of ranks × wall: efficiency, explored for the first time; communication, CPU in
    exchange, wire, votes and signatures; planning, in planning, assigning, committing; recheck;
    waiting. pulse: seconds of one; width: tasks of one; vote_latency, recovery: seconds."""

    ranks: int
    dims: int
    workload: str
    network: str
    efficiency: float
    communication: float
    planning: float
    recheck: float
    waiting: float
    pulse: float
    width: float
    vote_latency: float
    recovery: float


def pulses_of(recorded: Recorded, workload: str, count: int) -> list[list[Timed]]:
    """Return `count` pulses as they come once their width has settled.

    (a), many targets: as many batches as one pulse takes, the recorded ones in turn; (b), one
    target being certified: the recorded pulses as they are, in turn.
    """
    if workload == "b":
        return [list(pulse) for pulse in islice(cycle(recorded.pulses), count)]
    from morsr_mpi.search.schedule import MAX_PULSE_TASKS, MAX_PULSE_UNITS

    source = cycle([task for pulse in recorded.pulses for task in pulse])
    found = []
    for _ in range(count):
        pulse: list[Timed] = []
        room = MAX_PULSE_UNITS
        while len(pulse) < MAX_PULSE_TASKS and room > 0.0:
            pulse.append(next(source))
            room -= pulse[-1][2]
        found.append(pulse)
    return found


def predict(
    calibration: Calibration,
    network: Network,
    workload: str,
    dims: int,
    ranks: int,
    lag: int = 0,
    recheck: float = DEFAULT_RECHECK,
) -> Prediction:
    """Predict a run of a recorded workload. Raises UsageError for one that is not recorded."""
    recorded = calibration.recorded(workload, dims)
    votes = predict_votes(calibration, network, ranks)
    model = _Ranks(calibration, network, recorded, ranks, lag)
    again = recheck if workload == "b" else 0.0  # beams prune nothing, so nothing is rechecked
    for pulse in pulses_of(recorded, workload, PULSES):
        model.pulse(pulse, again)
    wall = model.wall
    total = ranks * wall
    certificates = max(1.0, wall / CERTIFICATE_SECONDS)
    communication = (model.talking + certificates * ranks * votes.cpu) / total
    efficiency = model.explored / total
    planning = model.planned / total
    rechecked = model.rechecked / total
    return Prediction(
        ranks, dims, workload, network.name, efficiency, communication, planning, rechecked,
        max(0.0, 1.0 - efficiency - communication - planning - rechecked),
        wall / PULSES, model.tasks / PULSES, votes.latency,
        votes.reform + model.longest,
    )  # fmt: skip


class _Ranks:
    """All ranks side by side; seconds, summed over ranks where no rank is named."""

    def __init__(
        self, cal: Calibration, network: Network, recorded: Recorded, ranks: int, lag: int
    ) -> None:
        self._cal, self._network, self._recorded = cal, network, recorded
        self._ranks, self._lag = ranks, lag
        self._free = np.zeros(ranks)
        self._commits: list[float] = []
        self._number = 0
        self.explored = self.talking = self.planned = self.rechecked = 0.0
        self.tasks = 0
        self.longest = 0.0

    @property
    def wall(self) -> float:
        """When the last commit was."""
        return self._commits[-1]

    def pulse(self, tasks: list[Timed], recheck: float) -> None:
        """Let one pulse pass: explore, exchange, commit, as far apart as the lag allows."""
        n, cal, number = self._ranks, self._cal, len(self._commits)
        ids = [sha256(f"{number} {i}".encode()) for i in range(len(tasks))]
        owner = np.array(assign(ids, [t[2] for t in tasks], [1.0] * n))
        seconds = np.array([t[0] for t in tasks])
        own = np.bincount(owner, weights=seconds, minlength=n)
        frames = np.bincount(owner, minlength=n).astype(float)
        frames[0] += 1.0  # the order
        # A rank says what it has finished when its share is done, or after the longest time that
        # results wait; the order goes in a frame of its own.
        frames = np.minimum(frames, np.ceil(own / hold_seconds(n, self._lag)) + 1.0)
        opened = frames.sum() - frames
        plan = len(tasks) * (
            self._recorded.plan + self._recorded.commit + cal.assign_task + n * cal.assign_pair
        )
        plan += self._recorded.digest
        said = frames * cal.sign + opened * (cal.verify + cal.frame)
        rounds = own.max() / MAX_ROUND_INTERVAL_SECONDS + 1.0
        idle_turns = rounds * (cal.turn + n * cal.slot)
        again = recheck * seconds.sum() / n
        work = own + again + said + idle_turns + plan
        before = number - self._lag - 1
        begin = np.maximum(self._free, self._commits[before] if before >= 0 else 0.0)
        self._free = begin + work
        commit = float(self._free.max()) + self._tail()
        self._commits.append(max(commit, self._commits[-1] if self._commits else 0.0))
        self.explored += float(seconds.sum())
        self.talking += float(said.sum()) + n * idle_turns
        self.planned += n * plan
        self.rechecked += n * again
        self.tasks += len(tasks)
        self.longest = max(self.longest, float(seconds.max()))

    def _tail(self) -> float:
        """From the last result to everybody's having it: idle ranks wake, one collective."""
        net, n = self._network, self._ranks
        steps = max(1, (n - 1).bit_length())
        collective = steps * net.latency + n * SLOT_BYTES / net.bytes_per_second
        return collective + IDLE_SLEEP_MAX_SECONDS if n > 1 else 0.0
