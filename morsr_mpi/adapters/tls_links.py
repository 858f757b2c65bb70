"""Links inside TLS: what survivors say to each other while they regroup, and ever after.

A group of survivors has no collectives and so no group key: its slots travel point-to-point, each
in the TLS session of its pair. The key of the first group seals nothing any more, so whoever left
with it can read nothing of what follows.
"""

from __future__ import annotations

from morsr_mpi.adapters.clock import CpuCost, SystemClock
from morsr_mpi.adapters.tls_pairs import BULK, Judge, Refused, TlsPairs
from morsr_mpi.adapters.tls_session import TlsFiles
from morsr_mpi.base.config import MAX_LINK_BYTES, MAX_UNSENT_BYTES
from morsr_mpi.base.errors import InternalError
from morsr_mpi.base.ports import Links


class TlsLinks:
    """Links port over links that anybody may read."""

    def __init__(
        self,
        inner: Links,
        files: TlsFiles,
        judge: Judge,
        refused: Refused | None = None,
        cost: CpuCost | None = None,
    ) -> None:
        """As of TlsTransport."""
        self._cost = cost or CpuCost(SystemClock())
        self._inner = inner
        self.rank, self.size = inner.rank, inner.size
        self._pairs = TlsPairs(inner.rank, files, judge, self._carry, refused)
        self._dead: frozenset[int] = frozenset()

    @property
    def refused(self) -> dict[int, int]:
        """How often something of a rank was refused."""
        return self._pairs.refused

    def failed(self) -> frozenset[int]:
        """Return who is reported dead, and forget their sessions."""
        dead = self._inner.failed()
        for peer in dead - self._dead:
            self._pairs.drop(peer)
        self._dead = dead
        return dead

    def send(self, dest: int, data: bytes) -> None:
        """Send in the pair's session; what waits for its handshake waits here."""
        if len(data) > MAX_LINK_BYTES or dest == self.rank or not 0 <= dest < self.size:
            raise InternalError(f"rank {self.rank} cannot send {len(data)} bytes to {dest}")
        if dest in self._dead:
            return
        if self._pairs.held_back + len(data) > MAX_UNSENT_BYTES:
            raise InternalError(f"rank {dest} does not take what is sent to it")
        with self._cost:
            self._pairs.say(dest, BULK, data)

    def poll(self) -> list[tuple[int, bytes]]:
        """Return what arrived and is proven."""
        self._pairs.look()
        found = self._inner.poll()
        if not found:
            return found
        with self._cost:
            return [(source, m) for source, data in found for m in self._pairs.take(source, data)]

    @property
    def under_way(self) -> bool:
        """Whether bytes or handshakes are under way."""
        return self._inner.under_way or self._pairs.shaking

    @property
    def unsent_bytes(self) -> int:
        """What waits here and below."""
        return self._pairs.held_back + self._inner.unsent_bytes

    def _carry(self, dest: int, data: bytes, lane: int) -> None:
        with self._cost.outside:
            self._inner.send(dest, data)
