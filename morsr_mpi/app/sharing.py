"""Work that several ranks share, every one of which needs all its results: `morsr replay`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from morsr_mpi.app.agree import MAX_MESSAGE_BYTES, Together
from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.errors import InternalError

T = TypeVar("T")

#: Bytes of one rank in one exchange; leaves room for its encoding.
_PIECE = MAX_MESSAGE_BYTES - 64


class Share:
    """Deals out calls over the ranks of a job and gives every rank all results."""

    def __init__(self, together: Together | None) -> None:
        """together: None for one rank alone."""
        self._together = together
        self.rank = together.rank if together is not None else 0
        self.size = together.size if together is not None else 1

    def results(self, calls: Sequence[Callable[[], bytes]]) -> list[bytes]:
        """Make this rank's part of the calls; return the results of all, in order.

        Raises CommonError on all ranks where a call fails on any.
        """
        own = self.agree(lambda: [call() for call in calls[self.rank :: self.size]])
        if self.size == 1:
            return own
        found: list[bytes] = [b""] * len(calls)
        for rank, data in enumerate(self.gather(encode(tuple(own)))):
            parts = decode(data)
            mine = range(rank, len(calls), self.size)
            if type(parts) is not tuple or len(parts) != len(mine):
                raise InternalError(f"rank {rank} sent {data[:8]!r} for its share")
            for index, part in zip(mine, parts, strict=True):
                assert type(part) is bytes
                found[index] = part
        return found

    def agree(self, step: Callable[[], T]) -> T:
        """Take a step on every rank. Raises CommonError on all where it fails on any."""
        if self._together is None:
            return step()
        return self._together.agree(step, _describe)

    def gather(self, data: bytes) -> list[bytes]:
        """Return the data of all ranks, of any length."""
        if self._together is None:
            return [data]
        pieces: list[list[bytes]] = [[] for _ in range(self.size)]
        at, more = 0, True
        while more:
            piece = data[at : at + _PIECE]
            at += len(piece)
            flag = b"\1" if at < len(data) else b"\0"
            heard = self._together.exchange(flag + piece)
            for rank, part in enumerate(heard):
                pieces[rank].append(part[1:])
            more = any(part[:1] == b"\1" for part in heard)
        return [b"".join(parts) for parts in pieces]

    def total(self, count: int) -> int:
        """Return the sum of a count over all ranks."""
        return sum(int.from_bytes(part, "big") for part in self.gather(count.to_bytes(8, "big")))

    def close(self) -> None:
        """Let go, once every rank is here."""
        if self._together is not None:
            self._together.close()


def _describe(exc: Exception) -> str:
    """Return the one line for an error that is a bug."""
    return f"internal error: {type(exc).__name__}: {exc}; please report it"
