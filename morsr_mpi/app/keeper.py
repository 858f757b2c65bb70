"""Keeps what a run has found on disk: the incumbent every second, checkpoints every so often.

Files are written by a thread of their own, so that a slow file system holds nobody up.
Only the newest of what waits is written. A write that fails is reported and tried again
with the next; the run goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from morsr_mpi.base.errors import MorsrError


class Writer:
    """A thread that runs the newest job of each name; names are independent of each other.

    warn: called from that thread with one line when a job failed.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._jobs: dict[str, Callable[[], None]] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._busy = False
        self._thread = threading.Thread(target=self._work, name="morsr-writer", daemon=True)
        self._thread.start()

    def submit(self, name: str, job: Callable[[], None]) -> None:
        """Have a job run soon; one of the same name that still waits is dropped."""
        with self._changed:
            self._jobs[name] = job
            self._changed.notify_all()

    def drain(self) -> None:
        """Wait until everything submitted has been run."""
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs and not self._busy)

    def close(self) -> None:
        """Run what waits, then end the thread; nothing may be submitted afterwards."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def drop(self) -> None:
        """Forget what waits and end the thread, after what is being run."""
        with self._changed:
            self._jobs.clear()
            self._closing = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._jobs) or self._closing)
                if not self._jobs:
                    return
                name = next(iter(self._jobs))
                job = self._jobs.pop(name)
                self._busy = True
            try:
                job()
            except (MorsrError, OSError, MemoryError) as exc:
                self._warn(f"{name} not written: {' '.join(str(exc).split())}")
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()


class Interval:
    """Says when something is due again; `seconds` after it was done, the first time too."""

    def __init__(self, seconds: float, start: float | None = None) -> None:
        self.seconds = seconds
        self._due = (time.monotonic() if start is None else start) + seconds

    def due(self, now: float) -> bool:
        """Whether it is time; monotonic seconds."""
        return now >= self._due

    def done(self, now: float) -> None:
        """Start the next interval."""
        self._due = now + self.seconds
