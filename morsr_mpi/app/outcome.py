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


def tell_ready() -> None:
    """Say that every rank takes requests to stop."""
    _append(_READY)


def tell_ended() -> None:
    """Say that the run came to an end of its own, whatever its exit code."""
    _append(_ENDED)


def is_ready(path: Path) -> bool:
    """Whether tell_ready was called."""
    return _READY in _lines(path)


def has_ended(path: Path) -> bool:
    """Whether tell_ended was called."""
    return _ENDED in _lines(path)


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
