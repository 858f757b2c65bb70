"""Clocks: the machine's, and one that a test moves by hand."""

from __future__ import annotations

import os
import time


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
