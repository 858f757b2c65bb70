"""Wrong results: found by recheck, by redundancy, by dispute; the right rank is convicted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import ToyExplorer, ToyRun, ToySearch, ToyTask, toy_result, toy_settings

from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.journal_file import MemoryJournal
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.app.loop import Hooks, NodeLoop
from morsr_mpi.base.digest import digest_of, sha256
from morsr_mpi.base.errors import ConvictedError, ExcludedError, InternalError
from morsr_mpi.node.claims import ClaimBook
from morsr_mpi.node.core import Node
from morsr_mpi.node.wrong_result import WrongResult
from morsr_mpi.provenance.chain import verify_chain
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.storage.memory_store import MemoryStore


class WrongRun(ToyRun):
    """Ends in other bytes than it should."""

    def __init__(self, task: ToyTask, bad: bytes) -> None:
        super().__init__(task)
        self._bad = bad

    def result(self) -> bytes:
        return self._bad


class WrongExplorer(ToyExplorer):
    """Computes wrongly from a pulse on: one bit, or something without form."""

    def __init__(self, since: int, malformed: bool = False) -> None:
        self.since, self.malformed, self.lies = since, malformed, 0

    def begin(self, task: ToyTask) -> Any:
        right = toy_result(task)
        if task.pulse < self.since or not right:
            return super().begin(task)
        self.lies += 1
        bad = b"" if self.malformed else bytes([right[0] ^ 1]) + right[1:]
        return WrongRun(task, bad)


class TrustingSearch(ToySearch):
    """Commits whatever it gets, as a search does that cannot know better."""

    def commit(self, pulse: int, results: Any) -> None:
        number, _ = self.flight.pop(0)
        assert number == pulse
        self.state = sha256(self.state + b"".join(map(sha256, results)))
        self.committed += 1


def toys_are_sound(task: Any, result: bytes) -> bool:
    return len(result) == task.size


class Ends:
    """How each rank ended: "done", or who was convicted, or an error."""

    def __init__(self, size: int) -> None:
        self.how: list[Any] = [None] * size
        self.evidence: list[dict[str, bytes]] = [{} for _ in range(size)]
        self.loops: list[NodeLoop] = []
        self.journals = [MemoryJournal() for _ in range(size)]


def run(size: int, explorers: dict[int, Any], *, pulses: int = 12, **options: Any) -> Ends:
    """A run of toys, rank by rank, until all have ended."""
    clock, network, authority = ManualClock(1e-5), MemoryNetwork(size), TwinAuthority()
    ends = Ends(size)
    lag = options.get("lag", 0)
    for rank in range(size):
        chosen = toy_settings(rank, size, secret=bytes([rank]) * 32, **options)
        search = TrustingSearch(pulses, sizes=(3, 40, 9000), lag=lag)
        # A liar does not look at what it says.
        sound = None if isinstance(explorers.get(rank), WrongExplorer) else toys_are_sound
        node = Node(chosen, search, authority.signer(rank), MemoryStore(), sound=sound)
        hooks = Hooks(on_evidence=ends.evidence[rank].__setitem__)
        explorer = explorers.get(rank, ToyExplorer())
        transport = network.transport(rank)
        ends.loops.append(NodeLoop(node, transport, clock, explorer, ends.journals[rank], hooks))
    # What becomes of a liar is up to whoever regroups the ranks.
    honest = [r for r in range(size) if not isinstance(explorers.get(r), WrongExplorer)]
    while any(ends.how[rank] is None for rank in honest):
        busy = False
        for rank, loop in enumerate(ends.loops):
            if ends.how[rank] is not None:
                continue
            try:
                busy = loop.turn() or busy
            except (ConvictedError, ExcludedError, InternalError) as error:
                ends.how[rank] = error
            if loop.finished:
                ends.how[rank] = "done"
        clock.sleep(0.001 if busy else 0.005)
        assert clock.now() < 300.0, f"no end: {ends.how}"
    return ends


def alone(pulses: int, lag: int = 0) -> bytes:
    search = TrustingSearch(pulses, sizes=(3, 40, 9000), lag=lag)
    while not search.finished:
        while len(search.flight) <= lag and search.plan()[1]:
            pass
        number, tasks = search.flight[0]
        search.commit(number, [toy_result(task) for task in tasks])
    return search.state_digest()


def check_convicted(ends: Ends, liar: int) -> None:
    """All honest ranks convicted the liar and nobody else, with evidence."""
    for rank, how in enumerate(ends.how):
        if rank != liar:
            assert isinstance(how, ConvictedError), how
            assert how.ranks == (liar,)
            (name,) = ends.evidence[rank]
            assert name.startswith(f"wrong-result-{liar}-")


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (1, {"recheck": 1.0}),
        (2, {"recheck": 1.0}),
        (3, {"recheck": 1.0}),
        (4, {"recheck": 1.0, "lag": 2}),
        (4, {"redundancy": 2}),
        (5, {"recheck": 0.5, "redundancy": 3}),
        (7, {"redundancy": 3, "lag": 1}),
    ],
)
def test_honest_ranks_end_as_ever(size: int, options: dict[str, Any]) -> None:
    ends = run(size, {}, **options)
    assert ends.how == ["done"] * size
    state = alone(12, options.get("lag", 0))
    assert {loop.node.search.state_digest() for loop in ends.loops} == {state}
    assert len({verify_chain(journal.records()).point for journal in ends.journals}) == 1
    assert not any(ends.evidence)
    checked = [loop.node.claims.checked for loop in ends.loops]
    tasks = sum(ends.loops[0].node.tasks_by_rank)
    if size > 2 and options.get("recheck") == 1.0:
        assert sum(checked) == tasks * (size - 1)
    elif size > 2 and "recheck" not in options:
        assert sum(checked) == tasks * (options["redundancy"] - 1)
    elif size <= 2:
        assert sum(checked) == 0


@pytest.mark.parametrize("malformed", [False, True])
@pytest.mark.parametrize(
    ("size", "liar", "options"),
    [
        (3, 1, {"recheck": 1.0}),
        (4, 0, {"recheck": 1.0}),
        (4, 3, {"recheck": 1.0, "lag": 2}),
        (4, 2, {"redundancy": 2}),
        (7, 5, {"redundancy": 3}),
    ],
)
def test_a_rank_that_computes_wrongly_is_convicted(
    size: int, liar: int, options: dict[str, Any], malformed: bool
) -> None:
    ends = run(size, {liar: WrongExplorer(4, malformed)}, **options)
    check_convicted(ends, liar)


def test_two_liars_of_seven_are_convicted_one_after_the_other() -> None:
    ends = run(7, {1: WrongExplorer(3), 4: WrongExplorer(5)}, recheck=1.0)
    (first,) = {how.ranks for rank, how in enumerate(ends.how) if rank not in (1, 4)}
    assert first in ((1,), (4,))


def test_a_checker_that_computes_wrongly_convicts_nobody() -> None:
    class Slanderer(ToyExplorer):
        """Right when ordered, wrong when it checks."""

        def begin(self, task: ToyTask) -> Any:
            return ToyRun(task)

        @property
        def anew(self) -> Any:
            return WrongExplorer(0)

    ends = run(4, {2: Slanderer()}, recheck=1.0)
    assert [how for rank, how in enumerate(ends.how) if rank != 2] == ["done"] * 3
    state = alone(12)
    assert {loop.node.search.state_digest() for loop in ends.loops} == {state}
    assert all(name.split("-")[2] != "2" for name in ends.evidence[2])
    for rank in (0, 1, 3):
        assert not ends.evidence[rank]


def test_without_signatures_nobody_can_be_convicted_and_the_run_ends() -> None:
    book = ClaimBook(toy_settings(0, 4, recheck=1.0), signed=False)
    assert not book.able
    assert not ClaimBook(toy_settings(0, 2, recheck=1.0), signed=True).able


@given(
    recheck=st.floats(0.01, 1.0),
    size=st.integers(3, 9),
    seed=st.integers(0, 1000),
)
@settings(max_examples=20, deadline=None)
def test_somebody_rechecks_a_claim_with_the_stated_probability(
    recheck: float, size: int, seed: int
) -> None:
    books = [
        ClaimBook(toy_settings(rank, size, recheck=recheck, secret=bytes([rank]) * 32), True)
        for rank in range(1, size)
    ]
    claims = [digest_of("claim", seed, i) for i in range(300)]
    found = sum(any(book.draws(claim, claim) for book in books) for claim in claims)
    # 300 independent draws: five standard deviations.
    assert abs(found - 300 * recheck) <= 5 * (300 * recheck * (1 - recheck)) ** 0.5 + 1e-9


@given(
    redundancy=st.integers(1, 9), size=st.integers(3, 9), task=st.binary(min_size=32, max_size=32),
    giver=st.integers(0, 8),
)  # fmt: skip
def test_redundancy_is_the_number_of_ranks_that_compute_a_task(
    redundancy: int, size: int, task: bytes, giver: int
) -> None:
    giver %= size
    books = [
        ClaimBook(toy_settings(rank, size, redundancy=redundancy), True) for rank in range(size)
    ]
    sharing = [rank for rank, book in enumerate(books) if book.shares(task, giver)]
    assert giver not in sharing
    assert len(sharing) == min(redundancy, size) - 1


@given(st.binary(max_size=200))
def test_evidence_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        WrongResult.decode(data)
    with pytest.raises(ValueError, match=r"."):
        WrongResult(data, 0, 0).claim(b"run", [b"key"], TwinAuthority().signer(0))
