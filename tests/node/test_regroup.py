"""Regrouping in memory: who forms a group after deaths, silence and cuts, under many schedules."""

from __future__ import annotations

import random

import pytest

from morsr_mpi.adapters.memory_links import MemoryWorld
from morsr_mpi.base.errors import ExcludedError, ProtocolError
from morsr_mpi.node.regroup import DIED, Group, Regroup, may_go_on, next_group
from morsr_mpi.wire.regrouping import (
    SEARCH,
    START,
    Consent,
    Excluded,
    Plan,
    StatePiece,
    Status,
    decode_regrouping,
    encode_regrouping,
)


class Simulated:
    """Ranks that regroup over memory links in virtual time."""

    def __init__(self, size: int, committed: list[int] | None = None, phase: int = SEARCH) -> None:
        self.world = MemoryWorld(size)
        self.links = [self.world.links(rank) for rank in range(size)]
        self.silent: set[int] = set()
        self.now = 0.0
        self.group = Group(0, tuple(range(size)))
        self.attempts = {
            rank: Regroup(
                rank, size, self.group, phase=phase,
                committed=(committed or [5] * size)[rank], now=0.0, hang_timeout=10.0,
            )
            for rank in range(size)
        }  # fmt: skip
        self.excluded: set[int] = set()

    def turn(self, rank: int) -> None:
        links, attempt = self.links[rank], self.attempts[rank]
        attempt.fail(links.failed(), self.now)
        out = []
        for sender, data in links.poll():
            try:
                out += attempt.hear(sender, decode_regrouping(data, sender), self.now)
            except ExcludedError:
                self.excluded.add(rank)
                return
        out += attempt.tick(self.now)
        for dest, message in out:
            links.send(dest, encode_regrouping(message))

    def alive(self) -> list[int]:
        lost = self.world.dead | self.silent | self.excluded
        return [rank for rank in self.attempts if rank not in lost]

    def run(self, seconds: float, rng: random.Random | None = None) -> None:
        end = self.now + seconds
        while self.now < end:
            ranks = self.alive()
            if rng is not None:
                rng.shuffle(ranks)
                ranks = ranks[: rng.randint(0, len(ranks))]
            for rank in ranks:
                self.turn(rank)
            self.now += 0.005

    def plans(self) -> dict[int, Plan | None]:
        return {r: self.attempts[r].plan if self.attempts[r].formed else None for r in self.alive()}


def test_the_living_go_on_with_the_newest_state() -> None:
    ranks = Simulated(4, [5, 7, 6, 7])
    ranks.world.kill(0)
    ranks.run(0.3)
    plans = set(ranks.plans().values())
    assert len(plans) == 1
    (plan,) = plans
    assert plan is not None
    assert plan.members == (1, 2, 3), "the lowest that is left is the chief"
    assert (plan.source, plan.behind, plan.committed) == (1, (2,), 7)
    assert dict(plan.gone) == {0: DIED}
    group = next_group(ranks.group, plan, ranks.now)
    assert group.members == (1, 2, 3)
    assert group.absent == {}


def test_the_dead_leave_whatever_their_number() -> None:
    ranks = Simulated(5)
    ranks.world.kill(0, 1, 2, 4)
    ranks.run(0.3)
    plan = ranks.plans()[3]
    assert plan is not None
    assert plan.members == (3,)


def test_a_silent_rank_is_left_out_for_now() -> None:
    ranks = Simulated(4)
    ranks.silent.add(0)
    ranks.run(0.05)
    assert set(ranks.plans().values()) == {None}, "it is waited for a moment"
    ranks.run(0.3)
    plan = ranks.plans()[1]
    assert plan is not None
    assert plan.members == (1, 2, 3)
    assert plan.gone == ()
    assert list(next_group(ranks.group, plan, ranks.now).absent) == [0]


def test_two_halves_never_both_go_on() -> None:
    ranks = Simulated(4)
    for a in (0, 1):
        for b in (2, 3):
            ranks.world.cut |= {(a, b), (b, a)}
    ranks.run(1.0)
    plans = ranks.plans()
    assert plans[0] is not None
    assert plans[0].members == (0, 1)
    assert plans[2] is None
    assert plans[3] is None


def test_a_start_is_not_hurried() -> None:
    ranks = Simulated(3, phase=START)
    ranks.silent.add(2)
    ranks.run(5.0)
    assert set(ranks.plans().values()) == {None}
    ranks.silent.clear()
    ranks.run(0.3)
    assert ranks.plans()[0] is not None


def test_who_was_given_up_is_told() -> None:
    group = Group(8, (1, 2), {0: "made no progress for 10 s"})
    attempt = Regroup(1, 3, group, phase=SEARCH, committed=0, now=0.0, hang_timeout=10.0)
    back = Status(0, 1, 0, SEARCH, 3, ())
    assert attempt.hear(0, back, 0.0) == [(0, Excluded(8, "made no progress for 10 s"))]
    late = Regroup(0, 3, Group(0, (0, 1, 2)), phase=SEARCH, committed=0, now=0.0, hang_timeout=10.0)
    with pytest.raises(ExcludedError):
        late.hear(1, Excluded(8, "made no progress for 10 s"), 0.0)


def test_a_plan_belongs_to_one_rank() -> None:
    attempt = Regroup(
        0, 3, Group(0, (0, 1, 2)), phase=SEARCH, committed=0, now=0.0, hang_timeout=10.0
    )
    stolen = Plan(1, (0, 1, 2), 0, (), SEARCH, 0, ())
    with pytest.raises(ProtocolError):
        attempt.hear(2, stolen, 0.0)


@pytest.mark.parametrize("seed", range(60))
def test_any_schedule_of_deaths_and_delays_ends_in_one_group(seed: int) -> None:
    rng = random.Random(seed)
    size = rng.randint(2, 7)
    ranks = Simulated(size, [rng.randint(0, 4) for _ in range(size)])
    victims = rng.sample(range(size), rng.randint(1, size - 1))
    for victim in victims:
        ranks.run(rng.random() * 0.2, rng)
        ranks.world.kill(victim)
    ranks.run(3.0, rng)
    ranks.run(1.0)
    plans = ranks.plans()
    members = tuple(sorted(set(range(size)) - set(victims)))
    # A rank that had formed with one that died since forms anew: as its transport would make it.
    stale = [r for r, p in plans.items() if p is None or set(p.members) & set(victims)]
    assert not stale or len(stale) < len(members) or len(members) == 1
    fresh = {plan for r, plan in plans.items() if r not in stale}
    assert len(fresh) <= 1, "never two groups"
    for plan in fresh:
        assert plan is not None
        assert tuple(sorted(plan.members)) == members


@pytest.mark.parametrize("size", range(1, 7))
def test_of_two_disjoint_sets_one_at_most_may_go_on(size: int) -> None:
    everybody = set(range(size))
    for bits in range(1 << size):
        part = {rank for rank in everybody if bits >> rank & 1}
        assert not (may_go_on(part, everybody) and may_go_on(everybody - part, everybody))
    assert may_go_on(everybody, everybody)


@pytest.mark.parametrize(
    "message",
    [
        Status(1, 2, 0, SEARCH, 7, ((3, DIED),), 20),
        Plan(4, (1, 0, 2), 1, (2,), SEARCH, 7, ((3, DIED),), 20),
        Consent(4),
        Excluded(4, "why"),
        StatePiece(4, 10, 3, b"abc", (b"record",)),
    ],
)
def test_messages_survive_their_bytes(message: object) -> None:
    data = encode_regrouping(message)  # type: ignore[arg-type]
    assert decode_regrouping(data, 1) == message
    for cut in range(len(data)):
        with pytest.raises(ProtocolError):
            decode_regrouping(data[:cut], 1)
