"""One rank's figures while a run goes on (paper section 8.3): counted, told every few seconds.

A recorder outlives the loops of its rank: what a loop counted that a loss ended stays counted.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from typing import Any

from morsr_mpi.app.accounting import CATEGORIES
from morsr_mpi.app.histogram import Histogram, merged
from morsr_mpi.app.hooks import LoopStats
from morsr_mpi.app.load import memory_used
from morsr_mpi.app.spans import VOTED, Spans
from morsr_mpi.base import config
from morsr_mpi.base.ports import Clock
from morsr_mpi.node.core import Node
from morsr_mpi.node.effects import Contributed

RANK_VERSION = 1
#: Histograms that a rank tells.
LATENCIES = ("task", "vote", "round")
#: Counters that a rank tells beside CPU seconds by category, in the order of `counters`.
COUNTERS = (
    "busy", "tasks", "known", "cancelled", "work", "wasted", "rounds", "slot_bytes", "frame_bytes",
    "received_bytes",
)  # fmt: skip


class Recorder:
    """Counts for one rank. token: names the start of the run; spans: None for no trace."""

    def __init__(self, rank: int, clock: Clock, spans: Spans | None) -> None:
        self.rank = rank
        self.token = ""
        self.spans = spans
        #: CPU seconds that telling has cost this rank.
        self.cost = 0.0
        self._clock = clock
        self._begin = clock.now()
        self._cpu_begin = clock.cpu()
        self._stats: LoopStats | None = None
        self._node: Node | None = None
        self._before: Counter[str] = Counter()
        self._past = {name: Histogram() for name in LATENCIES}
        self._votes = Histogram()
        self._committed: dict[int, float] = {}
        self._decisions = self._views = 0

    def begin(self, node: Node) -> LoopStats:
        """A loop begins; return what it is to count in."""
        self._fold()
        self._node = node
        self._stats = LoopStats()
        return self._stats

    def committed(self, search: Any) -> None:
        """A pulse was committed: how long is it until a quorum has decided on it?"""
        if len(self._committed) < config.MAX_SPECULATIVE_PULSES:
            self._committed[search.committed - 1] = self._clock.now()

    def decided(self, mine: Contributed) -> None:
        """Commits were decided on."""
        now = self._clock.now()
        self._decisions += 1
        for pulse in range(mine.first, mine.end):
            at = self._committed.pop(pulse, None)
            if at is not None:
                self._votes.add(now - at)
                if pulse == mine.first and self.spans is not None:
                    self.spans.add(VOTED, at, now - at, mine.end)

    def sample(self) -> dict[str, Any]:
        """Return the figures as they stand, for a file."""
        counts = self._totals()
        return {
            "version": RANK_VERSION,
            "token": self.token,
            "rank": self.rank,
            "time": time.time(),
            "wall": self._clock.now() - self._begin,
            "process_cpu": self._clock.cpu() - self._cpu_begin,
            "cpu": {name: counts[f"cpu_{name}"] for name in CATEGORIES},
            **{name: counts[name] for name in COUNTERS},
            "memory": memory_used(),
            "resident_bytes": resident_bytes(),
            "decisions": self._decisions,
            "views": self._views + (self._node.view if self._node is not None else 0),
            "latencies": {name: found.to_json() for name, found in self._latencies().items()},
            "cost": self.cost,
        }

    def _totals(self) -> Counter[str]:
        found = Counter(self._before)
        if self._stats is not None:
            found.update(counters(self._stats))
        return found

    def _latencies(self) -> dict[str, Histogram]:
        found = {"vote": self._votes}
        stats = self._stats
        task, turn = (stats.task_seconds, stats.round_seconds) if stats else (None, None)
        for name, now in (("task", task), ("round", turn)):
            found[name] = merged([self._past[name], now or Histogram()])
        return found

    def _fold(self) -> None:
        """What the last loop counted is over."""
        self._past = {**self._latencies(), "vote": Histogram()}
        self._before = self._totals()
        if self._node is not None:
            self._views += self._node.view
        self._stats, self._node = None, None
        self._committed.clear()


def counters(stats: LoopStats) -> dict[str, float]:
    """Return what a loop has counted so far, while it goes on too."""
    jobs, meter = stats.jobs, stats.meter
    found: dict[str, float] = (
        {f"cpu_{name}": s for name, s in meter.seconds.items()} if meter else {}
    )
    if jobs is not None:
        found |= {
            "tasks": jobs.finished, "known": jobs.known, "cancelled": jobs.cancelled,
            "work": jobs.work, "wasted": jobs.wasted,
        }  # fmt: skip
    for name in ("busy", "rounds", "slot_bytes", "frame_bytes", "received_bytes"):
        found[name] = getattr(stats, name)
    return found


def resident_bytes() -> int:
    """Return the memory of this process that is in use; where the system does not say, its peak."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Pace:
    """Says when figures are due: soon, then ever more seldom, within a share of CPU time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begin = clock.now()
        self._cpu_begin = clock.cpu()
        self._due = self._begin + config.METRICS_FIRST_SECONDS
        self._late = self._begin + config.METRICS_LATE_SECONDS

    def due(self, now: float, cost: float) -> bool:
        """Whether it is time. now: monotonic seconds; cost: CPU seconds that all telling took."""
        if now < self._due:
            return False
        spent = self._clock.cpu() - self._cpu_begin
        allowed = config.METRICS_FREE_SECONDS + config.METRICS_COST * spent
        return cost <= allowed or now >= self._late

    def done(self, now: float) -> None:
        """They were told."""
        elapsed = now - self._begin
        usual = min(max(config.METRICS_FIRST_SECONDS, elapsed / 20.0), config.METRICS_SECONDS)
        usual = max(usual, elapsed * config.METRICS_SHARE)
        self._due, self._late = now + usual, now + usual + config.METRICS_LATE_SECONDS
