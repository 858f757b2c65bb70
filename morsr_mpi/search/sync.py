"""S in parts, for incremental state sync: the head, and one unit per target and component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.errors import MorsrError
from morsr_mpi.search.state import Search


class SearchParts:
    """SyncMachine over a Search. `search` is replaced by `adopt`."""

    def __init__(self, search: Search) -> None:
        self.search = search

    def head(self) -> bytes:
        """Tag, version and counters of a snapshot."""
        return encode(self.search.snapshot_head())

    def unit_digests(self) -> Sequence[bytes]:
        """Digest of each unit."""
        return [unit.digest() for unit in self.search.units]

    def unit_bytes(self, index: int) -> bytes:
        """Canonical bytes of one unit."""
        return self.search.units[index].to_bytes()

    def adopt(self, head: bytes, units: Mapping[int, bytes], state: bytes) -> None:
        """Restore a state from a head and units, the others from what is here.

        Raises ValueError unless its digest is `state`; `search` is unchanged then.
        """
        mine = self.search
        if any(index >= len(mine.units) for index in units):
            raise ValueError("a unit that does not exist")
        fields = decode(head)
        if type(fields) is not tuple:
            raise ValueError("a head that is none")
        parts = tuple(
            units[i] if i in units else unit.to_bytes() for i, unit in enumerate(mine.units)
        )
        try:
            snapshot = encode((*fields, parts))
            found = Search.restore(mine.problem, mine.prepared, mine.options, snapshot)
        except MorsrError as error:
            raise ValueError(str(error)) from None
        if found.state_digest() != state:
            raise ValueError("parts that do not give the state that was agreed on")
        self.search = found
