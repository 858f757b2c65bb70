"""Requests from outside to stop or to checkpoint: signals, the file STOP, the wall time.

A stop is graceful: it is noted here and taken up at the next pulse boundary. SIGUSR1
stops, SIGUSR2 asks for a checkpoint. In a plain run (no mpirun above) the first SIGINT
or SIGTERM stops gracefully too and a second SIGINT ends at once; under a bare mpirun,
which kills its ranks 0.2 s after either, they keep their meaning.
"""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from morsr_mpi.app.environment import job_seconds_left

#: Share of --max-hours that is used, so that the end of a run fits in.
MAX_HOURS_SHARE = 0.99
#: Kept back of a batch job's time for the end of a run, beside what checkpoints take.
END_RESERVE_SECONDS = 30.0
#: How many of the slowest checkpoint so far have to fit in before the deadline.
RESERVE = 2.0
#: The stop file is looked for this often; a stat on a slow file system may take a while.
STOP_FILE_SECONDS = 0.25


class Requests:
    """What has been asked for so far. Use as a context manager: handlers are put back.

    stop_file: path looked for by `poll`, None for none. deadline: monotonic seconds at
    which to stop, None for never. interrupts: take SIGINT and SIGTERM over.
    """

    def __init__(
        self,
        *,
        stop_file: Path | None = None,
        deadline: float | None = None,
        interrupts: bool = False,
    ) -> None:
        self.stop_file = stop_file
        #: Another one, of what this run is part of.
        self.outer_stop_file: Path | None = None
        self.deadline = deadline
        self.reason: str | None = None
        #: Seconds kept back before the deadline: what the slowest checkpoint has taken.
        self.reserve = 0.0
        self._why = "--max-hours is used up"
        self._checkpoint = False
        self._interrupts = interrupts
        self._next_look = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Requests:
        """Install the handlers; outside the main thread there is nothing to install."""
        if threading.current_thread() is threading.main_thread():
            wanted = [signal.SIGUSR1, signal.SIGUSR2]
            if self._interrupts:
                wanted += [signal.SIGINT, signal.SIGTERM]
            for number in wanted:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the previous handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note the request; a second Ctrl-C ends the program now."""
        if number == signal.SIGUSR2:
            self._checkpoint = True
        elif number == signal.SIGINT and self.reason is not None:
            raise KeyboardInterrupt
        else:
            self.ask_to_stop(signal.Signals(number).name)

    def limit(self, max_hours: float | None, begin: float, remaining: float | None = None) -> None:
        """Stop in time for the wall time; begin: of the run, monotonic seconds.

        remaining: seconds from now that the batch job has left; default: what the environment
        says, if anything. A hundredth of --max-hours is kept back, of a job END_RESERVE_SECONDS.
        """
        if max_hours is not None:
            self.deadline = begin + 3600.0 * max_hours * MAX_HOURS_SHARE
        left = job_seconds_left(time.time()) if remaining is None else remaining
        if left is not None:
            end = time.monotonic() + left - END_RESERVE_SECONDS
            if self.deadline is None or end < self.deadline:
                self.deadline, self._why = end, "the job's wall time is nearly used up"

    def ask_to_stop(self, reason: str) -> None:
        """Note a request to stop; the first reason stands."""
        self.reason = self.reason or reason

    def take_checkpoint(self) -> bool:
        """Whether a checkpoint was asked for since the last call."""
        wanted, self._checkpoint = self._checkpoint, False
        return wanted

    def poll(self, now: float) -> str | None:
        """Look at the clock and the stop file; return why to stop, None to go on.

        now: monotonic seconds.
        """
        late = self.deadline is not None and now >= self.deadline - RESERVE * self.reserve
        if self.reason is None and late:
            self.ask_to_stop(self._why)
        if self.reason is None and now >= self._next_look:
            self._next_look = now + STOP_FILE_SECONDS
            for path in (self.stop_file, self.outer_stop_file):
                if path is not None and path.exists():
                    self.ask_to_stop(f"{path} exists")
        return self.reason
