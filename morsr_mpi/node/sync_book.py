"""One rank's part in state sync: what it keeps for others, and its own way back (algorithm 5.1).

The plug between `sync` and a node. The node calls `note` after each commit and hands over
SyncRequest, SyncOffer and fetched bundles; it gets messages to send and, in the end, either pulses
to commit like any others or a search that was replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from morsr_mpi.base.config import CHUNK_BYTES
from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.base.ports import SyncMachine
from morsr_mpi.consensus.quorum import quorum
from morsr_mpi.node.fetch import FetchBook, Fetched
from morsr_mpi.node.sync import (
    History,
    MissedPulse,
    adopt_units,
    answer,
    make_request,
    open_pulses,
)
from morsr_mpi.wire.messages import SyncOffer, SyncRequest
from morsr_mpi.wire.packing import pack
from morsr_mpi.wire.sync_messages import SyncForm

#: Stands for the pulse in the uses of a fetched bundle: no result is of this pulse.
_BUNDLE = -1


def agreed_state(claims: Mapping[int, bytes], size: int) -> bytes | None:
    """Return the digest of S that a quorum of ranks claims, None when there is none yet.

    claims: by rank, after one number of committed pulses, our own included where it counts.
    """
    for state, count in Counter(claims.values()).most_common(1):
        return state if count >= quorum(size) else None
    return None


class SyncBook:
    """History for others; the question this rank has asked, and what came of it."""

    def __init__(self, fetch: FetchBook, machine: SyncMachine | None) -> None:
        """machine: S in parts; without one only missed pulses can be given and taken."""
        self.history = History()
        self._fetch = fetch
        self._machine = machine
        self._asked: tuple[int, bytes] | None = None
        self._offer: SyncOffer | None = None

    @property
    def asking(self) -> bool:
        """Whether this rank has asked and has not caught up."""
        return self._asked is not None

    def note(self, missed: MissedPulse) -> None:
        """Keep a pulse just committed."""
        self.history.note(missed)

    def ask(
        self, committed: int, state: bytes, to: tuple[int, bytes], suspect: bool
    ) -> SyncRequest:
        """Return the request. to: the pulses and digest the ranks agreed on, to be reached;
        suspect: whether our own S may be wrong."""
        self._asked, self._offer = to, None
        return make_request(committed, state, self._machine, suspect)

    def give(self, request: SyncRequest, committed: int, state: bytes) -> SyncOffer | None:
        """Return the answer to another rank's request, and hold what it will fetch."""
        found = answer(request, self.history, self._machine, committed, state)
        if found is None:
            return None
        offer, bundle = found
        if not offer.body:
            self._fetch.hold(committed, offer.name, pack(bundle))
        return offer

    def offered(
        self, offer: SyncOffer, committed: int, sender: int
    ) -> tuple[MissedPulse, ...] | None:
        """Take in an answer: pulses to commit, () when S was replaced, None while it is fetched.

        Raises ProtocolError for what was not asked for, or leads elsewhere than agreed.
        """
        if self._asked != (offer.committed, offer.state):
            raise ProtocolError(f"rank {sender} offered a state that nobody asked for")
        if offer.size <= CHUNK_BYTES:
            return self._take(offer, offer.body, committed, sender)
        self._offer = offer
        known = self._fetch.want((_BUNDLE, 0, sender), offer.name, offer.size)
        return None if known is None else self._take(offer, known[1], committed, sender)

    def fetched(self, found: Iterable[Fetched], committed: int) -> tuple[MissedPulse, ...] | None:
        """Take in a bundle among what was fetched, as `offered` does; None when there is none."""
        for (pulse, _, sender), bundle in found:
            offer = self._offer
            if pulse == _BUNDLE and offer is not None and len(bundle) == offer.size:
                return self._take(offer, bundle, committed, sender)
        return None

    def _take(
        self, offer: SyncOffer, bundle: bytes, committed: int, sender: int
    ) -> tuple[MissedPulse, ...]:
        if offer.form == SyncForm.UNITS:
            if self._machine is None:
                raise ProtocolError(f"rank {sender} sent units of a state that has none")
            adopt_units(offer, bundle, self._machine, sender)
            self.history.clear()
            missed: tuple[MissedPulse, ...] = ()
        else:
            missed = open_pulses(offer, bundle, committed, sender)
        self._asked = self._offer = None
        return missed
