"""Algorithm 5.1: a rank that missed something gets what it missed, and takes nothing unchecked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.app.rerun import explore
from morsr_mpi.base.config import CHUNK_BYTES
from morsr_mpi.base.digest import digest_of, sha256
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.node.envelope import Envelope
from morsr_mpi.node.fetch import FetchBook
from morsr_mpi.node.sync import (
    History,
    MissedPulse,
    adopt_units,
    answer,
    make_request,
    open_pulses,
)
from morsr_mpi.node.sync_book import SyncBook, agreed_state
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search
from morsr_mpi.search.sync import SearchParts
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.storage.memory_store import MemoryStore
from morsr_mpi.wire.batch import MessageBatcher
from morsr_mpi.wire.messages import (
    CacheRequest,
    CacheResponse,
    Message,
    SyncOffer,
    SyncRequest,
    decode_message,
    encode_message,
)
from morsr_mpi.wire.sync_messages import SyncForm

D = bytes(32)


@dataclass
class Units:
    """The simplest S in parts: byte strings; a pulse appends its results to some of them."""

    units: list[bytes]
    committed: int = 0
    history: History = field(default_factory=History)

    def state(self) -> bytes:
        return digest_of(self.head(), tuple(self.unit_digests()))

    def head(self) -> bytes:
        return self.committed.to_bytes(8, "big")

    def unit_digests(self) -> Sequence[bytes]:
        return [sha256(unit) for unit in self.units]

    def unit_bytes(self, index: int) -> bytes:
        return self.units[index]

    def adopt(self, head: bytes, units: Mapping[int, bytes], state: bytes) -> None:
        found = [units.get(i, unit) for i, unit in enumerate(self.units)]
        if digest_of(head, tuple(sha256(unit) for unit in found)) != state or len(head) != 8:
            raise ValueError("another state")
        self.units, self.committed = found, int.from_bytes(head, "big")

    def commit(self, results: Sequence[bytes], ranks: Sequence[int]) -> None:
        number = self.committed
        for at, result in enumerate(results):
            self.units[(number + at) % len(self.units)] += result
        self.committed += 1
        self.history.note(MissedPulse(number, tuple(ranks), tuple(results), self.state()))


def sync(asker: Units, holder: Units, suspect: bool = False) -> SyncOffer | None:
    """One exchange without a network; returns the offer."""
    request = make_request(asker.committed, asker.state(), asker, suspect)
    assert decode_message(encode_message(request), 0) == request
    found = answer(request, holder.history, holder, holder.committed, holder.state())
    if found is None:
        return None
    offer, bundle = found
    assert decode_message(encode_message(offer), 0) == offer
    if offer.form == SyncForm.UNITS:
        adopt_units(offer, bundle, asker, 1)
    else:
        for missed in open_pulses(offer, bundle, asker.committed, 1):
            asker.commit(missed.results, missed.contributors)
            assert asker.state() == missed.state
    assert asker.state() == holder.state()
    return offer


_PULSES = st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=4), max_size=12)


@given(_PULSES, st.integers(0, 12), st.integers(0, 5), st.booleans())
def test_any_rank_behind_catches_up(
    pulses: list[list[bytes]], stopped_at: int, keep: int, suspect: bool
) -> None:
    asker, holder = (Units([bytes([i]) * 50 for i in range(5)]) for _ in range(2))
    holder.history = History(keep)
    for number, results in enumerate(pulses):
        for machine in (holder, asker) if number < stopped_at else (holder,):
            machine.commit(results, range(len(results)))
    missed = max(0, len(pulses) - stopped_at)
    offer = sync(asker, holder, suspect)
    if missed == 0:
        assert offer is None
    else:
        assert offer is not None
        assert offer.form == (SyncForm.PULSES if missed <= keep and not suspect else SyncForm.UNITS)


@given(_PULSES.filter(bool), st.sets(st.integers(0, 4), min_size=1))
def test_a_rank_whose_units_are_wrong_gets_those_and_no_others(
    pulses: list[list[bytes]], wrong: set[int]
) -> None:
    asker, holder = (Units([bytes([i]) * 50 for i in range(5)]) for _ in range(2))
    for results in pulses:
        for machine in (holder, asker):
            machine.commit(results, range(len(results)))
    for index in wrong:
        asker.units[index] += b"?"
    offer = sync(asker, holder, suspect=True)
    assert offer is not None
    size = sum(len(holder.units[i]) for i in wrong)
    assert size <= offer.size <= size + 30 + 6 * len(wrong)


def test_bytes_after_one_pulse_follow_the_change_and_not_the_state() -> None:
    sizes = {}
    for units in (10, 10_000):
        for change in (10, 1000, 100_000):
            asker, holder = (Units([bytes(1000)] * units) for _ in range(2))
            holder.commit([sha256(b"x") * (change // 10)], (0,))
            offer = sync(asker, holder)
            assert offer is not None
            sizes[units, change] = offer.size
    for change in (10, 1000, 100_000):
        assert sizes[10, change] == sizes[10_000, change]
        assert sizes[10, change] <= 32 * (change // 10) + 60


def test_what_was_not_agreed_on_is_not_adopted() -> None:
    asker, holder = (Units([b"a", b"b"]) for _ in range(2))
    holder.commit([b"one", b"two"], (0, 1))
    holder.history.clear()
    before = list(asker.units)
    found = answer(make_request(0, asker.state(), asker, True), holder.history, holder, 1, D)
    assert found is not None
    with pytest.raises(ProtocolError, match="rank 4 sent a malformed sync: another state"):
        adopt_units(*found, asker, 4)
    assert asker.units == before
    offer, bundle = found
    for damaged in (bundle[:-1], bundle + b"\0", bundle[:-1] + b"?"):
        with pytest.raises(ProtocolError, match="not the one offered"):
            adopt_units(offer, damaged, asker, 4)


def test_pulses_that_do_not_follow_are_refused() -> None:
    holder = Units([b"a"])
    for number in range(4):
        holder.commit([bytes([number])], (0,))
    found = answer(SyncRequest(2, holder.history.since(0, D)[1].state), holder.history, None, 4, D)  # type: ignore[index]
    assert found is not None
    for committed in (1, 3):
        with pytest.raises(ProtocolError, match="other pulses than were missed"):
            open_pulses(*found, committed, 1)
    with pytest.raises(ProtocolError, match="lead to another state"):
        open_pulses(*found, 2, 1)
    with pytest.raises(ProtocolError, match="pulses where units"):
        adopt_units(*found, holder, 1)


def test_a_version_of_another_history_gets_units() -> None:
    holder = Units([b"a"])
    for number in range(4):
        holder.commit([bytes([number])], (0,))
    for state, form in ((holder.history.since(0, D)[1].state, 1), (sha256(b"other"), 2)):  # type: ignore[index]
        found = answer(SyncRequest(2, state), holder.history, holder, 4, holder.state())
        assert found is not None
        assert found[0].form == form
    assert answer(SyncRequest(2, D), holder.history, None, 4, D) is None
    assert answer(SyncRequest(5, D), holder.history, holder, 4, D) is None


def test_history_is_bounded_and_without_gaps() -> None:
    history = History(keep=100, keep_bytes=10_000)
    for number in range(50):
        history.note(MissedPulse(number, (0,), (bytes(1000),), D))
    assert history.since(50 - 9, D) is not None
    assert history.since(50 - 10, D) is None
    with pytest.raises(InternalError, match="does not follow"):
        history.note(MissedPulse(60, (0,), (b"",), D))


class Peer:
    """A rank that can do nothing but sync, over the in-memory transport."""

    def __init__(self, rank: int, network: MemoryNetwork, machine: Units) -> None:
        authority = TwinAuthority()
        keys = [authority.signer(r).public_key for r in range(network.size)]
        self.machine = machine
        self.transport = network.transport(rank)
        self.envelope = Envelope(rank, authority.signer(rank), b"run", keys)
        self.batcher = MessageBatcher()
        self.fetch = FetchBook(MemoryStore())
        self.book = SyncBook(self.fetch, machine)
        self.book.history = machine.history
        self.sent = 0

    def ask(self, dest: int, to: tuple[int, bytes], suspect: bool) -> None:
        machine = self.machine
        request = self.book.ask(machine.committed, machine.state(), to, suspect)
        self.batcher.add(dest, request, 0.0)

    def turn(self, now: float) -> None:
        for dest, wanted in self.fetch.requests(now):
            self.batcher.add(dest, wanted, now)
        for source, data in self.transport.poll():
            frame = self.envelope.open(data, source)
            for message in self.envelope.open_direct(frame):
                self._hear(frame.sender, message, now)
        for batch in self.batcher.due(now):
            frame_bytes = self.envelope.direct_frame(batch)
            self.sent += len(frame_bytes)
            self.transport.send(batch.dest, frame_bytes)

    def _hear(self, sender: int, message: Message, now: float) -> None:
        machine = self.machine
        missed = None
        match message:
            case SyncRequest():
                offer = self.book.give(message, machine.committed, machine.state())
                assert offer is not None
                self.batcher.add(sender, offer, now)
            case SyncOffer():
                missed = self.book.offered(message, machine.committed, sender)
            case CacheRequest():
                for response in self.fetch.answer(message):
                    self.batcher.add(sender, response, now)
            case CacheResponse():
                complete, wrong = self.fetch.receive(message, sender)
                assert not wrong
                missed = self.book.fetched(complete, machine.committed)
        for pulse in missed or ():
            machine.commit(pulse.results, pulse.contributors)


@pytest.mark.parametrize(
    ("change", "suspect"), [(20, False), (3 * CHUNK_BYTES, False), (20, True), (CHUNK_BYTES, True)]
)
def test_over_a_transport(change: int, suspect: bool) -> None:
    network = MemoryNetwork(2)
    peers = [Peer(rank, network, Units([bytes([7]) * 5000] * 40)) for rank in range(2)]
    noise = np.random.default_rng(1).bytes(change)
    peers[1].machine.commit([noise], (1,))
    peers[0].ask(1, (1, peers[1].machine.state()), suspect)
    assert peers[0].book.asking
    for turn in range(12):
        for peer in peers:
            peer.turn(turn * 0.001)
    assert peers[0].machine.state() == peers[1].machine.state()
    assert not peers[0].book.asking
    unit = 5000 if suspect else 0  # units come whole
    assert change < peers[1].sent < change + unit + 1000
    assert peers[0].sent < 1000


def test_only_what_was_asked_for_is_taken() -> None:
    book = SyncBook(FetchBook(MemoryStore()), None)
    offer = SyncOffer(SyncForm.PULSES, 1, D, sha256(b""), 0)
    with pytest.raises(ProtocolError, match="rank 2 offered a state that nobody asked for"):
        book.offered(offer, 0, 2)
    book.ask(0, D, (1, D), suspect=True)
    for damaged in (offer, SyncOffer(SyncForm.UNITS, 1, D, sha256(b""), 0)):
        with pytest.raises(ProtocolError, match="rank 2 sent"):
            book.offered(damaged, 0, 2)
    assert book.asking


@pytest.mark.parametrize(
    ("claims", "size", "agreed"),
    [
        ({0: b"a", 1: b"a", 2: b"b"}, 3, b"a"),
        ({0: b"a", 2: b"b"}, 3, None),
        ({0: b"a", 1: b"a", 2: b"b"}, 4, None),
        ({0: b"a", 1: b"a", 2: b"a"}, 4, b"a"),
        ({}, 1, None),
    ],
)
def test_a_state_is_agreed_by_a_quorum(
    claims: dict[int, bytes], size: int, agreed: bytes | None
) -> None:
    assert agreed_state(claims, size) == agreed


def _problem(k: int) -> QuadraticProblem:
    rng = np.random.default_rng(4)
    a = rng.standard_normal((48, 48))
    return QuadraticProblem.create(a @ a.T + np.eye(48), rng.uniform(-3, 3, (k, 48)), 1.0)


def _run(search: Search, explorer: Explorer, history: History, pulses: int) -> list[bytes]:
    states = []
    for _ in range(pulses):
        pulse, tasks = search.plan()
        results = [explore(explorer, task) for task in tasks]
        search.commit(pulse, results)
        states.append(search.state_digest())
        history.note(MissedPulse(pulse, (0,) * len(tasks), tuple(results), states[-1]))
    return states


def test_a_search_is_synced_by_pulses_and_by_units_to_the_same_bits() -> None:
    problem = _problem(6)
    prepared = prepare(problem)
    explorer = Explorer(problem, prepared)
    options = SearchOptions(20_000, pulse_tasks=3)
    ahead, history = Search(problem, prepared, options), History()
    states = _run(ahead, explorer, history, 12)
    for a, b in pairwise(history.since(0, D) or ()):
        assert a.state != b.state
    for stopped_at in (0, 7, 11):
        behind = Search(problem, prepared, options)
        own = History()
        _run(behind, explorer, own, stopped_at)
        parts = SearchParts(behind)
        for suspect in (False, True):
            request = make_request(stopped_at, behind.state_digest(), parts, suspect)
            found = answer(request, history, SearchParts(ahead), 12, states[-1])
            assert found is not None
            if suspect:
                adopt_units(*found, parts, 1)
                assert parts.search.state_digest() == states[-1]
                assert parts.search.snapshot() == ahead.snapshot()
            else:
                for missed in open_pulses(*found, stopped_at, 1):
                    behind.plan()
                    behind.commit(missed.pulse, missed.results)
                assert behind.state_digest() == states[-1]
    with pytest.raises(ProtocolError, match="malformed sync"):
        adopt_units(*found, SearchParts(Search(_problem(5), prepared, options)), 1)
