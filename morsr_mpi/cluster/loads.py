"""What each rank still has to compute, as far as the coordinator knows (paper, algorithm 3.1).

Ranks work off pulses in order, and the tasks of one pulse in the order they got them, so the
first of a rank's oldest pulse is the one it has probably begun.
"""

from __future__ import annotations

from collections.abc import Sequence

#: A task of a pulse: (pulse, index).
Key = tuple[int, int]


class LoadBook:
    """Tasks given to ranks and not finished, with their predicted work."""

    def __init__(self, ranks: int) -> None:
        self._queues: list[dict[int, dict[int, float]]] = [{} for _ in range(ranks)]
        self._sums: list[dict[int, float]] = [{} for _ in range(ranks)]
        self._holders: dict[Key, list[int]] = {}

    def add(self, rank: int, key: Key, weight: float) -> None:
        """Note that a rank is to compute a task; others may be computing it too."""
        pulse, index = key
        queue = self._queues[rank].setdefault(pulse, {})
        if index in queue:
            return
        queue[index] = weight
        self._sums[rank][pulse] = self._sums[rank].get(pulse, 0.0) + weight
        self._holders.setdefault(key, []).append(rank)

    def finish(self, key: Key) -> None:
        """Note that a task has its result."""
        for rank in self._holders.pop(key, ()):
            self._remove(rank, key)

    def give_up(self, rank: int, key: Key) -> None:
        """Note that a rank is not to compute a task any more."""
        holders = self._holders.get(key, [])
        if rank in holders:
            holders.remove(rank)
            self._remove(rank, key)

    def holders(self, key: Key) -> tuple[int, ...]:
        """Ranks that compute a task, the first one first; empty when it is finished."""
        return tuple(self._holders.get(key, ()))

    def pulses(self) -> list[int]:
        """Pulses with unfinished tasks, ascending."""
        return sorted({pulse for sums in self._sums for pulse in sums})

    def load(self, rank: int, pulse: int) -> float:
        """Predicted work of a rank in a pulse."""
        return self._sums[rank].get(pulse, 0.0)

    def total(self, rank: int) -> float:
        """Predicted work of a rank in all pulses."""
        return sum(self._sums[rank].values())

    def idle(self, rank: int) -> bool:
        """Whether a rank has nothing to compute."""
        return not self._queues[rank]

    def tasks(self, rank: int, pulse: int) -> list[tuple[Key, float]]:
        """Tasks of a rank in a pulse, with their weights, in the order it computes them."""
        return [((pulse, index), w) for index, w in self._queues[rank].get(pulse, {}).items()]

    def weight(self, rank: int, key: Key) -> float:
        """Predicted work of a task of a rank."""
        return self._queues[rank][key[0]][key[1]]

    def current(self, rank: int) -> Key | None:
        """Return the task a rank is probably computing."""
        if not self._queues[rank]:
            return None
        pulse = min(self._queues[rank])
        return pulse, next(iter(self._queues[rank][pulse]))

    def _remove(self, rank: int, key: Key) -> None:
        pulse, index = key
        queue = self._queues[rank][pulse]
        weight = queue.pop(index)
        if queue:
            self._sums[rank][pulse] -= weight
        else:
            del self._queues[rank][pulse]
            del self._sums[rank][pulse]


def positive_weights(weights: Sequence[float]) -> list[float]:
    """Return the weights with the least positive one in place of what is not positive."""
    least = min((w for w in weights if w > 0.0), default=1.0)
    return [w if w > 0.0 else least for w in weights]
