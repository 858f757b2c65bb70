"""What goes wrong in a simulated run, drawn from a seed, and how often it took effect.

MPI delivers what is sent between living ranks once, whole and in order (the runtime is trusted
to deliver and to report deaths, not to keep content intact), so over MPI only delay,
reordering between pairs, and damage can happen. The simulated network also loses, doubles and
reorders frames of one pair and parts the ranks into sides; a link loses at most
`LOSSES_IN_A_ROW` frames in a row, since nothing works over a network that loses everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from morsr_mpi.adapters.simulated import Delivery

#: Frames a link loses one after the other, at most.
LOSSES_IN_A_ROW = 3


def stream(seed: int, name: str) -> Random:
    """A random stream of its own for each purpose, so that one draw more here moves none there."""
    return Random(f"morsr-simulate/{seed}/{name}")


@dataclass(frozen=True)
class Window:
    """From `begin` to `end` (seconds) something holds for these ranks."""

    begin: float
    end: float
    ranks: frozenset[int]

    def holds(self, now: float) -> bool:
        """Whether it is under way."""
        return self.begin <= now < self.end


@dataclass(frozen=True)
class FaultPlan:
    """Faults of one run; all of them end at `heal_at`, except slowness of stragglers.

    delay: seconds between which the delay of a delivery is drawn; loss, duplicate, reorder,
    damage: probability per frame (damage: per slot and frame); partitions: ranks inside and
    outside of a window do not hear each other before its end; pauses: ranks that do not run;
    slowness: factor by rank.
    """

    delay: tuple[float, float]
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    damage: float = 0.0
    partitions: tuple[Window, ...] = ()
    pauses: tuple[Window, ...] = ()
    slowness: tuple[tuple[int, float], ...] = ()
    heal_at: float = 0.0

    def slowness_of(self, rank: int) -> float:
        """Factor by which a rank computes more slowly."""
        return dict(self.slowness).get(rank, 1.0)

    def ready_at(self, rank: int, when: float) -> float:
        """First moment from `when` on at which a rank runs."""
        for window in sorted(self.pauses, key=lambda w: w.begin):
            if rank in window.ranks and window.holds(when):
                when = window.end
        return when


def draw_plan(seed: int, size: int, span: float, kinds: Sequence[str]) -> FaultPlan:
    """Draw a plan of at least one of these kinds within the first `span` seconds.

    kinds: of delay, loss, duplication, reordering, damage, partition, pause, straggler.
    """
    draw = stream(seed, "plan")
    chosen = {kind for kind in kinds if draw.random() < 0.5} or {draw.choice(list(kinds))}
    least = 10.0 ** draw.uniform(-4.5, -3.0)
    spread = 10.0 ** draw.uniform(0.3, 1.7) if "delay" in chosen else 1.0

    def windows(longest: float) -> tuple[Window, ...]:
        found = []
        for _ in range(draw.randint(1, 2)):
            begin = draw.uniform(0.0, 0.7 * span)
            end = min(span, begin + draw.uniform(0.1, 1.0) * longest)
            ranks = frozenset(draw.sample(range(size), draw.randint(1, max(1, size // 2))))
            found.append(Window(begin, end, ranks))
        return tuple(found)

    def chance(kind: str, most: float) -> float:
        return draw.uniform(0.2, 1.0) * most if kind in chosen else 0.0

    slow: tuple[tuple[int, float], ...] = ()
    if "straggler" in chosen:
        who = draw.sample(range(size), draw.randint(1, max(1, size // 3)))
        slow = tuple((rank, draw.uniform(2.0, 20.0)) for rank in sorted(who))
    return FaultPlan(
        delay=(least, least * spread),
        loss=chance("loss", 0.2),
        duplicate=chance("duplication", 0.2),
        reorder=chance("reordering", 0.5),
        damage=chance("damage", 0.03),
        partitions=windows(0.6 * span) if "partition" in chosen else (),
        pauses=windows(0.4 * span) if "pause" in chosen else (),
        slowness=slow,
        heal_at=span,
    )


class FaultyConduct:
    """A network that does what a plan says. effects: how often each kind took effect."""

    in_order = False  # order of a pair is kept below, unless reordering strikes

    def __init__(self, seed: int, plan: FaultPlan, spare_slots_below: int = 0) -> None:
        """spare_slots_below: rounds whose slots are never damaged (the ranks meet in round 0,
        where nothing can be asked for again)."""
        self.plan = plan
        self.effects: Counter[str] = Counter()
        self._stream = stream(seed, "network")
        self._spare = spare_slots_below
        self._lost: dict[tuple[int, int], int] = {}
        self._latest: dict[tuple[int, int], float] = {}

    def deliveries(self, now: float, source: int, dest: int) -> list[tuple[float, bool]]:
        """Lose, double, delay, overtake: (seconds, whether it arrives damaged) of each copy."""
        plan, draw = self.plan, self._stream
        pair = (source, dest)
        faulty = now < plan.heal_at
        lost = self._lost.get(pair, 0)
        if faulty and plan.loss and draw.random() < plan.loss and lost < LOSSES_IN_A_ROW:
            self._lost[pair] = lost + 1
            self.effects["loss"] += 1
            return []
        self._lost[pair] = 0
        copies = 1
        if faulty and plan.duplicate and draw.random() < plan.duplicate:
            copies = 2
            self.effects["duplication"] += 1
        return [
            (self._arrival(now, pair, faulty) - now, self._strikes(faulty)) for _ in range(copies)
        ]

    def frame(self, now: float, source: int, dest: int, frame: bytes) -> Sequence[Delivery]:
        """As `deliveries`, with one bit flipped in what arrives damaged."""
        return [
            (delay, self.flip(frame) if damaged else frame)
            for delay, damaged in self.deliveries(now, source, dest)
        ]

    def slot(self, now: float, number: int, source: int, dest: int, slot: bytes) -> Delivery:
        """Delay and damage."""
        faulty = now < self.plan.heal_at
        if slot.count(0, 0, 8) < 8 and self._strikes(faulty and number >= self._spare):
            slot = self.flip(slot)
        return (self._delay(now, (source, dest), faulty), slot)

    def _arrival(self, now: float, pair: tuple[int, int], faulty: bool) -> float:
        """When a copy arrives: after those before it, unless reordering strikes."""
        arrival = now + self._delay(now, pair, faulty)
        latest = self._latest.get(pair, 0.0)
        if arrival < latest:
            if faulty and self.plan.reorder and self._stream.random() < self.plan.reorder:
                self.effects["reordering"] += 1
            else:
                arrival = latest
        self._latest[pair] = max(arrival, latest)
        return arrival

    def _delay(self, now: float, pair: tuple[int, int], faulty: bool) -> float:
        low, high = self.plan.delay
        if not faulty:
            return low
        delay = low + (high - low) * self._stream.random() ** 3
        if high > 1.5 * low and delay > 1.5 * low:
            self.effects["delay"] += 1
        if self.plan.reorder:
            delay += low * self._stream.random()
        for window in self.plan.partitions:
            apart = (pair[0] in window.ranks) != (pair[1] in window.ranks)
            if apart and window.holds(now):
                delay += window.end - now
                self.effects["partition"] += 1
        return delay

    def _strikes(self, faulty: bool) -> bool:
        """Whether damage strikes now."""
        if not faulty or not self.plan.damage or self._stream.random() >= self.plan.damage:
            return False
        self.effects["damage"] += 1
        return True

    def flip(self, data: bytes) -> bytes:
        """Flip one bit, where something stands."""
        whole = bytearray(data)
        at = self._stream.randrange(min(len(whole), 1024))
        whole[at] ^= 1 << self._stream.randrange(8)
        return bytes(whole)
