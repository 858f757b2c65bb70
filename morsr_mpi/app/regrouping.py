"""Small parts of what a job does after a loss: what is told, recorded and not computed again."""

from __future__ import annotations

from struct import pack
from typing import Any

from morsr_mpi.base.ports import RunLike
from morsr_mpi.node.regroup import Group
from morsr_mpi.provenance.bodies import Regroup


def recorded(group: Group) -> Regroup:
    """Return the journal's record of a new group."""
    absent = sorted(group.absent)
    return Regroup(
        epoch=group.epoch,
        ranks=pack(f">{len(group.members)}H", *group.members),
        gone=tuple(sorted(group.gone.items())),
        absent=pack(f">{len(absent)}H", *absent),
    )


class Losses:
    """The story of ranks that went and came; `told` has every line so far."""

    def __init__(self, size: int) -> None:
        self.told: list[str] = []
        self._size = size

    def tell(self, before: Group, after: Group) -> list[str]:
        """Return lines about what changed from one group to the next."""
        lines = [
            f"rank {rank} {why}; the run goes on with {len(after.members)} of {self._size} ranks"
            for rank, why in sorted(after.gone.items())
            if rank not in before.gone
        ]
        lines += [
            f"rank {rank} does not answer; the others go on without it for now"
            for rank in sorted(after.absent)
            if rank not in before.absent
        ]
        lines += [
            f"rank {rank} is back" for rank in sorted(set(after.members) & set(before.absent))
        ]
        lines = [f"{line} (group {after.epoch})" for line in lines]
        self.told.extend(lines)
        return lines


class Known:
    """A task whose result is here already."""

    cached = True

    def __init__(self, result: bytes) -> None:
        self.work = 0
        self._result = result

    def step(self, units: int) -> bool:
        """Nothing is left to do."""
        return True

    def result(self) -> bytes:
        """The result."""
        return self._result


class Remembering:
    """Computes tasks, except those whose results are known from before a loss.

    anew: computes them all the same.
    """

    def __init__(self, explorer: Any, anew: Any = None) -> None:
        self.known: dict[bytes, bytes] = {}
        self.anew = anew or explorer
        self._explorer = explorer

    def begin(self, task: Any) -> RunLike:
        """Start a task."""
        result = self.known.pop(task.task_id, None) if self.known else None
        run: RunLike = Known(result) if result is not None else self._explorer.begin(task)
        return run
