"""Assignment of a pulse's tasks: home ranks with bounded loads (paper section 3.2).

Rendezvous hashing alone loads ranks unevenly when tasks are few. Heavy tasks are placed
first, each on the rank it likes best among those whose load stays close to its share, well
within the overload threshold of algorithm 3.1; most tasks keep their home, so caches stay warm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from morsr_mpi.base.errors import InternalError
from morsr_mpi.cluster.loads import positive_weights
from morsr_mpi.cluster.rendezvous import scores

#: A rank is overloaded above this multiple of its share (paper, algorithm 3.1).
OVERLOADED = 1.1
#: Home ranks take tasks up to this multiple of their share: every move later costs a message.
PLACED = 1.02


def assign(
    task_ids: Sequence[bytes],
    weights: Sequence[float],
    capacities: Sequence[float],
    backlog: Sequence[float] | None = None,
) -> list[int]:
    """Return the rank of each task.

    weights: predicted work of each task (any unit; not positive counts as the least
    positive one); capacities: relative speed of each rank, 0 = takes no task; backlog: work
    each rank has already, default none. The same arguments give the same answer. Raises
    InternalError when no rank has capacity.
    """
    total = float(sum(capacities))
    if not total > 0.0:
        raise InternalError("no rank has the capacity to take a task")
    if not task_ids:
        return []
    load = positive_weights(weights)
    if sum(1 for c in capacities if c > 0.0) == 1:
        return [max(range(len(capacities)), key=lambda r: capacities[r])] * len(task_ids)
    preference = np.argsort(-scores(task_ids, capacities), axis=1, kind="stable").tolist()
    used = list(backlog) if backlog else [0.0] * len(capacities)
    everything = sum(load) + sum(used)
    room = [PLACED * everything * c / total for c in capacities]
    result = [0] * len(task_ids)
    for i in sorted(range(len(task_ids)), key=lambda i: (-load[i], task_ids[i])):
        choice = -1
        for rank in preference[i]:
            if capacities[rank] > 0.0 and used[rank] + load[i] <= room[rank]:
                choice = rank
                break
        if choice < 0:  # too heavy for anyone's share: where it would be done soonest
            choice = min(
                (r for r in preference[i] if capacities[r] > 0.0),
                key=lambda r: (used[r] + load[i]) / capacities[r],
            )
        used[choice] += load[i]
        result[i] = choice
    return result
