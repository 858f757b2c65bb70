"""Algorithm 3.1 of the paper: move tasks from overloaded to underloaded ranks.

Capacities are measured speeds, loads the predicted work that is unfinished. Pulses are looked
at in order, each with the load of those before it, so that the oldest is finished evenly and a
rank held up by a heavy task gets less of the next. Time and load decide only who computes.
The thresholds decide when to act; targets are then filled up to their share, not to 0.9 of it,
or one overloaded rank among many that are nearly full would keep its load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from morsr_mpi.cluster.assignment import OVERLOADED
from morsr_mpi.cluster.loads import Key, LoadBook

#: A rank is underloaded below this multiple of its share (paper, algorithm 3.1).
UNDERLOADED = 0.9
#: A task stays where it is unless its rank would finish later than its share by this time.
MIN_LATE_SECONDS = 0.008
#: Tasks moved at a time.
MAX_MOVES = 1024


@dataclass(frozen=True, slots=True)
class Move:
    """A task that another rank is to compute; copied: who had it goes on with it."""

    key: Key
    source: int
    target: int
    copied: bool = False


def rebalance(
    book: LoadBook,
    speeds: Sequence[float],
    ahead: Sequence[float] | None = None,
    late: float = MIN_LATE_SECONDS,
) -> list[Move]:
    """Return the moves, and note them in the book.

    speeds: work units per second of each rank, 0 for one that is silent or computes nothing.
    ahead: work already spent on unfinished tasks, per rank; late: seconds after its share by which
    a rank may finish without losing tasks. The same arguments give the same
    moves. A silent rank loses everything, others all but what they have probably begun.
    """
    moves: list[Move] = []
    total_speed = float(sum(speeds))
    if not total_speed > 0.0:
        return moves
    ranks = range(len(speeds))
    loads = [-min(ahead[r], book.total(r)) if ahead else 0.0 for r in ranks]
    for pulse in book.pulses():
        for rank in ranks:
            loads[rank] += book.load(rank, pulse)
        share = sum(max(load, 0.0) for load in loads) / total_speed
        over = [r for r in ranks if _overloaded(loads[r], speeds[r], share, late)]
        for source in sorted(over, key=lambda r: (-_seconds(loads[r], speeds[r]), r)):
            _unload(book, pulse, source, loads, speeds, share, moves)
    return moves


def _overloaded(load: float, speed: float, share: float, late: float) -> bool:
    if not speed > 0.0:
        return load > 0.0
    return load / speed - share > late and load > OVERLOADED * share * speed


def _seconds(load: float, speed: float) -> float:
    return load / speed if speed > 0.0 else float("inf")


def _unload(
    book: LoadBook,
    pulse: int,
    source: int,
    loads: list[float],
    speeds: Sequence[float],
    share: float,
    moves: list[Move],
) -> None:
    """Move tasks of one rank in one pulse, the last it would compute first."""
    kept = book.current(source) if speeds[source] > 0.0 else None
    targets = [r for r in range(len(speeds)) if speeds[r] > 0.0 and r != source]
    for key, weight in reversed(book.tasks(source, pulse)):
        if key == kept or not targets or len(moves) >= MAX_MOVES:
            continue
        if speeds[source] > 0.0 and loads[source] <= share * speeds[source]:
            break
        target = min(targets, key=lambda r: ((loads[r] + weight) / speeds[r], r))
        if speeds[source] > 0.0:
            if loads[target] >= share * speeds[target]:
                break
            then = (loads[target] + weight) / speeds[target]
            if then >= _seconds(loads[source], speeds[source]):
                continue
        moves.append(Move(key, source, target))
        book.add(target, key, weight)
        book.give_up(source, key)
        loads[source] -= weight
        loads[target] += weight


def back_up(
    book: LoadBook, speeds: Sequence[float], spent: Sequence[float], idle: Sequence[int]
) -> list[Move]:
    """Return tasks that idle ranks are to compute as well, since they would be done sooner.

    spent: work spent on unfinished tasks, per rank; idle: ranks with nothing to do for long.
    Each such rank gets one task at most; the book notes it. Only what blocks the oldest pulse
    is looked at: the rest has time.
    """
    pulses = book.pulses()
    free = [r for r in idle if speeds[r] > 0.0 and book.idle(r)]
    if not pulses or not free:
        return []
    moves: list[Move] = []
    for source in range(len(speeds)):
        key = book.current(source)  # what is not begun is moved, not copied
        if not free or key is None or key[0] != pulses[0] or len(book.holders(key)) > 1:
            continue
        weight = book.weight(source, key)
        # Past its prediction a task is taken to need a tenth of it at least.
        left = max(weight - spent[source], 0.1 * weight)
        target = max(free, key=lambda r: (speeds[r], -r))
        if weight / speeds[target] < UNDERLOADED * _seconds(left, speeds[source]):
            free.remove(target)
            book.add(target, key, weight)
            moves.append(Move(key, source, target, copied=True))
    return moves
