"""Sessions that break are replaced; links inside TLS; groups of survivors over them."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tls import drive, files, judge, live, transports
from transport_contract import check_transport

from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.group import GroupTransport, Switch
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.adapters.memory_links import MemoryWorld
from morsr_mpi.adapters.tls_links import TlsLinks
from morsr_mpi.adapters.tls_pairs import HEAD
from morsr_mpi.adapters.tls_transport import SEALED_SLOT_BYTES, TlsTransport
from morsr_mpi.adapters.x509_authority import Authority
from morsr_mpi.app.parts import Refusals
from morsr_mpi.base.config import (
    MAX_FRAME_BYTES,
    MAX_LINK_BYTES,
    MAX_REFUSAL_LINES,
    MAX_TLS_RESTARTS,
    SLOT_BYTES,
    TLS_HANDSHAKE_SECONDS,
)
from morsr_mpi.base.errors import AuthenticationError, InternalError
from morsr_mpi.security.group_key import GroupKey

__all__ = ["live"]


def settle(ends: list[TlsTransport], turns: int = 40) -> list[bytes]:
    """What the last one hears while all look after their sessions."""
    heard = []
    for _ in range(turns):
        for end in ends:
            found = end.poll()
            if end is ends[-1]:
                heard += [frame for _, frame in found]
    return heard


def test_the_largest_frame_passes(live: Authority) -> None:
    a, b = transports(live, 2)
    frame = random.Random(1).randbytes(MAX_FRAME_BYTES)
    a.send(1, frame)
    assert settle([a, b]) == [frame]


@pytest.mark.parametrize("sender", [0, 1])
@pytest.mark.parametrize("damaged", range(7))
def test_a_damaged_session_is_replaced_and_the_pair_goes_on(
    live: Authority, sender: int, damaged: int
) -> None:
    seen = 0

    def flip(number: int, source: int, receiver: int, data: bytes) -> bytes:
        nonlocal seen
        if len(data) in (HEAD.size, SEALED_SLOT_BYTES):
            return data
        seen += 1
        return data[:-1] + bytes([data[-1] ^ 4]) if seen == damaged + 1 else data

    ends = transports(live, 2, flip)
    order = [ends[sender], ends[1 - sender]]
    settle(order)
    ends[sender].send(1 - sender, b"may be lost")
    settle(order)
    ends[sender].send(1 - sender, b"may be lost too")
    settle(order)
    ends[sender].send(1 - sender, b"arrives")
    assert settle(order)[-1:] == [b"arrives"]
    assert sum(sum(e.refused.values()) for e in ends) == (1 if seen > damaged else 0)
    for end in ends:  # and the group's key has arrived in any case
        end.start_round(bytes([end.rank]) * SLOT_BYTES)
    found: list[list[bytes] | None] = [None, None]
    for _ in range(10):
        for i, end in enumerate(ends):
            found[i] = found[i] or end.poll_round()
    assert found[0] == found[1] == [bytes([r]) * SLOT_BYTES for r in range(2)]


def test_a_peer_that_proves_nothing_is_refused_with_the_reason_and_never_ends_a_rank(
    live: Authority,
) -> None:
    def refuse(rank: int, der: bytes) -> None:
        raise AuthenticationError("another certificate than it was admitted with")

    log: list[str] = []
    network = MemoryNetwork(2, slot_bytes=SEALED_SLOT_BYTES)
    honest = TlsTransport(
        network.transport(0), files(live, 0), refuse, refused=lambda _, why: log.append(why)
    )
    other = TlsTransport(network.transport(1), files(live, 1), judge)
    for _ in range(40 * MAX_TLS_RESTARTS):
        assert honest.poll() == []
        assert other.poll() == []
    assert "TLS with rank 1: another certificate than it was admitted with" in log
    assert honest.refused[1] == len(log) >= MAX_TLS_RESTARTS
    before = honest.handshakes, len(log)
    other.send(0, b"let me in")
    honest.send(1, b"nobody there")
    settle([honest, other])
    assert (honest.handshakes, len(log)) == before, "it has been tried often enough"


@settings(max_examples=40)
@given(data=st.data())
def test_damaged_handshakes_end_in_a_session_or_in_nothing(
    live: Authority, data: st.DataObject
) -> None:
    """Edits of sound handshakes: bytes changed, cut, doubled, exchanged, at any place."""
    budget = data.draw(st.integers(1, 6))
    rng = random.Random(data.draw(st.integers(0, 2**32)))

    def edit(number: int, source: int, receiver: int, frame: bytes) -> bytes:
        nonlocal budget
        if not budget or rng.random() < 0.5 or not frame:
            return frame
        budget -= 1
        at = rng.randrange(len(frame))
        return rng.choice(
            [
                frame[:at] + bytes([frame[at] ^ (1 << rng.randrange(8))]) + frame[at + 1 :],
                frame[:at],
                frame + frame[at:],
                frame[at:] + frame[:at],
                rng.randbytes(rng.randrange(200)),
            ]
        )

    ends = transports(live, 2, edit)
    said = [b"%d" % i for i in range(8)]
    heard = []
    for message in said:
        ends[0].send(1, message)
        heard += settle(ends, 6)
    assert heard == [message for message in said if message in heard], "in order, nothing false"
    assert len(set(heard)) == len(heard)


def test_a_record_that_never_ends_does_not_keep_a_pair_apart(live: Authority) -> None:
    """Somebody puts the head of a long record in front of an honest hello: found by fuzzing."""
    network, clock = MemoryNetwork(2, slot_bytes=SEALED_SLOT_BYTES), ManualClock()
    log: list[str] = []
    network.queues[1][1].append((0, HEAD.pack(1, 0, 0) + b"\x16\x03\x01\x40\x00\x01"))
    ends = [
        TlsTransport(
            network.transport(r), files(live, r), judge, clock=clock,
            refused=lambda _, why: log.append(why),
        )
        for r in range(2)
    ]  # fmt: skip
    settle(ends)
    ends[0].send(1, b"swallowed, and said again")
    assert settle(ends) == []
    assert log == []
    clock.sleep(TLS_HANDSHAKE_SECONDS)
    assert settle(ends) == [b"swallowed, and said again"]
    assert "no end of the handshake" in log[0]


def test_what_is_refused_is_logged_a_bounded_number_of_times() -> None:
    lines: list[str] = []
    refusals = Refusals(lines.append)
    for _ in range(3 * MAX_REFUSAL_LINES):
        refusals(1, "rank 1 sent bytes")
    assert refusals.count == 3 * MAX_REFUSAL_LINES
    assert lines == ["refused: rank 1 sent bytes"] * MAX_REFUSAL_LINES


# --- links -----------------------------------------------------------------------------------
Links = Callable[[int], TlsLinks]


def sealed_links(live: Authority, world: MemoryWorld) -> list[TlsLinks]:
    return [TlsLinks(world.links(r), files(live, r), judge) for r in range(world.size)]


def test_links_keep_their_contract_inside_tls(live: Authority) -> None:
    world = MemoryWorld(3)
    links = sealed_links(live, world)
    large = bytes(MAX_LINK_BYTES)
    for number in range(5):
        for end in links:
            for dest in range(3):
                if dest != end.rank:
                    end.send(dest, b"%d from %d" % (number, end.rank))
    links[2].send(0, large)
    heard: dict[int, list[tuple[int, bytes]]] = {r: [] for r in range(3)}
    for _ in range(20):
        for end in links:
            heard[end.rank] += end.poll()
    for end in links:
        for source in {0, 1, 2} - {end.rank}:
            said = [b"%d from %d" % (number, source) for number in range(5)]
            if (source, end.rank) == (2, 0):
                said.append(large)
            assert [data for s, data in heard[end.rank] if s == source] == said
        assert not end.under_way
        assert end.unsent_bytes == 0
    with pytest.raises(InternalError):
        links[0].send(0, b"")
    with pytest.raises(InternalError):
        links[0].send(1, large + b"x")
    world.kill(2)
    assert links[0].failed() == {2}
    links[0].send(2, b"lost")
    assert world.queues[2] == type(world.queues[2])()


def groups(links: list[TlsLinks], epoch: int, members: tuple[int, ...]) -> list[GroupTransport]:
    return [Switch(links[m]).open(epoch, 0, members) for m in members]


def test_a_group_of_survivors_is_a_transport_inside_tls(live: Authority) -> None:
    drive(groups(sealed_links(live, MemoryWorld(4)), 5, (2, 0, 3)), check_transport)  # type: ignore[arg-type]


def test_who_left_reads_nothing_of_the_next_group(live: Authority) -> None:
    """Slots of survivors under TLS: neither legible nor to be opened by the old group's key."""
    world = MemoryWorld(3)
    seen: list[bytes] = []
    links = sealed_links(live, world)
    for end in links:
        carry = end._inner.send
        end._inner.send = lambda d, data, c=carry: (seen.append(data), c(d, data))[1]  # type: ignore[method-assign, misc, assignment]
    pair = groups(links, 3, (0, 1))
    secret = b"chamber of this problem".ljust(SLOT_BYTES, b"\0")
    for number in range(3):
        for end in pair:
            end.start_round(secret)
        found: list[list[bytes] | None] = [None, None]
        for _ in range(20):
            for i, end in enumerate(pair):
                found[i] = found[i] or end.poll_round()
        assert found == [[secret, secret]] * 2, number
    assert seen
    assert not any(b"chamber" in data for data in seen)
    former = GroupKey(bytes(range(32)), 0, 2)
    for data in seen:
        for number in range(3):
            with pytest.raises(Exception, match="not sealed by the group's key"):
                former.open(number, 0, data)


def test_a_gap_in_what_a_link_carries_is_survived(live: Authority) -> None:
    """A rank that was cut off for a while comes back in fresh sessions."""
    world = MemoryWorld(2)
    links = sealed_links(live, world)
    heard: list[bytes] = []

    def turn(times: int = 12) -> None:
        for _ in range(times):
            for end in links:
                heard.extend(data for _, data in end.poll())

    links[0].send(1, b"before")
    turn()
    world.cut = {(0, 1), (1, 0)}
    links[0].send(1, b"lost")
    links[1].send(0, b"lost")
    turn()
    world.cut = set()
    for number in range(3):
        links[0].send(1, b"down %d" % number)
        links[1].send(0, b"up %d" % number)
        turn()
    assert heard[0] == b"before"
    assert {b"down 2", b"up 2"} <= set(heard)
    assert b"lost" not in heard
