"""How a node uses the wire: repeats, resumed fetches, packed results, blocked ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.base.config import (
    CHUNK_BYTES,
    MAX_FETCH_BYTES,
    MAX_RESULT_BYTES,
    REPLAY_WINDOW,
    RETRY_SECONDS,
)
from morsr_mpi.base.digest import sha256
from morsr_mpi.node.envelope import Envelope
from morsr_mpi.node.fetch import FetchBook
from morsr_mpi.node.inbox import Inbox
from morsr_mpi.node.rounds import Outbox
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.storage.memory_store import MemoryStore
from morsr_mpi.wire.frames import Frame
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import CacheRequest, Order, Results, Vote
from morsr_mpi.wire.packing import pack, plain

_AUTHORITY = TwinAuthority()
_KEYS = [_AUTHORITY.signer(rank).public_key for rank in range(3)]


def envelope(rank: int) -> Envelope:
    """The envelope of one of three ranks."""
    return Envelope(rank, _AUTHORITY.signer(rank), b"run", _KEYS)


@given(st.lists(st.integers(0, 3 * REPLAY_WINDOW), max_size=60))
def test_a_frame_is_taken_once(numbers: list[int]) -> None:
    inbox = Inbox(0, envelope(0))
    taken: set[int] = set()
    for number in numbers:
        repeat = inbox.is_repeat(Frame(MessageType.HEARTBEAT, 1, number + 1, b"", b""))
        assert not (number in taken and not repeat)
        if number not in taken and number > max(taken, default=0) - REPLAY_WINDOW:
            assert not repeat
        if not repeat:
            taken.add(number)
    assert inbox.repeated == len(numbers) - len(taken)
    assert not inbox.is_repeat(Frame(MessageType.HEARTBEAT, 2, 1, b"", b""))


def test_votes_go_before_orders_and_orders_before_results_in_a_slot() -> None:
    outbox = Outbox(envelope(1), _AUTHORITY.signer(1).signature_bytes)
    order = Order(0, 3, bytes(32), 1, 0, (1,))
    outbox.add_result(3, 0, b"r" * 5000)
    outbox.say(order)
    outbox.say(Vote(b"v"))
    slot, announced = outbox.compose(3, bytes(32))
    heard, _, _ = Inbox(0, envelope(0)).open_slots(1, (b"", slot, b"")[:2], 0.0)
    assert heard[0].messages == (Vote(b"v"), order, Results(3, (0,), (b"r" * 5000,)))
    assert not announced


def noise(size: int) -> bytes:
    """Bytes that do not compress."""
    return b"".join(sha256(i.to_bytes(4, "big")) for i in range(size // 32 + 1))[:size]


@pytest.mark.parametrize("result", [noise(3 * CHUNK_BYTES + 5), b"ab" * 3_000_000, b"x"])
def test_a_fetch_goes_on_from_what_is_here(result: bytes) -> None:
    name = sha256(result)
    holder, asker = FetchBook(MemoryStore()), FetchBook(MemoryStore())
    holder.hold(0, name, pack(result))
    assert asker.want((0, 0, 1), name, len(result)) is None
    ((dest, request),) = asker.requests(0.0)
    assert (dest, request) == (1, CacheRequest((name,)))
    first, *rest = holder.answer(request)
    complete, wrong = asker.receive(first, 1)
    assert not wrong
    if rest:  # the others are lost
        assert not complete
        assert asker.requests(RETRY_SECONDS / 2) == []
        ((_, again),) = asker.requests(RETRY_SECONDS)
        assert again == CacheRequest((name,), (CHUNK_BYTES,))
        answers = holder.answer(again)
        assert sum(len(p[3]) for a in answers for p in a.pieces) == len(pack(result)) - CHUNK_BYTES
        for answer in answers:
            complete += asker.receive(answer, 1)[0]
    assert complete == [((0, 0, 1), result)]
    assert asker.waiting == 0


def test_one_wrong_piece_does_not_lose_the_others() -> None:
    good, bad = b"good" * 300, b"bad" * 300
    asker = FetchBook(MemoryStore())
    holder = FetchBook(MemoryStore())
    for index, result in enumerate((good, bad)):
        holder.hold(0, sha256(result), pack(result))
        asker.want((0, index, 1), sha256(result), len(result))
    ((_, request),) = asker.requests(0.0)
    (answer,) = holder.answer(request)
    pieces = list(answer.pieces)
    damaged = (*pieces[1][:3], b"?" * len(pieces[1][3]))
    complete, wrong = asker.receive(type(answer)((pieces[0], damaged)), 1)
    assert complete == [((0, 0, 1), good)]
    assert len(wrong) == 1
    assert "rank 1" in wrong[0]
    ((_, again),) = asker.requests(0.1)
    assert again == CacheRequest((sha256(bad),))


def test_a_greedy_request_is_answered_in_part() -> None:
    holder = FetchBook(MemoryStore(1 << 30))
    names = []
    body = noise(1 << 16) * 128
    for number in range(13):
        result = number.to_bytes(4, "big") + body
        holder.hold(0, sha256(result), plain(result))
        names.append(sha256(result))
    answers = holder.answer(CacheRequest(tuple(names)))
    sent = sum(len(p[3]) for a in answers for p in a.pieces)
    assert MAX_FETCH_BYTES <= sent <= MAX_FETCH_BYTES + MAX_RESULT_BYTES < 13 * len(body)
    assert max(sum(len(p[3]) for p in a.pieces) for a in answers) <= CHUNK_BYTES


def test_urgent_frames_overtake_others_on_their_way() -> None:
    network = MemoryNetwork(2)
    a, b = network.transport(0), network.transport(1)
    a.send(1, b"bulk")
    a.send(1, b"vote", urgent=True)
    a.send(1, b"more")
    assert a.unsent_bytes == 12
    assert [frame for _, frame in b.poll()] == [b"vote", b"bulk", b"more"]
    assert a.unsent_bytes == 0
