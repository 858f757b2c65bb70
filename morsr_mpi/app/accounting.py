"""Where a rank's processor time goes (DESIGN section 7; the paper's O_comm, section 7.1).

The loop says what it turns to; between two such calls the time belongs to what it was at. The
search, the journal and whatever checks and votes are wrapped, so that the node needs no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from morsr_mpi.base.ports import Clock, FreeSearchMachine, TaskLike

T = TypeVar("T")

#: explore: tasks; commit: plan, commit and digest of S; exchange: frames, rounds, the node;
#: vote, check: agreement and rechecks; ledger: records and files; wait: polling without work.
CATEGORIES = ("explore", "commit", "exchange", "vote", "check", "ledger", "wait")


class Watcher(Protocol):
    """Who wants to know when a rank turns from one thing to another (`spans.Spans`)."""

    def turn(self, was: str, now: float) -> None: ...


class Meter:
    """CPU seconds by category. watcher: told of every turn, in monotonic seconds."""

    def __init__(self, clock: Clock, watcher: Watcher | None = None) -> None:
        self._clock = clock
        self._watcher = watcher
        self._at = clock.cpu()
        self._now = "wait"
        self.seconds = dict.fromkeys(CATEGORIES, 0.0)

    def turn_to(self, category: str) -> str:
        """Count the time since the last call for what was done then; return what that was."""
        before, now = self._now, self._clock.cpu()
        self.seconds[before] += now - self._at
        self._at, self._now = now, category
        if self._watcher is not None and category != before:
            self._watcher.turn(before, self._clock.now())
        return before

    def measure(self, category: str, call: Callable[[], T]) -> T:
        """Return what a call returns, its time counted for a category."""
        before = self.turn_to(category)
        try:
            return call()
        finally:
            self.turn_to(before)

    def reclassify(self, source: str, mark: float, target: str) -> None:
        """Count what a category gained since it stood at `mark` for another one."""
        gained = self.seconds[source] - mark
        self.seconds[source] -= gained
        self.seconds[target] += gained


class MeteredSearch:
    """The search with its time counted as commit; everything else of it passes through."""

    def __init__(self, search: Any, meter: Meter) -> None:
        self._search: FreeSearchMachine = search
        self._meter = meter

    @property
    def committed(self) -> int:
        """As the search."""
        return self._search.committed

    @property
    def planned(self) -> int:
        """As the search."""
        return self._search.planned

    @property
    def finished(self) -> bool:
        """As the search."""
        return self._search.finished

    def plan(self) -> tuple[int, Sequence[TaskLike]]:
        """As the search."""
        return self._meter.measure("commit", self._search.plan)

    def commit(self, pulse: int, results: Sequence[bytes]) -> None:
        """As the search."""
        self._meter.measure("commit", lambda: self._search.commit(pulse, results))

    def commit_free(
        self, step: int, picks: Sequence[tuple[int, int]], results: Sequence[bytes]
    ) -> Sequence[tuple[int, int]]:
        """As the search."""
        return self._meter.measure("commit", lambda: self._search.commit_free(step, picks, results))

    def settled(self) -> Sequence[tuple[int, int]]:
        """As the search."""
        return self._search.settled()

    def in_flight(self) -> Sequence[tuple[int, Sequence[TaskLike]]]:
        """As the search."""
        return self._search.in_flight()

    def state_digest(self) -> bytes:
        """As the search."""
        return self._meter.measure("commit", self._search.state_digest)
