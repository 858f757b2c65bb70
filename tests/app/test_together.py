"""Steps that ranks take together: one fails, all fail alike."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.app.agree import MAX_MESSAGE_BYTES, CommonError, Together
from morsr_mpi.base.errors import InputError, InternalError, UsageError


def on_ranks(size: int, step: Callable[[Together], object]) -> list[object]:
    """Run a step on each rank in a thread of its own; return values or exceptions."""
    network = MemoryNetwork(size)
    results: list[object] = [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = step(Together(network.transport(rank), SystemClock()))
        except Exception as exc:
            results[rank] = exc

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return results


def test_data_is_exchanged_in_rank_order() -> None:
    assert (
        on_ranks(3, lambda t: t.exchange(bytes([t.rank]) * t.rank)) == [[b"", b"\1", b"\2\2"]] * 3
    )


def test_all_is_well() -> None:
    assert on_ranks(3, lambda t: t.agree(lambda: t.rank, str)) == [0, 1, 2]
    assert on_ranks(3, lambda t: t.agree_on(1, lambda: "done", str)) == [None, "done", None]


def test_one_fails_all_fail_and_one_speaks() -> None:
    def step(together: Together) -> int:
        def body() -> int:
            if together.rank >= 1:
                raise InputError(f"bad on {together.rank}")
            return 1

        return together.agree(body, str)

    for rank, error in enumerate(on_ranks(3, step)):
        assert isinstance(error, CommonError)
        assert (error.exit_code, error.message, error.rank) == (65, "bad on 1", 1)
        assert isinstance(error.as_error(), InputError)
        assert (error.__cause__ is not None) == (rank >= 1)


def test_an_unexpected_error_is_an_internal_one() -> None:
    def fail() -> int:
        raise KeyError("x")

    for error in on_ranks(2, lambda t: t.agree_on(0, fail, lambda e: f"broken: {e!r}")):
        assert isinstance(error, CommonError)
        assert (error.exit_code, error.message, error.rank) == (70, "broken: KeyError('x')", 0)
        assert isinstance(error.as_error(), InternalError)


def test_long_messages_are_cut() -> None:
    def fail() -> int:
        raise UsageError("é" * 10_000)

    error = on_ranks(1, lambda t: t.agree(fail, str))[0]
    assert isinstance(error, CommonError)
    assert 1000 < len(error.message.encode()) < MAX_MESSAGE_BYTES
    with pytest.raises(InternalError):
        Together(MemoryNetwork(1).transport(0), SystemClock()).exchange(b"x" * 10_000)
