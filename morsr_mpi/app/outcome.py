"""What rank 0 tells its `morsr launch`: that all ranks are up, and how the run ended.

mpirun alone cannot be asked: it ends with 0 although a rank was killed, and a request to stop
that reaches ranks still starting up kills them. A few bytes in a file that `launch` names say it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: Names the file; set by `morsr launch` for its ranks.
OUTCOME_VARIABLE = "MORSR_OUTCOME"
_READY = "ready"
_ENDED = "ended"
_AGAIN = "again"


def tell_ready() -> None:
    """Say that every rank takes requests to stop."""
    _append(_READY)


def tell_ended(code: int) -> None:
    """Say that the run came to an end of its own, with this exit code."""
    _append(f"{_ENDED}={code}")


def tell_again() -> None:
    """Say that the job stopped because ranks were lost, and is to be started again."""
    _append(_AGAIN)


def wants_again(path: Path) -> bool:
    """Whether tell_again was called."""
    return _AGAIN in _lines(path)


def is_ready(path: Path) -> bool:
    """Whether tell_ready was called."""
    return _READY in _lines(path)


def has_ended(path: Path) -> bool:
    """Whether tell_ended was called."""
    return ended_with(path) is not None


def ended_with(path: Path) -> int | None:
    """Return the exit code that the run told, None before its end.

    mpirun's own may be that of a rank that was lost on the way, or 0 in spite of ours.
    """
    for word in _lines(path):
        name, _, code = word.partition("=")
        if name == _ENDED and code.isdecimal():
            return int(code)
    return None


def _append(word: str) -> None:
    path = os.environ.get(OUTCOME_VARIABLE)
    if path:
        with contextlib.suppress(OSError), open(path, "a", encoding="ascii") as file:
            file.write(word + "\n")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
