"""Votes, certificates, evidence, codecs: what holds of every one of them."""

from __future__ import annotations

import itertools

import pytest
from agreeing import RUN, Cluster, leave, step
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.evidence import DoubleVote
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.messages import (
    Certified,
    Decision,
    Message,
    NewView,
    PrePrepare,
    Status,
    ViewChange,
    VoteCast,
    decode_message,
    encode_message,
)
from morsr_mpi.consensus.quorum import max_faulty, quorum, survivors_needed, survivors_suffice
from morsr_mpi.consensus.tally import Tally
from morsr_mpi.consensus.values import decode_value
from morsr_mpi.consensus.votes import Ballot, Claim, VoteKind
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.unsigned import UnsignedSigner

CLUSTER = Cluster(4)
KEYS, SIGNER = CLUSTER.keys, CLUSTER.signers[0]
X, Y = sha256(b"x"), sha256(b"y")


@pytest.mark.parametrize("n", range(1, 8))
def test_any_two_quorums_share_an_honest_member(n: int) -> None:
    """Every pair of quorums and every set of liars, one by one."""
    f, q = max_faulty(n), quorum(n)
    for liars in itertools.combinations(range(n), f):
        for a in itertools.combinations(range(n), q):
            for b in itertools.combinations(range(n), q):
                assert set(a) & set(b) - set(liars)


@pytest.mark.parametrize("before", range(1, 8))
def test_survivors_meet_every_decision_unless_said_otherwise(before: int) -> None:
    """Every quorum that decided, every set of dead and of liars, every set that reports."""
    for after in range(1, before + 1):
        survivors = range(after)
        need = survivors_needed(before, after)
        if not survivors_suffice(before, after):
            assert need == after
            continue
        for voters in itertools.combinations(range(before), quorum(before)):
            for reports in itertools.combinations(survivors, need):
                met = set(voters) & set(reports)
                assert len(met) > max_faulty(after)


@given(st.integers(1, 200), st.data())
def test_survivors_needed_is_what_a_view_change_needs(before: int, data: st.DataObject) -> None:
    after = data.draw(st.integers(1, before))
    assert quorum(after) <= survivors_needed(before, after) <= after
    assert survivors_needed(before, before) == quorum(before)
    with pytest.raises(InternalError):
        survivors_needed(before, before + 1)


def test_a_membership_only_shrinks() -> None:
    members = Membership.of(5)
    fewer = members.without([1, 3])
    assert fewer.ranks == (0, 2, 4)
    assert (members.epoch, fewer.epoch, fewer.faulty, fewer.quorum) == (0, 2, 0, 2)
    assert [fewer.primary(view) for view in range(4)] == [0, 2, 4, 0]
    assert members.digest != fewer.digest
    for ranks in ((), (1, 0), (2, 2)):
        with pytest.raises(InternalError):
            Membership(5, ranks)


def _certificate(voters: range = range(3), kind: VoteKind = VoteKind.COMMIT) -> Certificate:
    return Certificate.of(Membership.of(4), [CLUSTER.vote(kind, r, X) for r in voters])


def test_a_certificate_is_checked_by_anyone_from_its_bytes() -> None:
    certificate = Certificate.decode(_certificate(range(4)).encode())
    assert certificate.valid(VoteKind.COMMIT, RUN, KEYS, SIGNER)
    assert len(certificate.signatures) == 3
    assert not certificate.valid(VoteKind.PREPARE, RUN, KEYS, SIGNER)
    assert not certificate.valid(VoteKind.COMMIT, sha256(b"another run"), KEYS, SIGNER)


def test_a_certificate_with_real_keys() -> None:
    signers = [Ed25519Signer(sha256(bytes([rank]))) for rank in range(4)]
    keys = {rank: signer.public_key for rank, signer in enumerate(signers)}
    subject = CLUSTER.vote(VoteKind.COMMIT, 0, X).subject
    signed = [(r, signers[r].sign(subject.signed_bytes(RUN))) for r in range(3)]
    good = Certificate(subject, Membership.of(4), tuple(signed))
    assert good.valid(VoteKind.COMMIT, RUN, keys, signers[3])
    signed[1] = (1, bytes(64))
    assert not Certificate(subject, Membership.of(4), tuple(signed)).valid(
        VoteKind.COMMIT, RUN, keys, signers[3]
    )


@pytest.mark.parametrize("wrong", ["few", "twice", "order", "stranger", "forged", "members"])
def test_what_is_no_certificate(wrong: str) -> None:
    good = _certificate()
    a, b, c = good.signatures
    signatures, members = good.signatures, good.members
    match wrong:
        case "few":
            signatures = (a, b)
        case "twice":
            signatures = (a, b, b)
        case "order":
            signatures = (b, a, c)
        case "stranger":
            members = Membership(4, (0, 1))
        case "forged":
            signatures = (a, b, (3, c[1]))
        case "members":
            members = Membership.of(7)
    bad = Certificate(good.subject, members, signatures)
    assert not bad.valid(VoteKind.COMMIT, RUN, KEYS, SIGNER)


def test_no_certificate_of_votes_for_two_things_or_of_too_few() -> None:
    votes = [CLUSTER.vote(VoteKind.COMMIT, r, X) for r in range(3)]
    with pytest.raises(InternalError):
        Certificate.of(Membership.of(4), votes[:2])
    with pytest.raises(InternalError):
        Certificate.of(Membership.of(4), [*votes, CLUSTER.vote(VoteKind.COMMIT, 3, Y)])


def test_evidence_convicts_whoever_signed_both_and_nobody_else() -> None:
    a, b = (CLUSTER.vote(VoteKind.PREPARE, 2, d) for d in (X, Y))
    proof = DoubleVote.decode(DoubleVote.of(b, a).encode())
    assert proof == DoubleVote.of(a, b)
    assert proof.culprit == 2
    assert proof.valid(RUN, KEYS, SIGNER)
    assert not proof.valid(sha256(b"another run"), KEYS, SIGNER)
    unsigned = UnsignedSigner()
    assert not proof.valid(RUN, dict.fromkeys(range(4), b""), unsigned)


@pytest.mark.parametrize("case", ["same", "other view", "other height", "other rank", "kind", "vc"])
def test_what_is_no_evidence(case: str) -> None:
    a = CLUSTER.vote(VoteKind.PREPARE, 2, X)
    b = {
        "same": CLUSTER.vote(VoteKind.PREPARE, 2, X),
        "other view": CLUSTER.vote(VoteKind.PREPARE, 2, Y, view=1),
        "other height": CLUSTER.vote(VoteKind.PREPARE, 2, Y, height=1),
        "other rank": CLUSTER.vote(VoteKind.PREPARE, 1, Y),
        "kind": CLUSTER.vote(VoteKind.COMMIT, 2, Y),
        "vc": CLUSTER.vote(VoteKind.VIEW_CHANGE, 2, Y),
    }[case]
    if case == "vc":
        a = CLUSTER.vote(VoteKind.VIEW_CHANGE, 2, X)
    assert not DoubleVote.of(a, b).valid(RUN, KEYS, SIGNER)


def test_the_first_answer_counts_and_the_second_is_evidence() -> None:
    tally = Tally()
    a, b = (CLUSTER.vote(VoteKind.COMMIT, 1, d) for d in (X, Y))
    assert tally.add(a) is None
    assert tally.add(a) is None
    assert tally.add(b) == DoubleVote.of(a, b)
    assert tally.votes(a.subject) == [a]
    assert tally.votes(b.subject) == []
    tally.forget_below(1)
    assert not tally.has(a)


def test_the_tally_is_bounded_for_each_voter() -> None:
    tally = Tally()
    kept = CLUSTER.vote(VoteKind.PREPARE, 1, X)
    tally.add(kept)
    for height in range(1000):
        tally.add(CLUSTER.vote(VoteKind.PREPARE, 2, X, height=height))
    assert tally.has(kept)
    assert not tally.has(CLUSTER.vote(VoteKind.PREPARE, 2, X, height=0))
    assert tally.has(CLUSTER.vote(VoteKind.PREPARE, 2, X, height=999))


def _messages() -> list[Message]:
    prepare, commit = _certificate(kind=VoteKind.PREPARE), _certificate()
    vote = CLUSTER.vote(VoteKind.PREPARE, 0, sha256(step("x")))
    claim = Claim(3, Ballot(0, 1), X)
    members = Membership.of(4).digest
    return [
        PrePrepare(vote, step("x")),
        VoteCast(vote),
        Certified(prepare),
        Decision(commit, leave(1, 2)),
        ViewChange(vote, Claim(0)),
        ViewChange(vote, claim, commit, prepare, step("x")),
        NewView(Ballot(0, 2), members, ((0, claim, b"s"), (1, Claim(3), b"")), commit, prepare),
        NewView(Ballot(0, 2), members, (), None, None),
        Status(members, Ballot(1, 2), 5, True),
    ]


@pytest.mark.parametrize("message", _messages(), ids=lambda m: type(m).__name__)
def test_messages_come_back_and_damage_is_refused(message: Message) -> None:
    data = encode_message(message)
    assert decode_message(data, 1) == message
    for cut in range(len(data)):
        with pytest.raises(ProtocolError):
            decode_message(data[:cut], 1)


@given(st.sampled_from(_messages()), st.data())
def test_no_changed_byte_does_more_than_be_refused(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(encode_message(message))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    try:
        again = decode_message(bytes(encoded), 1)
    except ProtocolError:
        return
    assert encode_message(again) == bytes(encoded)


@pytest.mark.parametrize("value", [b"", b"\x80", step("x") + b"0", b"\x82eleave\x80", leave(2, 1)])
def test_what_is_no_value(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_value(value)
