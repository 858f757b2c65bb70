"""Linux's ways to leave no process behind; elsewhere these do what they can, or nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1

#: What is left gets SIGTERM and this long before SIGKILL.
GRACE_SECONDS = 1.0


def _prctl() -> Callable[[int, int], int] | None:
    """Return a function that calls prctl(option, value), None where there is none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).prctl
    except (AttributeError, OSError):
        return None

    def call(option: int, value: int) -> int:
        zero = ctypes.c_ulong(0)
        return int(function(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero))

    return call


def die_with_parent() -> Callable[[], None]:
    """Return what a child runs before exec: it gets SIGTERM when its parent dies.

    SIGUSR1 is ignored until the program takes it over, so that a request to stop that
    comes during start-up does not kill.
    """
    parent = os.getpid()
    call = _prctl()

    def prepare() -> None:
        if call is not None:
            call(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)

    return prepare


def session_members(session: int) -> list[int]:
    """Return the ids of the living processes of a session (Linux; empty elsewhere)."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if not entry.name.isdecimal():
                continue
            with contextlib.suppress(OSError, IndexError, ValueError):
                # After the name in parentheses: state, parent, process group, session.
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] not in "ZX":
                    found.append(int(entry.name))
    return found


def end_session(session: int) -> None:
    """End what is left of a session: SIGTERM first, then SIGKILL.

    The session is that of a child started with start_new_session; ranks stay in it, also
    when the mpirun that started them has been killed and they are nobody's children.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    told: set[int] = set()
    while time.monotonic() < deadline + GRACE_SECONDS:
        left = session_members(session)
        if not left:
            return
        late = time.monotonic() >= deadline
        for pid in left:
            if late or pid not in told:
                told.add(pid)
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.02)
