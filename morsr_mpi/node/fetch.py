"""Results too big for a slot: announced by digest, fetched over point-to-point, in pieces.

What arrives is compared with its digest, so it does not matter who sent it. The amount asked
for and not yet here is bounded; an answer that stays away is asked for again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from morsr_mpi.base.config import (
    CHUNK_BYTES,
    MAX_FETCH_BYTES,
    MAX_REQUEST_DIGESTS,
    MAX_RETRIES,
    RETRY_SECONDS,
)
from morsr_mpi.base.digest import sha256, short
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.base.ports import Store
from morsr_mpi.wire.messages import CacheRequest, CacheResponse


@dataclass(slots=True)
class _Wanted:
    """One result on its way. uses: the tasks it is for, as (pulse, index, sender)."""

    holder: int
    size: int
    uses: list[tuple[int, int, int]]
    pieces: dict[int, bytes] = field(default_factory=dict)
    received: int = 0
    asked_at: float | None = None
    tries: int = 0


#: A fetched result: what it is for, and its bytes.
Fetched = tuple[tuple[int, int, int], bytes]


class FetchBook:
    """What this rank is fetching, and what it holds for others to fetch."""

    def __init__(self, store: Store) -> None:
        """store: where results may already be; what is fetched is put there."""
        self._store = store
        self._wanted: OrderedDict[bytes, _Wanted] = OrderedDict()
        self._asked_bytes = 0
        self._held: dict[bytes, bytes] = {}
        self._held_by_pulse: dict[int, list[bytes]] = {}

    @property
    def waiting(self) -> int:
        """Results wanted and not here."""
        return len(self._wanted)

    def want(self, use: tuple[int, int, int], name: bytes, size: int) -> Fetched | None:
        """Note that a result is needed; return it at once when the store has it.

        use: (pulse, index, sender); the sender is asked for the bytes.
        """
        known = self._store.get(name)
        if known is not None and len(known) == size:
            return use, known
        wanted = self._wanted.get(name)
        if wanted is None:
            self._wanted[name] = _Wanted(use[2], size, [use])
        elif use not in wanted.uses:
            wanted.uses.append(use)
        return None

    def requests(self, now: float) -> list[tuple[int, CacheRequest]]:
        """Return requests to send now, as (rank, message), within the bound on bytes.

        Raises InternalError when a rank does not answer for `config.MAX_RETRIES` times.
        """
        chosen: dict[int, list[bytes]] = {}
        for name, wanted in self._wanted.items():
            if wanted.asked_at is None:
                if self._asked_bytes and self._asked_bytes + wanted.size > MAX_FETCH_BYTES:
                    break
                self._asked_bytes += wanted.size
            elif now - wanted.asked_at < RETRY_SECONDS:
                continue
            if wanted.tries > MAX_RETRIES:
                raise InternalError(
                    f"rank {wanted.holder} announced result {short(name)} of {wanted.size} bytes "
                    f"and did not deliver it in {wanted.tries} requests"
                )
            wanted.tries += 1
            wanted.asked_at = now
            chosen.setdefault(wanted.holder, []).append(name)
        return [
            (holder, CacheRequest(tuple(names[i : i + MAX_REQUEST_DIGESTS])))
            for holder, names in chosen.items()
            for i in range(0, len(names), MAX_REQUEST_DIGESTS)
        ]

    def receive(self, response: CacheResponse, sender: int) -> list[Fetched]:
        """Take in pieces; return the results they complete.

        Raises ProtocolError when the bytes are not those announced; they are asked for again.
        """
        complete: list[Fetched] = []
        for name, size, offset, data in response.pieces:
            wanted = self._wanted.get(name)
            if wanted is None or size < 0:
                continue
            if size != wanted.size:
                raise ProtocolError(f"rank {sender} sent result {short(name)} in another size")
            if offset not in wanted.pieces:
                wanted.pieces[offset] = data
                wanted.received += len(data)
            if wanted.received < wanted.size:
                continue
            whole = b"".join(wanted.pieces[at] for at in sorted(wanted.pieces))
            if sha256(whole) != name:
                wanted.pieces.clear()
                wanted.received = 0
                wanted.asked_at = float("-inf")
                raise ProtocolError(f"rank {sender} sent bytes that are not result {short(name)}")
            del self._wanted[name]
            self._asked_bytes -= wanted.size
            self._store.put(whole)
            complete.extend((use, whole) for use in wanted.uses)
        return complete

    def hold(self, pulse: int, result: bytes) -> None:
        """Keep an announced result for others, until `release`."""
        name = sha256(result)
        self._held[name] = result
        self._held_by_pulse.setdefault(pulse, []).append(name)

    def release(self, below: int) -> None:
        """Drop what was held for pulses below a number: everybody has committed them."""
        for pulse in [p for p in self._held_by_pulse if p < below]:
            gone = self._held_by_pulse.pop(pulse)
            still = {name for names in self._held_by_pulse.values() for name in names}
            for name in gone:
                if name not in still:
                    self._held.pop(name, None)

    def answer(self, request: CacheRequest) -> list[CacheResponse]:
        """Return the responses to a request, none with more than `config.CHUNK_BYTES`."""
        responses: list[CacheResponse] = []
        pieces: list[tuple[bytes, int, int, bytes]] = []
        room = CHUNK_BYTES
        for name in request.digests:
            whole = self._held.get(name)
            if whole is None:
                whole = self._store.get(name)
            if whole is None:
                pieces.append((name, -1, 0, b""))
                continue
            for offset in range(0, len(whole), CHUNK_BYTES) or (0,):
                data = whole[offset : offset + CHUNK_BYTES]
                if len(data) > room:
                    responses.append(CacheResponse(tuple(pieces)))
                    pieces, room = [], CHUNK_BYTES
                pieces.append((name, len(whole), offset, data))
                room -= len(data)
        if pieces:
            responses.append(CacheResponse(tuple(pieces)))
        return responses
