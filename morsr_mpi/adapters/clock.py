"""Clocks: the machine's, and one that a test moves by hand."""

from __future__ import annotations

import os
import time
from types import TracebackType

from morsr_mpi.base.ports import Clock


class SystemClock:
    """Clock port over the operating system."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def cpu(self) -> float:
        """CPU seconds of this process, all threads."""
        return time.process_time()

    def sleep(self, seconds: float) -> None:
        """Sleep, or give up the processor once when seconds is 0."""
        if seconds > 0.0:
            time.sleep(seconds)
        else:
            os.sched_yield()


class ManualClock:
    """Clock port that stands still until somebody sleeps or moves it: virtual time."""

    def __init__(self, step: float = 1e-6) -> None:
        """step: seconds that pass with each reading, so that slices end."""
        self._now = 0.0
        self._step = step

    def now(self) -> float:
        """Virtual seconds."""
        self._now += self._step
        return self._now

    def cpu(self) -> float:
        """Virtual seconds too: one process, always computing."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move time forward."""
        self._now += max(seconds, self._step)


class CpuCost:
    """CPU seconds spent inside it, as a context; `outside` is a context within that does not count.

    Not reentrant: entered anew only after it was left.
    """

    def __init__(self, clock: Clock) -> None:
        self.seconds = 0.0
        self.count = 0
        self.outside = _Outside(self)
        self._cpu = clock.cpu
        self._at = 0.0

    def __enter__(self) -> None:
        self.count += 1
        self._at = self._cpu()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds += self._cpu() - self._at


class _Outside:
    """What does not count."""

    def __init__(self, cost: CpuCost) -> None:
        self._cost = cost
        self._at = 0.0

    def __enter__(self) -> None:
        self._at = self._cost._cpu()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cost.seconds -= self._cost._cpu() - self._at
