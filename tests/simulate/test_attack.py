"""2 quorum - N colluders are one more than agreement bears: two quorums share only them."""

from __future__ import annotations

from random import Random

import pytest

from morsr_mpi.adapters.simulated import EventQueue
from morsr_mpi.app.simulate.liars import Conspiracy, Liar
from morsr_mpi.app.simulate.member import Member, Sent
from morsr_mpi.app.simulate.replica import Identity, sequential
from morsr_mpi.app.simulate.vote_truth import VoteTruth
from morsr_mpi.base.digest import sha256
from morsr_mpi.consensus.messages import PrePrepare, VoteCast
from morsr_mpi.consensus.quorum import max_faulty, quorum
from morsr_mpi.security.twin import TwinAuthority


class Splitter(Liar):
    """Shows the first half of the honest ranks one decision and the second half another."""

    half: frozenset[int] = frozenset()

    def say(self, dest: int, message: Sent) -> None:
        # The plain `say` of a member: none of the random tricks.
        if isinstance(message, PrePrepare) and dest in self.half:
            message = self._equivocal(message)
        elif isinstance(message, VoteCast) and dest in self.half:
            message = VoteCast(self._rival_vote(message.vote))
        Member.say(self, dest, message)


def attack(size: int, colluders: int) -> VoteTruth:
    """Run the attack on the first decision."""
    liars = list(range(colluders))
    honest = list(range(colluders, size))
    truth = VoteTruth(liars, size, sequential(100))
    authority = TwinAuthority()
    run = sha256(b"attack")
    signers = [authority.signer(rank) for rank in range(size)]
    keys = {rank: signer.public_key for rank, signer in enumerate(signers)}
    truth.epoch(run, keys, authority.signer("witness"))
    plot = Conspiracy()
    members: list[Member] = []
    for rank in range(size):
        me = Identity(rank, run, keys, signers[rank], bytes(32))
        draw = Random(rank)
        if rank in liars:
            liar = Splitter(me, size, 1, truth, draw, tricks=frozenset(), plot=plot)
            liar.half = frozenset(honest[len(honest) // 2 :])
            members.append(liar)
        else:
            members.append(Member(me, size, 1, truth, draw))
    queue = EventQueue()
    halves = {rank: rank in honest[len(honest) // 2 :] for rank in honest}

    def deliver(source: int, dest: int, message: Sent) -> None:
        for to, answer in members[dest].receive(source, message):
            post(dest, to, answer)

    def post(source: int, dest: int, message: Sent) -> None:
        apart = halves.get(source) is not None and halves.get(dest) is not None
        slow = apart and halves[source] != halves[dest]  # the network does its part
        queue.at(queue.now + (10.0 if slow else 0.001), lambda: deliver(source, dest, message))

    for member in members:
        for dest, message in member.start():
            post(member.rank, dest, message)
    for member in members:
        for dest, message in member.tick():
            post(member.rank, dest, message)
    while queue.now < 5.0 and queue.step():
        pass
    return truth


@pytest.mark.parametrize("size", [4, 7, 10])
def test_the_attack_breaks_agreement_and_is_seen(size: int) -> None:
    colluders = 2 * quorum(size) - size
    assert colluders == max_faulty(size) + 1
    violations = attack(size, colluders).invariants.violations
    assert any(line.startswith("agreement:") for line in violations)
    assert not any(line.startswith("certificates:") for line in violations), "both are valid"


@pytest.mark.parametrize("size", [4, 7, 10])
def test_one_colluder_fewer_breaks_nothing(size: int) -> None:
    assert not attack(size, max_faulty(size)).invariants.violations
