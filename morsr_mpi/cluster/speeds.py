"""Speeds of the ranks, learned from the work they report (paper, algorithm 3.1: capacities)."""

from __future__ import annotations

from collections.abc import Sequence

from morsr_mpi.cluster.assignment import OVERLOADED
from morsr_mpi.cluster.rebalance import UNDERLOADED

#: Units per second of a rank of ordinary speed before anything is measured.
USUAL_SPEED = 1_000_000.0
#: Busy time over which a measurement gains its full weight.
MEMORY_SECONDS = 1.0
#: Busy time of every rank before shares follow what was measured.
TRUST_SECONDS = 1.0
#: Shares are numbers up to this, the mean of the ranks that compute is 1000.
MEAN_SHARE = 1000
MAX_SHARE = 65535


class SpeedBook:
    """Work units per second of each rank, and the shares that orders follow."""

    def __init__(self, capacities: Sequence[int]) -> None:
        """capacities: relative speeds the ranks were started with, 0: computes nothing."""
        self._capacities = tuple(capacities)
        self._at: list[tuple[int, int]] = [(0, 0)] * len(capacities)
        #: Work units and busy milliseconds as each rank last reported them.
        self.latest: list[tuple[int, int]] = [(0, 0)] * len(capacities)
        self._busy = [0.0] * len(capacities)
        self.speeds = [USUAL_SPEED * c / MEAN_SHARE for c in capacities]
        self.spent = [0.0] * len(capacities)
        self.shares = self._capacities

    def hear(self, rank: int, work: int, spent: int, busy: int) -> None:
        """Take in what a rank reports: units, units in unfinished tasks, busy milliseconds."""
        before, busy_before = self._at[rank]
        units, seconds = work - before, (busy - busy_before) / 1000.0
        if units < 0 or seconds < 0.0:
            return  # older than what is known
        self.spent[rank] = float(spent)
        self.latest[rank] = (work, busy)
        if seconds < 0.05:
            return  # too short to measure; the next report covers it too
        self._at[rank] = (work, busy)
        if self._capacities[rank] == 0 or units == 0:
            return  # tasks that cost nothing say nothing about speed
        trusted = self._busy[rank] > 0.0
        weight = min(1.0, seconds / MEMORY_SECONDS) if trusted else 1.0
        self._busy[rank] += seconds
        self.speeds[rank] += weight * (units / seconds - self.speeds[rank])

    def learn(self) -> bool:
        """Let the shares follow the speeds where they differ by more than the thresholds.

        True when they changed.
        """
        active = [r for r, c in enumerate(self._capacities) if c > 0]
        if len(active) < 2 or min(self._busy[r] for r in active) < TRUST_SECONDS:
            return False
        mean = sum(self.speeds[r] for r in active) / len(active)
        measured = [
            min(MAX_SHARE, max(1, round(MEAN_SHARE * s / mean))) if c > 0 else 0
            for s, c in zip(self.speeds, self._capacities, strict=True)
        ]
        total = sum(measured)
        assumed = sum(self.shares)
        ratios = [measured[r] / total / (self.shares[r] / assumed) for r in active]
        if all(UNDERLOADED <= ratio <= OVERLOADED for ratio in ratios):
            return False
        self.shares = tuple(measured)
        return True
