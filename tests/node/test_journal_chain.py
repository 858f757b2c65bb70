"""The journal's chain: every change to any record is found, with the record named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, TamperError
from morsr_mpi.provenance.bodies import Body, Epoch, Genesis, Pulse, Seal, Stop, fingerprint
from morsr_mpi.provenance.chain import Chain, verify_chain
from morsr_mpi.provenance.records import NO_RECORD, encode_record

D = sha256(b"d")
GENESIS = Genesis("0.1", 1, D, D, "sign", encode((2, 0)), (b"k" * 32, b"l" * 32))


def pulse(number: int, what: bytes = b"") -> Pulse:
    state = sha256(b"state" + what + bytes([number]))
    return Pulse(0, number, D, D + D, b"\0\0\0\1", state)


def chained(*bodies: Body) -> list[bytes]:
    chain = Chain()
    return [chain.append(body) for body in bodies]


SOUND = chained(
    GENESIS,
    pulse(0),
    pulse(1),
    Stop(2, D, "SIGUSR1"),
    Epoch("0.1", "sign", GENESIS.settings, (b"m" * 32,), 1, pulse(0).state),
    pulse(1),
    pulse(2),
    Seal(3, pulse(2).state, (("result.h5", 10, D),), ((0, b"s" * 64),)),
)


def test_a_sound_chain() -> None:
    found = verify_chain(SOUND)
    assert found.sealed
    assert found.point.count == len(SOUND)
    assert found.point.head == sha256(SOUND[-1])
    assert found.point.genesis == sha256(SOUND[0])
    assert [p.pulse for p in found.pulses()] == [0, 1, 2]
    assert fingerprint(found.point.genesis) == sha256(SOUND[0]).hex()[:12]
    assert not verify_chain(SOUND[:-1]).sealed


@given(st.data())
def test_any_changed_bit_is_found(data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(SOUND) - 2))
    bit = data.draw(st.integers(0, len(SOUND[which]) * 8 - 1))
    changed = bytearray(SOUND[which])
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TamperError, match="record"):
        verify_chain([*SOUND[:which], bytes(changed), *SOUND[which + 1 :]])


@pytest.mark.parametrize("which", range(len(SOUND) - 1))
def test_a_missing_repeated_or_moved_record_is_found(which: int) -> None:
    with pytest.raises(TamperError):
        verify_chain(SOUND[:which] + SOUND[which + 1 :])
    with pytest.raises(TamperError):
        verify_chain([*SOUND[: which + 1], SOUND[which], *SOUND[which + 1 :]])
    swapped = list(SOUND)
    swapped[which], swapped[which + 1] = swapped[which + 1], swapped[which]
    with pytest.raises(TamperError):
        verify_chain(swapped)


@pytest.mark.parametrize(
    ("bodies", "reason"),
    [
        ((GENESIS, pulse(1)), "expected 0"),
        ((GENESIS, pulse(0), pulse(0)), "expected 1"),
        ((GENESIS, Seal(1, D, ())), "speaks of 1 pulses"),
        ((GENESIS, pulse(0), Seal(1, D, ())), "another state"),
        ((GENESIS, Epoch("0.1", "sign", b"", (), 4, D)), "only 0 pulses"),
        (
            (GENESIS, pulse(0), Epoch("0.1", "sign", GENESIS.settings, (), 0, D), pulse(0, b"x")),
            "differs from what an earlier epoch",
        ),
        ((GENESIS, Seal(0, D, ()), pulse(0)), "after the seal"),
    ],
)
def test_records_that_contradict_each_other(bodies: tuple[Body, ...], reason: str) -> None:
    with pytest.raises(TamperError, match=reason):
        verify_chain(chained(*bodies))


def test_more_work_may_change_later_pulses() -> None:
    more = Epoch("0.1", "sign", encode((2, 0, "more")), (), 0, D)
    assert verify_chain(chained(GENESIS, pulse(0), more, pulse(0, b"x"))).point.count == 4


def test_unknown_kinds_and_versions_are_refused() -> None:
    chain = Chain()
    first = chain.append(GENESIS)
    unknown = encode_record(1, "vote", chain.point.head, (1, 2))
    with pytest.raises(TamperError, match="unknown kind 'vote'"):
        verify_chain([first, unknown])
    newer = encode((2, 1, "pulse", chain.point.head, ()))
    with pytest.raises(TamperError, match="format version 2"):
        verify_chain([first, newer])
    with pytest.raises(TamperError, match="malformed"):
        verify_chain([first, encode_record(1, "pulse", chain.point.head, (1, 2))])
    with pytest.raises(TamperError, match="no record"):
        verify_chain([])
    with pytest.raises(TamperError, match="cannot be read"):
        verify_chain([b"\xff"])


def test_a_chain_starts_with_its_genesis() -> None:
    with pytest.raises(InternalError):
        Chain().append(pulse(0))
    with pytest.raises(TamperError, match="genesis"):
        verify_chain([encode_record(0, "pulse", NO_RECORD, pulse(0).body())])
