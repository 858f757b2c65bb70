"""The guardian of a rank: a small process beside it that turns a hang into a death.

The MPI runtime reports deaths by signal, and nothing else: not a rank that is stopped, nor one
that waits forever for a file system. Its guardian is started before MPI, is told of progress
over a pipe, and sends SIGKILL when there is none for the hang timeout while the rank is armed,
or when the rank is stopped (SIGSTOP) for that long at any time. It ends with its rank.

The file runs as a program of its own with the standard library alone: `python guardian.py PID
SECONDS`, the pipe as standard input. Bytes on the pipe: `.` progress (arms), `-` pause, `q` end.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

#: How often the guardian looks.
LOOK_SECONDS = 0.1
#: A guardian that was itself away for longer blames nobody for that time.
AWAY_SECONDS = 1.0


def stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal (Linux; False elsewhere)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False


def guard(pid: int, seconds: float, pipe: int) -> None:
    """Watch a rank until it or the pipe ends; `seconds` without progress kill it."""
    armed = False
    last = looked = time.monotonic()
    stopped_since: float | None = None
    while True:
        ready, _, _ = select.select([pipe], [], [], LOOK_SECONDS)
        now = time.monotonic()
        if now - looked > AWAY_SECONDS:
            last += now - looked
            stopped_since = None
        looked = now
        if ready:
            data = os.read(pipe, 4096)
            if not data or b"q" in data:
                return
            armed = data[-1:] != b"-"
            last = now
        if os.getppid() != pid:
            return
        stopped_since = (stopped_since or now) if stopped(pid) else None
        late = armed and now - last > seconds
        if late or (stopped_since is not None and now - stopped_since > seconds):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            return


class Guardian:
    """The rank's side: starts the guardian and tells it of progress."""

    def __init__(self, hang_timeout: float, every: float) -> None:
        """every: seconds between two signs of progress."""
        self._every = every
        self._said = float("-inf")
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(os.getpid()), repr(hang_timeout)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a stopped process group does not stop it
                close_fds=True,
            )
        if self._process is not None and self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)

    def beat(self) -> None:
        """Say that there is progress; cheap, call it often."""
        now = time.monotonic()
        if now - self._said >= self._every:
            self._said = now
            self._say(b".")

    def pause(self) -> None:
        """Say that what comes may take any time."""
        self._said = float("-inf")
        self._say(b"-")

    def end(self) -> None:
        """Dismiss the guardian."""
        self._say(b"q")
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            self._process = None

    def _say(self, word: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                os.write(self._process.stdin.fileno(), word)


def main(arguments: list[str]) -> int:
    """Run as a program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    guard(int(arguments[0]), float(arguments[1]), 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
