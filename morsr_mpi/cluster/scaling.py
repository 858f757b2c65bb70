"""When to give a job more or fewer nodes (paper section 8.2, algorithm 8.1).

The paper's thresholds on the utilisation of processors and memory, with what it leaves open
("consistently"): a threshold has to be passed for a while before anything is done, a load that
hovers around it does not start the wait again (hysteresis), and after each change there is a pause.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from morsr_mpi.base.errors import UsageError


@dataclass(frozen=True)
class ScalingPolicy:
    """Thresholds as shares of 1, sizes in nodes, times in seconds.

    up: processors and memory both above; down: both below. margin: how far the load may fall back
    behind a threshold it has passed. Raises UsageError for values that make no sense.
    """

    cpu_up: float = 0.8
    memory_up: float = 0.75
    cpu_down: float = 0.3
    memory_down: float = 0.4
    grow: float = 1.5
    shrink: float = 0.7
    least: int = 1
    most: int = 64
    margin: float = 0.05
    hold: float = 120.0
    cool_down: float = 600.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("cpu", self.cpu_down, self.cpu_up),
            ("memory", self.memory_down, self.memory_up),
        ):
            if not 0.0 <= low <= 1.0 or not 0.0 <= high <= 1.0:
                raise UsageError(f"thresholds are shares between 0 and 1: {name} {low:g}, {high:g}")
        if self.cpu_down > self.cpu_up:
            raise UsageError("--cpu-down must not be above --cpu-up")
        if not 1 <= self.least <= self.most:
            raise UsageError(f"sizes: 1 <= --min <= --max, not {self.least} and {self.most}")
        if self.grow <= 1.0 or not 0.0 < self.shrink < 1.0:
            raise UsageError("a job grows by a factor above 1 and shrinks by one below")
        if min(self.hold, self.cool_down, self.margin) < 0.0:
            raise UsageError("times and margins are not negative")

    def larger(self, size: int) -> int:
        """The next size up: the paper's factor, one node at least, within the bounds."""
        return max(self.least, min(max(size + 1, math.floor(size * self.grow)), self.most))

    def smaller(self, size: int) -> int:
        """The next size down, likewise."""
        return min(self.most, max(min(size - 1, math.ceil(size * self.shrink)), self.least))


@dataclass(frozen=True)
class Load:
    """One look at a job. at: seconds; size: nodes; cpu, memory: utilisation, shares of 1."""

    at: float
    size: int
    cpu: float
    memory: float


@dataclass(frozen=True)
class ScalingDecision:
    """To go from one size to another, and why."""

    before: int
    after: int
    reason: str


class Autoscaler:
    """Looks at the load now and then, and says when to change the size."""

    def __init__(self, policy: ScalingPolicy) -> None:
        self._policy = policy
        self._size: int | None = None
        self._trend = 0
        self._since = 0.0
        self._quiet_until = float("-inf")

    def observe(self, load: Load) -> ScalingDecision | None:
        """Take in a look; return a decision when it is time for one.

        Whoever carries it out, or does not, the pause begins.
        """
        if load.size != self._size:  # somebody has changed it, perhaps we
            self._size, self._trend = load.size, 0
        trend = self._trend_of(load)
        if trend != self._trend:
            self._trend, self._since = trend, load.at
        if trend == 0 or load.at < self._quiet_until or load.at - self._since < self._policy.hold:
            return None
        policy = self._policy
        after = policy.larger(load.size) if trend > 0 else policy.smaller(load.size)
        if (after - load.size) * trend <= 0:
            return None  # at its bound already
        self._trend = 0
        self._quiet_until = load.at + policy.cool_down
        return ScalingDecision(load.size, after, self._why(load, trend))

    def _trend_of(self, load: Load) -> int:
        """1: more is wanted, -1: less, 0: all is well. A trend ends later than it begins."""
        policy = self._policy
        up = policy.margin if self._trend > 0 else 0.0
        down = policy.margin if self._trend < 0 else 0.0
        if load.cpu > policy.cpu_up - up and load.memory > policy.memory_up - up:
            return 1
        if load.cpu < policy.cpu_down + down and load.memory < policy.memory_down + down:
            return -1
        return 0

    def _why(self, load: Load, trend: int) -> str:
        policy = self._policy
        sign = ">" if trend > 0 else "<"
        cpu, memory = (
            (policy.cpu_up, policy.memory_up)
            if trend > 0
            else (policy.cpu_down, policy.memory_down)
        )
        return (
            f"for {load.at - self._since:.0f} s cpu {sign} {cpu:g} (now {load.cpu:.2f}) and "
            f"memory {sign} {memory:g} (now {load.memory:.2f})"
        )
