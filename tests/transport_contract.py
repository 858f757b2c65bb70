"""The contract of a transport, written once for every implementation.

Each rank's part is a generator that yields wherever it has to wait, so one thread can drive
all ranks of the in-memory twin, and one process each rank of MPI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.base.config import MAX_FRAME_BYTES, SLOT_BYTES
from morsr_mpi.base.errors import InternalError
from morsr_mpi.base.ports import Transport

Part = Callable[[Transport], Iterator[None]]


def _slot(rank: int, number: int) -> bytes:
    return (f"slot {rank} {number} ".encode() * 1000)[:SLOT_BYTES]


def _frame(source: int, dest: int, number: int) -> bytes:
    size = (0, 10, 5000, 300_000, 1_100_000)[number % 5]
    return f"{source}>{dest}#{number}:".encode() + bytes([number]) * size


def _number(frame: bytes) -> int:
    return int(frame[: frame.index(b":")].split(b"#")[1])


def check_transport(t: Transport) -> Iterator[None]:
    """All that a node relies on."""
    assert 0 <= t.rank < t.size
    assert t.poll_round() is None, "a round nobody entered"
    for bad in (b"", bytes(SLOT_BYTES - 1), bytes(SLOT_BYTES + 1)):
        with pytest.raises(InternalError):
            t.start_round(bad)
    others = [r for r in range(t.size) if r != t.rank]
    for dest in (t.rank, -1, t.size):
        with pytest.raises(InternalError):
            t.send(dest, b"x")
    if others:
        with pytest.raises(InternalError):
            t.send(others[0], bytes(MAX_FRAME_BYTES + 1))

    # Every fourth frame is urgent: order is kept among those, and among the others.
    numbers = [*(i for i in range(40) if i % 4 == 0), *(i for i in range(40) if i % 4)]
    expected = {r: [_frame(r, t.rank, i) for i in numbers] for r in others}
    received: dict[int, list[bytes]] = {r: [] for r in others}
    for number in range(40):
        t.start_round(_slot(t.rank, number))
        with pytest.raises(InternalError):
            t.start_round(_slot(t.rank, number))
        for dest in others:
            t.send(dest, _frame(t.rank, dest, number), urgent=number % 4 == 0)
        while (slots := t.poll_round()) is None:
            for source, frame in t.poll():
                received[source].append(frame)
            yield
        assert slots == [_slot(r, number) for r in range(t.size)]
        assert t.poll_round() is None
    while any(len(received[r]) < 40 for r in others):
        for source, frame in t.poll():
            received[source].append(frame)
        yield
    for frames in received.values():
        frames.sort(key=lambda frame: _number(frame) % 4 != 0)  # stable
    assert received == expected, "content, and order from each source"
    assert t.poll() == []
    while not t.leave():
        assert t.poll() == []
        yield
    assert t.leave()
    assert t.unsent_bytes == 0
    t.close()


def drive_in_memory(size: int, part: Part) -> None:
    """Run a part on every rank of the in-memory twin."""
    network = MemoryNetwork(size)
    waiting = [part(network.transport(rank)) for rank in range(size)]
    while waiting:
        for generator in list(waiting):
            try:
                next(generator)
            except StopIteration:
                waiting.remove(generator)


def drive_alone(transport: Transport, part: Part) -> None:
    """Run a part on this process's rank."""
    generator = part(transport)
    with suppress(StopIteration):
        while True:
            next(generator)
