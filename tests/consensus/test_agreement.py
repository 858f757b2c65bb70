"""Agreement: what honest ranks decide under liars, deaths, loss, and any order of messages."""

from __future__ import annotations

import pytest
from agreeing import RUN, Cluster, leave, step

from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError
from morsr_mpi.consensus import effects as fx
from morsr_mpi.consensus import events as ev
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.messages import NewView, ViewChange, VoteCast
from morsr_mpi.consensus.quorum import max_faulty
from morsr_mpi.consensus.viewchange import assemble, subject_of
from morsr_mpi.consensus.votes import Ballot, Claim, Vote, VoteKind

A, B, C = step("a"), step("b"), step("c")


def _decided(cluster: Cluster, height: int = 0) -> set[bytes]:
    return {values[height] for values in cluster.decided.values() if len(values) > height}


@pytest.mark.parametrize("size", range(1, 8))
@pytest.mark.parametrize("collector_above", [0, 16])
def test_without_faults_one_round_trip_of_votes_decides(size: int, collector_above: int) -> None:
    cluster = Cluster(size, collector_above=collector_above)
    for height, value in enumerate((A, B, C)):
        cluster.propose(value)
        cluster.settle()
        assert all(values[height] == value for values in cluster.decided.values())
    assert not cluster.timers
    assert all(core.ballot == Ballot(0, 0) for core in cluster.cores.values())


def test_a_collector_keeps_messages_linear() -> None:
    counts = []
    for above in (0, 16):
        cluster = Cluster(7, collector_above=above)
        cluster.propose(A)
        sent = 0
        while cluster.waiting():
            for pair in cluster.waiting():
                cluster.deliver(*pair)
                sent += 1
        counts.append(sent)
    assert counts == [6 * 5, 6 + 7 * 6 * 2 - 6]


@pytest.mark.parametrize("size", [4, 7, 10])
def test_a_silent_primary_is_replaced(size: int) -> None:
    silent = frozenset(range(max_faulty(size)))
    cluster = Cluster(size, liars=silent)
    cluster.heal(A, 3)
    assert {core.primary for core in cluster.cores.values()} == {len(silent)}


def test_an_equivocating_primary_is_convicted_and_replaced() -> None:
    cluster = Cluster(4, liars=frozenset([0]))
    cluster.lie(0, A, [1, 2])
    cluster.lie(0, B, [2, 3])
    cluster.settle()
    cluster.heal(C, 2)
    assert {proof.culprit for proof in cluster.evidence} == {0}


def test_a_double_voter_that_is_no_primary_is_convicted_too() -> None:
    cluster = Cluster(4, liars=frozenset([3]))
    cluster.propose(A)
    cluster.lie(3, B, [0, 1, 2])
    cluster.lie(3, A, [0, 1, 2])
    cluster.settle()
    assert _decided(cluster) == {A}
    assert {proof.culprit for proof in cluster.evidence} == {3}


def test_nobody_votes_for_a_value_it_finds_wrong() -> None:
    cluster = Cluster(4, liars=frozenset([0]), right=lambda rank, value: value != B)
    cluster.lie(0, B, [1, 2, 3])
    cluster.settle()
    assert not any(cluster.decided.values())
    assert all(core.ballot.view == 1 for core in cluster.cores.values())
    cluster.heal(A, 1)
    assert _decided(cluster) == {A}


def test_nobody_votes_before_the_check_is_answered() -> None:
    cluster = Cluster(4, auto_check=False)
    cluster.propose(A)
    cluster.settle()
    assert not any(cluster.decided.values())
    assert len(cluster.checks) == 3
    cluster.answer_check()
    cluster.answer_check()
    cluster.settle()
    # Three of four voted; the fourth holds the certificate and has not checked.
    assert _decided(cluster) == {A}
    believed = [
        e.believed for log in cluster.log.values() for e in log if isinstance(e, fx.Decided)
    ]
    assert believed == [True] * 4


def test_a_rank_alone_in_its_verdict_hears_that_it_was_overruled() -> None:
    cluster = Cluster(4, right=lambda rank, value: rank != 2)
    cluster.propose(A)
    cluster.settle()
    cluster.resend()
    cluster.settle()
    assert _decided(cluster) == {A}
    (decided,) = [e for e in cluster.log[2] if isinstance(e, fx.Decided)]
    assert not decided.believed


def test_a_prepared_value_survives_its_primary() -> None:
    """Rank 3 alone has decided when the primary falls silent; the others follow it."""
    cluster = Cluster(4)
    cluster.propose(A)
    for source, dest in ((0, 1), (0, 2), (0, 3)):
        cluster.deliver(source, dest)
    for source, dest in ((1, 2), (2, 1), (1, 3), (2, 3), (1, 0), (2, 0)):
        cluster.deliver(source, dest)  # PREPARE: 0, 1, 2 and 3 are prepared
    for source in (1, 2):
        cluster.deliver(source, 3)  # COMMIT: with its own, 3 decides
    assert cluster.decided[3] == [A]
    assert not cluster.decided[1]
    cluster.lose([3])
    cluster.kill(0, told=[])
    cluster.lose([0])
    cluster.settle(without=[3])
    cluster.time_out(1, 2)
    cluster.heal(B, 2)
    assert _decided(cluster, 0) == {A}
    assert _decided(cluster, 1) == {B}


def test_a_new_primary_may_not_replace_what_may_have_been_decided() -> None:
    """The liar begins view 1 with honest claims, one of which forces A, and proposes B."""
    cluster = Cluster(4, liars=frozenset([1]))
    cluster.propose(A)
    for source, dest in ((0, 2), (0, 3), (2, 0), (3, 0), (2, 3)):
        cluster.deliver(source, dest)  # PRE-PREPARE and PREPARE: 0 and 3 hold a certificate
    cluster.lose([0, 2, 3])
    cluster.time_out(0, 2, 3)
    changes = [m for m in cluster.heard if isinstance(m, ViewChange)]
    new = assemble(Membership.of(4), 1, changes)
    assert new.prepared is not None
    for dest in (0, 2, 3):
        cluster.send(1, dest, new)
    for dest in (0, 2, 3):
        cluster.deliver(1, dest)
    assert {core.ballot for core in cluster.cores.values()} == {Ballot(0, 1)}
    cluster.lie(1, B, [0, 2, 3], view=1)
    cluster.settle()
    assert {core.ballot for core in cluster.cores.values()} == {Ballot(0, 2)}
    cluster.heal(C, 2)
    assert _decided(cluster) == {A}


def test_a_rank_that_missed_everything_catches_up() -> None:
    cluster = Cluster(4)
    for value in (A, B, C, A, B):
        cluster.propose(value)
        cluster.settle(without=[3])
        cluster.lose([3])
    assert not cluster.decided[3]
    cluster.propose(C)
    cluster.settle()
    for _ in range(8):
        cluster.resend()
        cluster.settle()
    assert len(cluster.decided[3]) == 6


def test_a_partition_without_a_quorum_decides_nothing_and_heals() -> None:
    cluster = Cluster(4)
    for _ in range(5):
        cluster.propose(A)
        cluster.settle(without=[2, 3])
        cluster.lose([2, 3])
        cluster.time_out()
    assert not any(cluster.decided.values())
    cluster.heal(B, 2)


@pytest.mark.parametrize("size", range(2, 8))
def test_survivors_of_any_number_of_deaths_go_on(size: int) -> None:
    for deaths in range(1, size):
        cluster = Cluster(size)
        cluster.propose(A)
        cluster.kill(*range(deaths))
        cluster.heal(B, 2)
        core = cluster.cores[size - 1]
        assert core.members.ranks == tuple(range(deaths, size))
        assert core.primary == deaths


def test_the_loss_of_tolerance_is_reported() -> None:
    cluster = Cluster(4)
    cluster.kill(0)
    cluster.settle()
    changes = [e for e in cluster.log[1] if isinstance(e, fx.MembershipChanged)]
    assert [(c.before.faulty, c.now.faulty, c.died, c.excluded, c.sure) for c in changes] == [
        (1, 0, (0,), (), True)
    ]
    cluster = Cluster(4)
    cluster.kill(0, 1, 2)
    (change,) = [e for e in cluster.log[3] if isinstance(e, fx.MembershipChanged)]
    assert not change.sure


def test_deaths_heard_of_in_different_order_end_in_one_membership() -> None:
    cluster = Cluster(5)
    cluster.propose(A)
    cluster.kill(0, told=[1, 2])
    cluster.settle()
    cluster.kill(4, told=[3])
    cluster.settle()
    for rank in (1, 2, 3):
        for gone in (4, 0):
            cluster.give(rank, ev.Died(gone))
    cluster.heal(B, 2)
    assert {core.members.ranks for r, core in cluster.cores.items() if r in (1, 2, 3)} == {
        (1, 2, 3)
    }


def test_a_living_rank_leaves_only_by_decision() -> None:
    cluster = Cluster(5)
    cluster.propose(leave(4))
    cluster.settle()
    assert cluster.cores[4].excluded
    assert {c.members.ranks for r, c in cluster.cores.items() if r != 4} == {(0, 1, 2, 3)}
    (change,) = [e for e in cluster.log[0] if isinstance(e, fx.MembershipChanged)]
    assert (change.died, change.excluded, change.now.quorum) == ((), (4,), 3)
    cluster.heal(A, 3)
    assert len(cluster.decided[4]) == 1


def test_a_primary_that_is_excluded_hands_over() -> None:
    cluster = Cluster(4)
    cluster.propose(leave(0))
    cluster.settle()
    cluster.heal(A, 2)
    assert {core.primary for r, core in cluster.cores.items() if r} == {1}


def test_members_that_keep_silent_after_a_death_are_named() -> None:
    cluster = Cluster(4, liars=frozenset([3]))
    cluster.kill(0, 1)
    cluster.settle()
    assert not cluster.timers
    assert cluster.cores[2].members.ranks == (2, 3)
    assert not cluster.cores[2].voting


def test_without_a_quorum_nothing_goes_on() -> None:
    """N - quorum + 1 silent ranks stop progress, and agreement stands."""
    cluster = Cluster(7, liars=frozenset([0, 1, 2]))
    with pytest.raises(AssertionError, match="no progress"):
        cluster.heal(A, 1)
    assert not any(cluster.decided.values())


def test_more_liars_than_tolerated_break_agreement() -> None:
    """2 quorum - N colluders suffice, so a smaller quorum would be unsafe: the bound is tight."""
    cluster = Cluster(4, liars=frozenset([0, 1]))
    cluster.lie(0, A, [2])
    cluster.lie(1, A, [2])
    cluster.lie(0, B, [3])
    cluster.lie(1, B, [3])
    with pytest.raises(AssertionError, match="two values"):
        cluster.settle()


def test_what_is_forged_is_refused_and_frames_nobody() -> None:
    cluster = Cluster(4, liars=frozenset([3]))
    real = cluster.vote(VoteKind.PREPARE, 1, sha256(A))
    forged = Vote(real.subject, 1, cluster.signers[3].sign(real.subject.signed_bytes(RUN)))
    for digest in (sha256(A), sha256(B)):
        subject = cluster.vote(VoteKind.PREPARE, 2, digest).subject
        cluster.send(3, 0, VoteCast(Vote(subject, 2, bytes(32))))
    cluster.send(3, 0, VoteCast(forged))
    cluster.settle()
    refused = [e for e in cluster.log[0] if isinstance(e, fx.Refused)]
    assert [e.who for e in refused] == [3, 3, 3]
    assert not cluster.evidence


def test_a_new_view_needs_the_claims_of_a_quorum() -> None:
    cluster = Cluster(4, liars=frozenset([1]))
    core = cluster.cores[0]
    claim = Claim(0)
    subject = subject_of(core.members, 1, claim)
    own = (1, claim, cluster.signers[1].sign(subject.signed_bytes(RUN)))
    lies = (own, own, own), (own,), (own, (2, claim, own[2]), (3, claim, own[2]))
    for claims in lies:
        cluster.send(1, 0, NewView(Ballot(0, 1), core.members.digest, claims, None, None))
    cluster.settle()
    assert core.ballot == Ballot(0, 0)


def test_one_rank_cannot_bring_about_a_view_change() -> None:
    cluster = Cluster(4, liars=frozenset([3]))
    members = cluster.cores[0].members
    for view in (1, 5, 1 << 40):
        subject = subject_of(members, view, Claim(0))
        vote = Vote(subject, 3, cluster.signers[3].sign(subject.signed_bytes(RUN)))
        for dest in range(3):
            cluster.send(3, dest, ViewChange(vote, Claim(0)))
    cluster.settle()
    assert {core.ballot.view for core in cluster.cores.values()} == {0}
    cluster.heal(A, 2)


def test_only_a_value_that_can_be_carried_out_is_proposed() -> None:
    cluster = Cluster(1)
    for value in (b"", b"nonsense", leave(0)):
        with pytest.raises(InternalError):
            cluster.give(0, ev.Propose(value))
