"""Incremental state sync (paper section 5.2, algorithm 5.1), by version and digest.

S after pulse p and the results of the pulses since give S now, so the change since a version is
those results: a rank that was stopped and woke up gets no more than it missed. Beyond
`config.SYNC_KEEP_PULSES` or `SYNC_KEEP_BYTES`, and for a rank whose own S is wrong, the units of S
whose digests differ are sent, at worst all. Whatever comes is checked against the digest the ranks
agreed on before it replaces anything, so it does not matter who sent it.

Who asks: a rank that finds its digest, or its number of committed pulses, behind what the others
agree on; it asks one that is there, another one after that fails. Bundles longer than a piece are
fetched by their digest, like results.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from struct import pack as struct_pack

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.config import (
    CHUNK_BYTES,
    MAX_SYNC_BYTES,
    MAX_SYNC_MARKS,
    MAX_TASKS_PER_PULSE,
    SYNC_KEEP_BYTES,
    SYNC_KEEP_PULSES,
)
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.base.ports import SyncMachine
from morsr_mpi.wire.messages import SyncOffer, SyncRequest
from morsr_mpi.wire.shapes import count, digest, entries, split_numbers
from morsr_mpi.wire.sync_messages import MARK_BYTES, SyncForm


@dataclass(frozen=True, slots=True)
class MissedPulse:
    """A committed pulse. contributors: rank of each result; state: digest of S after it."""

    pulse: int
    contributors: tuple[int, ...]
    results: tuple[bytes, ...]
    state: bytes

    def fields(self) -> tuple[object, ...]:
        """Canonical fields; contributors as two bytes each, big-endian."""
        packed = struct_pack(f">{len(self.contributors)}H", *self.contributors)
        return (self.pulse, packed, self.results, self.state)

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return 48 + 12 * len(self.results) + sum(map(len, self.results))


class History:
    """The last committed pulses, for ranks that missed them."""

    def __init__(self, keep: int = SYNC_KEEP_PULSES, keep_bytes: int = SYNC_KEEP_BYTES) -> None:
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._pulses: deque[MissedPulse] = deque()
        self._bytes = 0

    def note(self, missed: MissedPulse) -> None:
        """Add a pulse just committed; the oldest go when there are too many or too large."""
        if self._pulses and missed.pulse != self._pulses[-1].pulse + 1:
            raise InternalError(f"pulse {missed.pulse} does not follow {self._pulses[-1].pulse}")
        self._pulses.append(missed)
        self._bytes += missed.size
        while len(self._pulses) > self._keep or self._bytes > self._keep_bytes:
            self._bytes -= self._pulses.popleft().size

    def clear(self) -> None:
        """Forget all: S was replaced."""
        self._pulses.clear()
        self._bytes = 0

    def since(self, committed: int, state: bytes) -> tuple[MissedPulse, ...] | None:
        """Return the pulses from a number on; None when they are not all here.

        state: digest of S before the first of them, compared where it is known.
        """
        if not self._pulses or not self._pulses[0].pulse <= committed <= self._pulses[-1].pulse:
            return None
        skip = committed - self._pulses[0].pulse
        if skip > 0 and self._pulses[skip - 1].state != state:
            return None
        return tuple(self._pulses)[skip:]


def make_request(
    committed: int, state: bytes, machine: SyncMachine | None, suspect: bool
) -> SyncRequest:
    """Return the question of a rank. suspect: whether its own S may be wrong."""
    if not suspect or machine is None:
        return SyncRequest(committed, state)
    digests = machine.unit_digests()
    if len(digests) > MAX_SYNC_MARKS:
        return SyncRequest(committed, state, bytes(MARK_BYTES))  # fits no S: all units
    return SyncRequest(committed, state, b"".join(d[:MARK_BYTES] for d in digests))


def answer(
    request: SyncRequest,
    history: History,
    machine: SyncMachine | None,
    committed: int,
    state: bytes,
) -> tuple[SyncOffer, bytes] | None:
    """Return the offer for a request, and its bundle to be held for fetching.

    committed, state: the S of this rank, which the offer leads to. None when there is nothing to
    offer: the asker is ahead or level, or S has no parts.
    """
    if request.committed > committed or (request.committed, request.state) == (committed, state):
        return None
    missed = None if request.marks else history.since(request.committed, request.state)
    form, bundle = SyncForm.PULSES, encode(tuple(m.fields() for m in missed or ()))
    if missed is None or len(bundle) > MAX_SYNC_BYTES:
        if machine is None:
            return None
        form, bundle = SyncForm.UNITS, _units(request.marks, machine)
    if len(bundle) > MAX_SYNC_BYTES:
        return None
    body = bundle if len(bundle) <= CHUNK_BYTES else b""
    return SyncOffer(form, committed, state, sha256(bundle), len(bundle), body), bundle


def _units(marks: bytes, machine: SyncMachine) -> bytes:
    """Return the bundle of the units that differ from those a rank has."""
    digests = machine.unit_digests()
    known = [marks[at : at + MARK_BYTES] for at in range(0, len(marks), MARK_BYTES)]
    if len(known) != len(digests):
        known = [b""] * len(digests)
    differing = [i for i, d in enumerate(digests) if d[:MARK_BYTES] != known[i]]
    return encode((machine.head(), tuple((i, machine.unit_bytes(i)) for i in differing)))


def open_pulses(
    offer: SyncOffer, bundle: bytes, committed: int, sender: int
) -> tuple[MissedPulse, ...]:
    """Return the pulses of a bundle, from this rank's next one to the offer's last.

    Each is to be committed like any other and its state compared; the offer's state must be one
    the ranks agreed on. Raises ProtocolError naming the sender.
    """
    try:
        if offer.form != SyncForm.PULSES:
            raise ValueError("units where pulses are needed")
        _check_name(offer, bundle)
        missed = tuple(map(_missed, entries(decode(bundle, MAX_SYNC_BYTES), 4)))
        numbers = [m.pulse for m in missed]
        if numbers != list(range(committed, offer.committed)) or not missed:
            raise ValueError("other pulses than were missed")
        if missed[-1].state != offer.state:
            raise ValueError("pulses that lead to another state")
    except ValueError as error:  # CanonicalError is one
        raise ProtocolError(f"rank {sender} sent a malformed sync: {error}") from None
    return missed


def adopt_units(offer: SyncOffer, bundle: bytes, machine: SyncMachine, sender: int) -> None:
    """Take over the units of a bundle if they give the offer's state, else change nothing.

    The offer's state must be one the ranks agreed on. Raises ProtocolError naming the sender.
    """
    try:
        if offer.form != SyncForm.UNITS:
            raise ValueError("pulses where units are needed")
        _check_name(offer, bundle)
        head, listed = entries((decode(bundle, MAX_SYNC_BYTES),), 2)[0]
        pairs = entries(listed, 2)
        if type(head) is not bytes or not all(type(data) is bytes for _, data in pairs):
            raise ValueError("a head or units that are not bytes")
        places = [count(i) for i, _ in pairs]
        if any(a >= b for a, b in pairwise(places)):
            raise ValueError("units that are not in order")
        units = {i: data for i, (_, data) in zip(places, pairs, strict=True)}
        machine.adopt(head, units, offer.state)  # type: ignore[arg-type]
    except ValueError as error:
        raise ProtocolError(f"rank {sender} sent a malformed sync: {error}") from None


def _check_name(offer: SyncOffer, bundle: bytes) -> None:
    if len(bundle) != offer.size or sha256(bundle) != offer.name:
        raise ValueError("a bundle that is not the one offered")


def _missed(fields: tuple[object, ...]) -> MissedPulse:
    pulse, packed, results, state = fields
    ranks = split_numbers(packed, 2)
    if type(results) is not tuple or not all(type(result) is bytes for result in results):
        raise ValueError("results that are not bytes")
    if len(ranks) != len(results) or len(ranks) > MAX_TASKS_PER_PULSE:
        raise ValueError("not one result for each contributor")
    return MissedPulse(count(pulse), ranks, results, digest(state))
