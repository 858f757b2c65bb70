"""Requests from outside to stop or to checkpoint: signals, the file STOP, the wall time.

A stop is graceful: it is noted here and taken up at the next pulse boundary. SIGUSR1
stops, SIGUSR2 asks for a checkpoint. In a plain run (no mpirun above) the first SIGINT
or SIGTERM stops gracefully too and a second SIGINT ends at once; under a bare mpirun,
which kills its ranks 0.2 s after either, they keep their meaning.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

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
        self.deadline = deadline
        self.reason: str | None = None
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

    def limit(self, max_hours: float | None, begin: float) -> None:
        """Stop after some hours; begin: of the run, monotonic seconds."""
        if max_hours is not None:
            self.deadline = begin + 3600.0 * max_hours

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
        if self.reason is None and self.deadline is not None and now >= self.deadline:
            self.ask_to_stop("--max-hours is used up")
        if self.reason is None and self.stop_file is not None and now >= self._next_look:
            self._next_look = now + STOP_FILE_SECONDS
            if self.stop_file.exists():
                self.ask_to_stop(f"{self.stop_file} exists")
        return self.reason
