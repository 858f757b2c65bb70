"""The fencing epoch of a run directory: only the newest job writes, a half-dead older one not.

`fence/` holds one small file for each job that has ever kept the directory, numbered without
gaps; making the next number is atomic on every file system (O_EXCL). Whoever finds the number
after its own has been superseded and writes nothing more. The journal needs no such look: who
takes it over goes on in a copy under the same name, so what an older job still has open is no
longer part of the directory.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

from morsr_mpi.base.errors import EXIT_STOPPED, MorsrError

#: The directory is looked at this often at most.
LOOK_SECONDS = 0.05


class FencedError(MorsrError):
    """Another job goes on with the run directory (exit 75: its checkpoints are sound)."""

    exit_code = EXIT_STOPPED


class Fence:
    """One job's right to write into a run directory."""

    def __init__(self, folder: Path, number: int, token: str) -> None:
        self.number = number
        self._folder = folder
        self._token = token
        self._looked_at = float("-inf")

    @classmethod
    def claim(cls, folder: Path, token: str) -> Fence:
        """Become the newest. token: names the job. Raises OSError."""
        folder.mkdir(exist_ok=True)
        while True:
            number = 1 + max((_number(path) for path in folder.iterdir()), default=0)
            path = folder / f"{number:06d}"
            draft = folder / f".{socket.gethostname()}.{os.getpid()}"
            draft.write_text(f"{token} {socket.gethostname()} {os.getpid()}\n", encoding="utf-8")
            try:
                os.link(draft, path)  # with its content, and only if the name is free
            except FileExistsError:
                continue
            except OSError:  # no hard links here
                try:
                    with path.open("x", encoding="utf-8") as file:
                        file.write(draft.read_text(encoding="utf-8"))
                except FileExistsError:
                    continue
            finally:
                draft.unlink(missing_ok=True)
            return cls(folder, number, token)

    def newer(self, *, now: bool = False) -> str | None:
        """Return whose claim is newer than ours, None when ours is the newest.

        now: look even if the last look was a moment ago.
        """
        at = time.monotonic()
        if not now and at - self._looked_at < LOOK_SECONDS:
            return None
        self._looked_at = at
        path = self._folder / f"{self.number + 1:06d}"
        if not path.exists():
            return None
        with contextlib.suppress(OSError):
            return path.read_text(encoding="utf-8", errors="replace").strip() or "another job"
        return "another job"

    def check(self, *, now: bool = False) -> None:
        """Raise FencedError when a newer job has taken the directory over."""
        by = self.newer(now=now)
        if by is not None:
            raise FencedError(
                f"{self._folder.parent} was taken over by a newer job ({by}); this one ends "
                "without writing"
            )

    def own(self) -> bool:
        """Whether the newer claim is of our own job: another rank has become its chief."""
        by = self.newer(now=True)
        return by is not None and by.split(" ")[0] == self._token


def _number(path: Path) -> int:
    return int(path.name) if path.name.isdecimal() else 0
