"""`morsr` with ranks that compute wrongly, for tests: results are changed before anybody sees them.

Usage: mpirun -n N python lying_rank.py '{"RANK": "KIND", ...}' SINCE solve ...; a liar's first
SINCE tasks are right. KIND: flip (one bit of the result), garbage (no result at all), exhausted
(an enumeration says that it left nothing open), objective (a better value than its point has),
worse (hides the point it found).
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import Any


def changed(kind: str, data: bytes) -> bytes:
    """The lie instead of a result; the same bytes where there is nothing to lie about."""
    from morsr_mpi.search.tasks import TaskResult

    if kind == "flip":
        return data[:-1] + bytes([data[-1] ^ 1])
    if kind == "garbage":
        return b"garbage"
    result = TaskResult.from_bytes(data)
    if kind == "exhausted":
        return replace(result, chambers=()).to_bytes()
    if kind == "objective" and result.point:
        return replace(result, objective=result.objective * 0.5).to_bytes()
    if kind == "worse" and result.point:
        return replace(result, point=b"", objective=float("inf")).to_bytes()
    return data


class Lying:
    """A run of a task that ends in a lie."""

    def __init__(self, run: Any, kind: str) -> None:
        self._run, self._kind = run, kind

    @property
    def work(self) -> int:
        return int(self._run.work)

    def step(self, units: int) -> bool:
        return bool(self._run.step(units))

    def result(self) -> bytes:
        return changed(self._kind, self._run.result())


def main() -> int:
    liars, since = json.loads(sys.argv[1]), int(sys.argv[2])
    kind = liars.get(os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
    if kind is not None:
        from morsr_mpi.search import explore

        begin, count = explore.Explorer.begin, [0]

        def lying(self: Any, task: Any) -> Any:
            count[0] += 1
            run = begin(self, task)
            return Lying(run, kind) if count[0] > since else run

        explore.Explorer.begin = lying  # type: ignore[method-assign]
    from morsr_mpi.cli.main import run

    return run(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
