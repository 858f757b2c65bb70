"""The coordinator's part: who computes which task of a pulse (paper sections 3.1, 3.2).

Shares follow measured speeds. What was ordered is moved when ranks drift apart (algorithm 3.1)
and taken over from ranks that are silent or slow. All of it decides only who computes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

from morsr_mpi.base.config import MAX_PULSE_SKEW, TAKE_OVER_SECONDS
from morsr_mpi.base.ports import TaskLike
from morsr_mpi.cluster.assignment import assign
from morsr_mpi.cluster.loads import LoadBook, positive_weights
from morsr_mpi.cluster.rebalance import MIN_LATE_SECONDS, Move, back_up, rebalance
from morsr_mpi.cluster.speeds import SpeedBook
from morsr_mpi.node.pulses import OpenPulse
from morsr_mpi.wire.messages import Order
from morsr_mpi.wire.steering import Heartbeat, Reassignment

#: Tasks in one part of an order: two bytes each, so that several parts share no slot's limit.
TASKS_PER_PART = 2048
#: Tasks in one reassignment: six bytes each.
MOVES_PER_PART = 512
#: Ranks above which an order has no room for their speeds: shares stay as they began.
MAX_SHARED_RANKS = 1024


class ChamberScheduler:
    """Assigns tasks; keeps orders back while a rank is too far behind; moves what is late."""

    def __init__(self, capacities: Sequence[int], lag: int, hold: float = 0.0) -> None:
        """capacities: relative speed of each rank, 0 = computes nothing; hold: seconds for which
        ranks keep what they have finished to themselves."""
        self._lag = lag
        self._waiting: deque[OpenPulse] = deque()
        self._shares: tuple[int, ...] = tuple(capacities)
        self._speeds = SpeedBook(capacities)
        self._told: tuple[int, ...] = self._shares
        self._loads = LoadBook(len(capacities))
        self._idle_since: dict[int, float] = {}
        self._heard_at = [0.0] * len(capacities)
        self._hold = hold
        # What is done is known that exactly, and with a lag there is other work meanwhile.
        self._late = max(MIN_LATE_SECONDS, 0.5 * hold) if lag else MIN_LATE_SECONDS

    @property
    def speeds(self) -> tuple[float, ...]:
        """Measured work units per second of each rank."""
        return tuple(self._speeds.speeds)

    @property
    def progress(self) -> list[tuple[int, int]]:
        """Work units and busy milliseconds of each rank, as it last said."""
        return list(self._speeds.latest)

    def predict(self, tasks: Sequence[TaskLike], coordinating: bool) -> list[int]:
        """Return the rank of each task; also what a rank begins with before its order comes."""
        ids = [task.task_id for task in tasks]
        backlog = None
        if coordinating and self._lag:
            backlog = [self._loads.total(rank) for rank in range(len(self._shares))]
        return assign(ids, [task.weight for task in tasks], self._shares, backlog)

    def add(self, pulse: OpenPulse) -> None:
        """Queue a pulse to be ordered."""
        if pulse not in self._waiting:
            self._waiting.append(pulse)

    def repeat(self, pulse: OpenPulse, view: int) -> list[Order]:
        """Return the order of a pulse again, as the coordinator of a later view."""
        if not pulse.stop and len(self._shares) > 1:
            self._enter(pulse)
        head = (view, pulse.number, pulse.tasks_digest, len(pulse.tasks))
        return [
            Order(*head, first, tuple(pulse.ranks[first : first + TASKS_PER_PART]), pulse.stop)
            for first in range(0, len(pulse.tasks), TASKS_PER_PART)
        ]

    def adopt(self, order: Order) -> None:
        """Follow the shares a coordinator tells."""
        if len(order.speeds) == len(self._shares) and any(order.speeds):
            self._shares = order.speeds

    def issue(self, slowest: int, view: int, stop: str) -> list[tuple[OpenPulse, Order]]:
        """Return the orders that may go out now, part by part.

        slowest: fewest pulses any rank has committed; stop: why the next pulse is
        not executed; "" to go on.
        """
        issued: list[tuple[OpenPulse, Order]] = []
        while self._waiting:
            pulse = self._waiting[0]
            if pulse.number > slowest + self._lag + MAX_PULSE_SKEW:
                break
            self._waiting.popleft()
            shares = self._news()
            for first in range(0, len(pulse.tasks), TASKS_PER_PART):
                ranks = tuple(pulse.predicted[first : first + TASKS_PER_PART])
                head = (view, pulse.number, pulse.tasks_digest, len(pulse.tasks), first)
                issued.append((pulse, Order(*head, ranks, stop, () if first else shares)))
            if not stop and len(self._shares) > 1:
                self._enter(pulse)
        return issued

    def finished(self, pulse: int, index: int) -> None:
        """Note that the result of a task is here."""
        self._loads.finish((pulse, index))

    def idle(self, silent: Collection[int]) -> bool:
        """Whether a rank that computes and is heard of has nothing to do."""
        return any(
            share > 0 and rank not in silent and self._loads.idle(rank)
            for rank, share in enumerate(self._shares)
        )

    def heard(self, rank: int, now: float) -> None:
        """Note that a rank said what it has finished."""
        self._heard_at[rank] = now

    def _ahead(self, now: float, silent: Collection[int]) -> list[float]:
        """Work of unfinished tasks that each rank has probably done, as far as it may keep it to
        itself: it has been computing since it last spoke."""
        ahead = list(self._speeds.spent)
        for rank, speed in enumerate(self._speeds.speeds):
            if rank not in silent:
                ahead[rank] += speed * max(0.0, min(now - self._heard_at[rank], self._hold))
        return ahead

    def hear(self, rank: int, beat: Heartbeat) -> None:
        """Take in what a rank says of its progress."""
        self._speeds.hear(rank, beat.work, beat.spent, beat.busy)

    def rebalance(self, now: float, view: int, silent: Collection[int]) -> list[Reassignment]:
        """Return what other ranks are to compute, at this time.

        silent: ranks not heard of for `config.TAKE_OVER_SECONDS`; all they have is taken over.
        """
        speeds = [0.0 if r in silent else s for r, s in enumerate(self._speeds.speeds)]
        moves = rebalance(self._loads, speeds, self._ahead(now, silent), self._late)
        for rank in range(len(speeds)):
            if rank in silent or not self._loads.idle(rank):
                self._idle_since.pop(rank, None)
            else:
                self._idle_since.setdefault(rank, now)
        late = now - TAKE_OVER_SECONDS
        idle = [rank for rank, since in self._idle_since.items() if since <= late]
        moves += back_up(self._loads, speeds, self._speeds.spent, idle)
        return _reassignments(moves, view)

    def _news(self) -> tuple[int, ...]:
        """Shares to tell with an order, empty when nothing changed."""
        if len(self._shares) > MAX_SHARED_RANKS:
            return ()
        if self._speeds.learn():
            self._shares = self._speeds.shares
        if self._shares == self._told:
            return ()
        self._told = self._shares
        return self._shares

    def _enter(self, pulse: OpenPulse) -> None:
        """Note who has to compute what."""
        weights = positive_weights([task.weight for task in pulse.tasks])
        for index, (rank, weight) in enumerate(zip(pulse.predicted, weights, strict=True)):
            if not pulse.has(index):
                self._loads.add(rank, (pulse.number, index), weight)


def _reassignments(moves: Sequence[Move], view: int) -> list[Reassignment]:
    by_pulse: dict[int, list[Move]] = {}
    for move in moves:
        by_pulse.setdefault(move.key[0], []).append(move)
    return [
        Reassignment(
            view,
            pulse,
            tuple(move.key[1] for move in part),
            tuple(move.target for move in part),
        )
        for pulse, found in by_pulse.items()
        for part in (found[i : i + MOVES_PER_PART] for i in range(0, len(found), MOVES_PER_PART))
    ]
