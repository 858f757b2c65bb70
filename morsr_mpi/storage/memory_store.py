"""Store in memory with a bound: what was not used for longest goes first."""

from __future__ import annotations

from collections import OrderedDict

from morsr_mpi.base.config import MEMORY_STORE_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.storage.store import check_address


class MemoryStore:
    """Store port over a dictionary; the paper's ContentAddressedCache of one rank."""

    def __init__(self, max_bytes: int = MEMORY_STORE_BYTES) -> None:
        """max_bytes: bound on the sum of stored lengths; larger items are not kept."""
        self._max_bytes = max_bytes
        self._items: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def put(self, data: bytes) -> bytes:
        """Keep the bytes, dropping others to make room; return their address."""
        address = sha256(data)
        if address in self._items:
            self._items.move_to_end(address)
            return address
        if len(data) > self._max_bytes:
            return address
        self._items[address] = data
        self._bytes += len(data)
        while self._bytes > self._max_bytes:
            _, dropped = self._items.popitem(last=False)
            self._bytes -= len(dropped)
        return address

    def get(self, address: bytes) -> bytes | None:
        """Return the bytes or None; counts as a use."""
        data = self._items.get(check_address(address))
        if data is not None:
            self._items.move_to_end(address)
        return data

    def __contains__(self, address: object) -> bool:
        return address in self._items

    @property
    def stored_bytes(self) -> int:
        """Bytes held, never more than the bound."""
        return self._bytes
