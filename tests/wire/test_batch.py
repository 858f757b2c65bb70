"""Algorithm 5.2: what goes when, in which order, in how many frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.base.config import BATCH_BYTES, BATCH_SECONDS, MAX_BATCH_MESSAGES
from morsr_mpi.wire.batch import Batch, MessageBatcher
from morsr_mpi.wire.kinds import Priority, priority
from morsr_mpi.wire.messages import (
    CacheRequest,
    CacheResponse,
    Heartbeat,
    Message,
    SlotRequest,
    Vote,
    open_messages,
)

D = bytes(32)
BULK = CacheResponse(((D, 1 << 20, 0, b"x" * (1 << 20)),))


def said(batch: Batch) -> list[Message]:
    """The messages of a batch, read from its packed bytes."""
    opened = list(open_messages(tuple(data for _, data in batch.messages), 0))
    assert opened == [message for message, _ in batch.messages]
    return opened


def test_what_somebody_waits_for_goes_at_once_and_takes_the_rest_along() -> None:
    batcher = MessageBatcher()
    batcher.add(1, Heartbeat(9, 5, 3), 0.0)
    batcher.add(2, Heartbeat(9, 5, 3), 0.0)
    assert batcher.due(0.0) == []
    batcher.add(1, SlotRequest(4), 0.001)
    (batch,) = batcher.due(0.001)
    assert (batch.dest, said(batch)) == (1, [Heartbeat(9, 5, 3), SlotRequest(4)])
    assert batcher.waiting == 1
    assert batcher.due(BATCH_SECONDS * 0.99) == []
    (late,) = batcher.due(BATCH_SECONDS)
    assert (late.dest, said(late)) == (2, [Heartbeat(9, 5, 3)])
    assert batcher.waiting == 0


def test_votes_go_before_bulk_within_and_between_ranks() -> None:
    batcher = MessageBatcher()
    for dest in (1, 2):
        batcher.add(dest, BULK, 0.0)
        batcher.add(dest, CacheRequest((D,)), 0.0)
        batcher.add(dest, Vote(b"v"), 0.0)
    batches = batcher.due(0.0)
    assert [(b.dest, b.priority) for b in batches] == [
        (1, Priority.VOTE), (2, Priority.VOTE), (1, Priority.BULK), (2, Priority.BULK),
    ]  # fmt: skip
    assert said(batches[0]) == [Vote(b"v"), CacheRequest((D,))]


def test_many_patient_messages_go_when_they_are_too_many() -> None:
    batcher = MessageBatcher()
    for number in range(MAX_BATCH_MESSAGES):
        assert batcher.due(0.0) == []
        batcher.add(3, Heartbeat(number, 0, 0), 0.0)
    (batch,) = batcher.due(0.0)
    assert len(batch.messages) == MAX_BATCH_MESSAGES


_MESSAGES = st.one_of(
    st.builds(lambda n: Heartbeat(n, n, n), st.integers(0, 9)),
    st.builds(SlotRequest, st.integers(0, 9)),
    st.builds(lambda body: Vote(body), st.binary(min_size=1, max_size=60_000)),
    st.builds(lambda n: CacheResponse(((D, n, 0, b"y" * n),)), st.sampled_from([1, 1000, 700_000])),
)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), _MESSAGES, st.floats(0, 0.02, allow_nan=False)), max_size=30
    )
)
def test_everything_goes_once_in_time_in_order_and_within_bounds(
    script: list[tuple[int, Message, float]],
) -> None:
    batcher = MessageBatcher()
    now = 0.0
    out: list[tuple[int, Message]] = []
    added: dict[int, float] = {}
    for number, (dest, message, wait) in enumerate(script):
        now += wait
        batcher.add(dest, message, now)
        added[number] = now
        batches = batcher.due(now)
        assert [b.priority for b in batches] == sorted(b.priority for b in batches)
        for batch in batches:
            size = sum(len(data) for _, data in batch.messages)
            assert size <= BATCH_BYTES or len(batch.messages) == 1
            ranks = [priority(message.TYPE) for message, _ in batch.messages]
            assert ranks == sorted(ranks)
            out += [(batch.dest, message) for message in said(batch)]
    for batch in batcher.due(now + BATCH_SECONDS):
        out += [(batch.dest, message) for message in said(batch)]
    assert batcher.waiting == 0
    for dest in range(4):
        for kind in Priority:
            sent = [m for d, m, _ in script if d == dest and priority(m.TYPE) == kind]
            got = [m for d, m in out if d == dest and priority(m.TYPE) == kind]
            assert sent == got, "kept in order within a priority"
