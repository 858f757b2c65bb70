"""Results too big for a slot: announced by digest, fetched over point-to-point, in pieces.

What arrives is compared with its digest, so it does not matter who sent it. The amount asked
for and not yet here is bounded; an answer that stays away is asked for again, from the first
byte that is not here. Results travel packed (`wire.packing`); digests are of the plain bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from morsr_mpi.base.config import (
    CHUNK_BYTES,
    MAX_FETCH_BYTES,
    MAX_REQUEST_DIGESTS,
    MAX_RESULT_BYTES,
    MAX_RETRIES,
    RETRY_SECONDS,
)
from morsr_mpi.base.digest import sha256, short
from morsr_mpi.base.errors import InternalError
from morsr_mpi.base.ports import Store
from morsr_mpi.node.rounds import Announced
from morsr_mpi.wire.messages import CacheRequest, CacheResponse
from morsr_mpi.wire.packing import pack, unpack

#: Most that one request is answered with: what a rank may ask for, and one result beyond it.
_MAX_ANSWER_BYTES = MAX_FETCH_BYTES + MAX_RESULT_BYTES


@dataclass(slots=True)
class _Wanted:
    """One result on its way. size: of its plain bytes; packed: of what travels, -1 unknown;
    uses: the tasks it is for, as (pulse, index, sender)."""

    holder: int
    size: int
    uses: list[tuple[int, int, int]]
    packed: int = -1
    pieces: dict[int, bytes] = field(default_factory=dict)
    received: int = 0
    asked_at: float | None = None
    tries: int = 0

    def start(self) -> int:
        """Bytes that are here without a gap."""
        end = 0
        while self.pieces.get(end):
            end += len(self.pieces[end])
        return end

    def forget(self) -> None:
        """Drop what is here."""
        self.pieces.clear()
        self.received = 0
        self.packed = -1

    def plain(self, name: bytes) -> bytes | None:
        """Return the result if all pieces make it; None when they do not."""
        try:
            found = unpack(b"".join(self.pieces[at] for at in sorted(self.pieces)), self.size)
        except ValueError:
            return None
        return found if len(found) == self.size and sha256(found) == name else None


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
            (holder, self._request(names[i : i + MAX_REQUEST_DIGESTS]))
            for holder, names in chosen.items()
            for i in range(0, len(names), MAX_REQUEST_DIGESTS)
        ]

    def _request(self, names: list[bytes]) -> CacheRequest:
        """Return the request for some results, from the first byte that is missing of each."""
        starts = tuple(self._wanted[name].start() for name in names)
        return CacheRequest(tuple(names), starts if any(starts) else ())

    def receive(self, response: CacheResponse, sender: int) -> tuple[list[Fetched], list[str]]:
        """Take in pieces; return the results they complete, and what was wrong with others.

        Bytes that are not those announced are asked for again.
        """
        complete: list[Fetched] = []
        wrong: list[str] = []
        for name, size, offset, data in response.pieces:
            wanted = self._wanted.get(name)
            if wanted is None or size < 0:
                continue
            if not 0 < size <= wanted.size + 1:
                wrong.append(f"rank {sender} sent result {short(name)} in another size")
                continue
            if size != wanted.packed:  # another rank may pack it differently
                wanted.forget()
                wanted.packed = size
            if data and offset not in wanted.pieces:
                wanted.pieces[offset] = data
                wanted.received += len(data)
            if wanted.received < size:
                continue
            whole = wanted.plain(name)
            if whole is None:
                wanted.forget()
                wanted.asked_at = float("-inf")
                wrong.append(f"rank {sender} sent bytes that are not result {short(name)}")
                continue
            del self._wanted[name]
            self._asked_bytes -= wanted.size
            self._store.put(whole)
            complete.extend((use, whole) for use in wanted.uses)
        return complete, wrong

    def hold(self, pulse: int, name: bytes, packed: bytes) -> None:
        """Keep an announced result for others, until `release`."""
        self._held[name] = packed
        self._held_by_pulse.setdefault(pulse, []).append(name)

    def hold_all(self, announced: Iterable[Announced]) -> None:
        """Keep the results that a slot announces."""
        for item in announced:
            self.hold(item.pulse, item.name, item.packed)

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
        left = _MAX_ANSWER_BYTES
        starts = request.starts or (0,) * len(request.digests)
        for name, start in zip(request.digests, starts, strict=True):
            whole = self._packed(name)
            if whole is None:
                pieces.append((name, -1, 0, b""))
                continue
            start = start if start < len(whole) else 0
            left -= len(whole) - start
            if left < 0:  # no honest rank asks for so much at once
                break
            for offset in range(start, len(whole), CHUNK_BYTES):
                data = whole[offset : offset + CHUNK_BYTES]
                if len(data) > room:
                    responses.append(CacheResponse(tuple(pieces)))
                    pieces, room = [], CHUNK_BYTES
                pieces.append((name, len(whole), offset, data))
                room -= len(data)
        if pieces:
            responses.append(CacheResponse(tuple(pieces)))
        return responses

    def _packed(self, name: bytes) -> bytes | None:
        """Return the packed form of a result that is here."""
        held = self._held.get(name)
        if held is None:
            known = self._store.get(name)
            held = None if known is None else pack(known)
        return held
