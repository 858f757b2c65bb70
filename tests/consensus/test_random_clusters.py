"""Random clusters: any order, loss, duplication, deaths and liars; then healing and progress."""

from __future__ import annotations

import random

from agreeing import RUN, Cluster, step
from hypothesis import given, settings
from hypothesis import strategies as st

from morsr_mpi.base.digest import sha256
from morsr_mpi.consensus import events as ev
from morsr_mpi.consensus.messages import PrePrepare, ViewChange, VoteCast
from morsr_mpi.consensus.quorum import max_faulty
from morsr_mpi.consensus.viewchange import subject_of
from morsr_mpi.consensus.votes import Claim, Vote, VoteKind

A, B, C = step("a"), step("b"), step("c")


class Mischief:
    """Random liars: sign anything, relay anything, towards anyone."""

    def __init__(self, cluster: Cluster, choose: random.Random) -> None:
        self.cluster, self.choose = cluster, choose
        self.values = [A, B, C]

    def act(self, liar: int) -> None:
        cluster, choose = self.cluster, self.choose
        core = choose.choice(sorted(cluster.cores.items()))[1]
        height = max(0, core.height + choose.choice([-1, 0, 0, 0, 1]))
        view = max(0, core.ballot.view + choose.choice([-1, 0, 0, 0, 1]))
        value = choose.choice(self.values)
        kind = choose.choice([VoteKind.PREPARE, VoteKind.COMMIT])
        vote = cluster.vote(kind, liar, sha256(value), height, view, core.members)
        to = [rank for rank in cluster.cores if choose.random() < 0.5]
        claim = Claim(height)
        subject = subject_of(core.members, view, claim)
        change = Vote(subject, liar, cluster.signers[liar].sign(subject.signed_bytes(RUN)))
        for dest in to:
            match choose.randrange(5):
                case 0 | 1:
                    cluster.send(liar, dest, PrePrepare(vote, value))
                case 2 | 3:
                    cluster.send(liar, dest, VoteCast(vote))
                case _:
                    cluster.send(liar, dest, ViewChange(change, claim, core.stable))


@settings(max_examples=150)
@given(st.integers(1, 8), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_agreement_whatever_happens_and_progress_once_it_stops(
    size: int, seed: int, collected: bool, with_deaths: bool
) -> None:
    choose = random.Random(seed)
    faults = choose.randint(0, max_faulty(size))
    liars = 0 if with_deaths else faults
    cluster = Cluster(
        size,
        liars=frozenset(choose.sample(range(size), liars)),
        collector_above=0 if collected else 16,
    )
    mischief = Mischief(cluster, choose)
    deaths = faults if with_deaths else 0
    for turn in range(choose.randint(10, 300)):
        rank = choose.choice(sorted(cluster.cores))
        pairs = cluster.waiting()
        roll = choose.random()
        if pairs and roll < 0.7:
            pair = choose.choice(pairs)
            if roll < 0.05:
                cluster.queues[pair].popleft()  # lost
            elif roll < 0.08:
                cluster.queues[pair].append(cluster.queues[pair][0])  # twice
            elif roll < 0.12:
                cluster.queues[pair].rotate(1)  # out of order
            else:
                cluster.deliver(*pair)
        elif roll < 0.8:
            cluster.give(rank, ev.Propose(step(str(choose.randrange(3)) + str(turn))))
            cluster.give(rank, ev.Expect())
        elif roll < 0.86:
            cluster.time_out(rank)
        elif roll < 0.9:
            cluster.give(rank, ev.Resend())
        elif roll < 0.92 and deaths:
            deaths -= 1
            cluster.kill(rank, told=[r for r in cluster.cores if choose.random() < 0.5])
        elif cluster.liars:
            mischief.act(choose.choice(sorted(cluster.liars)))
    for gone in sorted(cluster.dead):
        cluster.kill(gone)
    top = max(core.height for core in cluster.cores.values())
    cluster.heal(A, top + 2)
