"""What a rank's own task records are made of: its tasks in commits that are decided.

Whose result counts is known when a commit is decided; until then the tasks are remembered.
"""

from __future__ import annotations

from collections.abc import Sequence

from morsr_mpi.base.digest import DIGEST_BYTES
from morsr_mpi.base.ports import TaskLike
from morsr_mpi.node.ballot import Commit
from morsr_mpi.node.effects import Contributed, Contribution
from morsr_mpi.node.records import contributors_of

#: Tasks of a commit in its order, each with the pulse that planned it.
Places = Sequence[tuple[int, TaskLike]]


class ContributionBook:
    """Tasks of commits that are not decided yet."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._held: dict[int, Places] = {}

    def hold(self, commit: int, tasks: Places) -> None:
        """Remember the tasks of a commit."""
        self._held[commit] = tasks

    def take(self, bodies: Sequence[Commit]) -> Contributed | None:
        """Return this rank's part in some commits in a row, and forget them; None for none.

        Commits from before a restart, whose tasks this node has not seen, are passed over.
        """
        if not bodies:
            return None
        mine: list[Contribution] = []
        for body in bodies:
            tasks = self._held.pop(body.pulse, ())
            ranks = contributors_of(body)
            for place, (planned, task) in enumerate(tasks):
                if ranks[place] == self._rank:
                    at = place * DIGEST_BYTES
                    digest = body.results[at : at + DIGEST_BYTES]
                    mine.append(Contribution(body.pulse, place, planned, task, digest))
        return Contributed(bodies[0].pulse, bodies[-1].pulse + 1, tuple(mine))
