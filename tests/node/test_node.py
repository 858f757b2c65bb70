"""Nodes over the in-memory transport: one state, one journal, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import ToyExplorer, ToySearch, ToyTask, toy_settings

from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.journal_file import MemoryJournal
from morsr_mpi.adapters.memory import MemoryNetwork, Tamper
from morsr_mpi.app.loop import Hooks, Outcome, run_in_process
from morsr_mpi.base.config import MAX_PULSE_SKEW, SLOT_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, StateDiffersError, UsageError
from morsr_mpi.node.core import Node
from morsr_mpi.provenance.chain import ChainPoint, VerifiedChain, verify_chain
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.security.unsigned import UnsignedSigner
from morsr_mpi.storage.memory_store import MemoryStore
from morsr_mpi.wire.messages import Order


def run(
    size: int,
    search: Callable[[int], ToySearch],
    *,
    signer: str = "twin",
    tamper: Tamper | None = None,
    hooks: Sequence[Hooks | None] | None = None,
    journals: list[MemoryJournal] | None = None,
    explorers: Sequence[Any] | None = None,
    changes: Callable[[int], dict[str, Any]] = lambda rank: {},
    step: float = 1e-5,
    **common: Any,
) -> tuple[list[Outcome], list[MemoryJournal]]:
    """Run `size` nodes to the end; returns their outcomes and journals."""
    authority = TwinAuthority()
    signers = {
        "twin": authority.signer,
        "ed25519": lambda rank: Ed25519Signer(bytes([rank + 1]) * 32),
        "off": lambda rank: UnsignedSigner(),
    }
    at = ChainPoint()
    if journals is None:
        journals = [MemoryJournal() for _ in range(size)]
    else:
        at = verify_chain(journals[0].records()).point
    nodes = []
    for rank in range(size):
        own = search(rank)
        chosen = toy_settings(rank, size, lag=own.lag, **common, **changes(rank))
        signs = signers[signer](rank)
        nodes.append(Node(chosen, own, signs, MemoryStore(), at))  # type: ignore[arg-type]
    outcomes = run_in_process(
        nodes,
        explorers or [ToyExplorer()] * size,
        journals,
        hooks,
        MemoryNetwork(size, tamper),
        ManualClock(step),
    )
    return outcomes, journals


def verdict(outcomes: list[Outcome], journals: list[MemoryJournal]) -> VerifiedChain:
    """All ranks must agree; returns the journal."""
    assert len({out.search.state_digest() for out in outcomes}) == 1
    chains = [verify_chain(journal.records()) for journal in journals]
    assert len({chain.point for chain in chains}) == 1
    assert all(out.node.chain.point == chains[0].point for out in outcomes)
    return chains[0]


@given(
    size=st.integers(1, 7),
    pulses=st.integers(0, 8),
    width=st.integers(1, 20),
    lag=st.integers(0, 3),
    dedicated=st.booleans(),
    sizes=st.sampled_from([(0, 1, 40, 700, 3000, 9000, 100_000), (0,), (600,), (8000,)]),
    capacities=st.lists(st.integers(1, 9), min_size=7, max_size=7),
)
@settings(max_examples=100)
def test_same_outcome_for_any_ranks_and_assignment(
    size: int,
    pulses: int,
    width: int,
    lag: int,
    dedicated: bool,
    sizes: tuple[int, ...],
    capacities: list[int],
) -> None:
    def search(rank: int) -> ToySearch:
        return ToySearch(pulses, width, sizes, lag=lag)

    alone, one = run(1, search)
    many, journals = run(
        size, search, dedicated=dedicated, changes=lambda rank: {"capacity": capacities[rank]}
    )
    chain, reference = verdict(many, journals), verdict(alone, one)
    assert many[0].search.state_digest() == alone[0].search.state_digest()
    assert [p.outcome for p in chain.pulses()] == [p.outcome for p in reference.pulses()]
    assert sum(many[0].node.tasks_by_rank) == alone[0].stats.tasks
    for rank, out in enumerate(many):
        assert out.node.tasks_by_rank == many[0].node.tasks_by_rank
        assert out.stats.tasks >= many[0].node.tasks_by_rank[rank]
    if dedicated and size > 1:
        assert many[0].stats.tasks == 0
    assert not any(out.node.refused for out in many)


@pytest.mark.parametrize("signer", ["ed25519", "off"])
def test_real_signatures_and_none(signer: str) -> None:
    outcomes, journals = run(3, lambda rank: ToySearch(5), signer=signer)
    chain = verdict(outcomes, journals)
    keys = outcomes[0].node.public_keys
    assert len(set(keys)) == (3 if signer == "ed25519" else 1)
    assert len(outcomes[0].node.fingerprint) == 12
    assert chain.records[0].kind == "genesis"


def test_seal_ends_the_journal() -> None:
    outcomes, journals = run(2, lambda rank: ToySearch(3), signer="ed25519")
    node = outcomes[0].node
    journals[0].append(node.seal([("result.h5", 5, sha256(b"r")), ("a", 0, sha256(b""))]))
    chain = verify_chain(journals[0].records())
    assert chain.sealed
    seal: Any = chain.bodies[-1]
    assert [path for path, _, _ in seal.files] == ["a", "result.h5"]
    (rank, signature) = seal.signatures[0]
    previous = chain.records[-1].previous
    assert Ed25519Signer(bytes(32)).verify(
        node.public_keys[rank], seal.signed_bytes(previous), signature
    )


@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("asker", [0, 2])
def test_stop_and_resume_give_the_undisturbed_outcome(lag: int, asker: int) -> None:
    whole, one = run(1, lambda rank: ToySearch(12, lag=lag))
    searches = [ToySearch(12, lag=lag) for _ in range(3)]

    def reason() -> str:
        return "wall time" if searches[asker].committed >= 4 else ""

    hooks = [Hooks(stop_requested=reason) if r == asker else None for r in range(3)]
    slow = [_Slow()] * 3  # so that the request is seen in mid-run
    stopped, journals = run(3, lambda r: searches[r], hooks=hooks, explorers=slow)
    chain = verdict(stopped, journals)
    assert {out.stopped for out in stopped} == {"wall time"}
    at = stopped[0].search.committed
    assert 4 <= at < 12
    assert chain.records[-1].kind == "stop"
    resumed, journals = run(
        2, lambda r: searches[r].copy(), journals=[journals[0], MemoryJournal()]
    )
    assert resumed[0].search.state_digest() == whole[0].search.state_digest()
    found = verify_chain(journals[0].records())
    assert found.point == resumed[1].node.chain.point
    assert [p.outcome for p in found.pulses()] == [
        p.outcome for p in verify_chain(one[0].records()).pulses()
    ]
    assert resumed[0].node.fingerprint == stopped[0].node.fingerprint


class _Slow(ToyExplorer):
    """Makes every task last longer than a slice of the manual clock."""

    def begin(self, task: ToyTask) -> Any:
        run = super().begin(task)
        calls = iter(range(10**9))
        step = run.step
        run.step = lambda units: next(calls) > 2000 and step(units)  # type: ignore[method-assign]
        return run


def test_hooks_see_the_state_right_after_each_commit() -> None:
    seen: list[tuple[int, int]] = []
    reported: list[int] = []
    hook = Hooks(
        on_commit=lambda search: seen.append((search.committed, len(search.flight))),
        on_progress=lambda search, pulse: reported.append(pulse),
    )
    run(2, lambda rank: ToySearch(6), hooks=[hook, None])
    assert seen == [(n, 0) for n in range(1, 7)]
    assert reported[-1] == 5


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("problem", sha256(b"x"), "problem of rank 2"),
        ("options", sha256(b"x"), "options of rank 2"),
        ("software", "9.9", "software version of rank 2"),
        ("algorithm", 99, "algorithm version of rank 2"),
        ("agreed", (5,), "settings of rank 2"),
        ("dedicated", True, "settings of rank 2"),
    ],
)
def test_ranks_started_differently_are_named(field: str, value: object, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        run(4, lambda r: ToySearch(2), changes=lambda r: {field: value} if r == 2 else {})
    assert getattr(caught.value, "everywhere", False)
    assert "\n" not in str(caught.value)


def test_different_initial_states_are_named() -> None:
    with pytest.raises(InternalError, match="initial state of rank 1"):
        run(3, lambda r: ToySearch(2, name="b" if r == 1 else "a"))


def test_a_rank_that_plans_differently_is_named() -> None:
    class Strange(ToySearch):
        def plan(self) -> Any:
            number, tasks = super().plan()
            return number, tasks[:-1] if number == 1 else tasks

    with pytest.raises(InternalError, match=r"pulse 1: .*rank 0, ordered .* this rank planned"):
        # Seconds pass before it is certain: each look at the clock counts as a millisecond.
        run(
            3,
            lambda r: Strange(3, awkward=False) if r == 1 else ToySearch(3, awkward=False),
            step=1e-3,
        )


def test_a_rank_whose_state_drifts_is_named() -> None:
    class Drifting(ToySearch):
        def state_digest(self) -> bytes:
            return sha256(b"drift") if self.committed == 2 else super().state_digest()

    with pytest.raises(StateDiffersError, match="the other ranks agreed on an"):
        run(3, lambda r: Drifting(9) if r == 2 else ToySearch(9))


def test_damaged_slots_and_frames_are_asked_for_again() -> None:
    damaged: list[int] = []

    def tamper(number: int, sender: int, receiver: int, data: bytes) -> bytes:
        hit = (number, sender, receiver)
        if number > 0 and hit in {(2, 1, 0), (3, 0, 2), (4, 2, 1), (5, 1, 1)}:
            damaged.append(number)
            return bytes([*data[:40], data[40] ^ 4, *data[41:]])
        return data

    outcomes, journals = run(3, lambda r: ToySearch(8), tamper=tamper)
    verdict(outcomes, journals)
    assert len(damaged) == 4
    assert [out.node.refused for out in outcomes] == [{1: 1}, {2: 1}, {0: 1}]


def test_a_fetched_result_that_is_damaged_is_asked_for_again() -> None:
    hits: list[int] = []

    def tamper(number: int, sender: int, receiver: int, data: bytes) -> bytes:
        if len(data) > 2 * SLOT_BYTES and len(hits) < 3:
            hits.append(number)
            return data[:5000] + b"?" + data[5001:]
        return data

    outcomes, journals = run(2, lambda r: ToySearch(4, sizes=(100_000,)), tamper=tamper, step=0.001)
    verdict(outcomes, journals)
    assert len(hits) == 3
    assert sum(sum(out.node.refused.values()) for out in outcomes) == 3


def test_a_slot_that_never_arrives_ends_the_run() -> None:
    met: set[int] = set()

    def tamper(number: int, sender: int, receiver: int, data: bytes) -> bytes:
        first = len(data) == SLOT_BYTES and receiver not in met and sender == 1
        if first:
            met.add(receiver)  # the round in which the ranks meet is left alone
        return data if first or (sender, receiver) != (1, 0) else b"?" * len(data)

    with pytest.raises(InternalError, match="slot of rank 1 in round"):
        run(2, lambda r: ToySearch(5), tamper=tamper, step=0.01)


def test_a_lie_about_identity_is_refused() -> None:
    swapped: list[int] = []

    def tamper(number: int, sender: int, receiver: int, data: bytes) -> bytes:
        if number == 2 and receiver == 0 and sender == 1:
            swapped.append(1)
            return kept["slot"]
        if number == 2 and receiver == 0 and sender == 0:
            kept["slot"] = data
        return data

    kept: dict[str, bytes] = {}
    outcomes, journals = run(2, lambda r: ToySearch(6, sizes=(0, 9)), tamper=tamper)
    verdict(outcomes, journals)
    assert swapped
    assert outcomes[0].node.refused == {1: 1}


def test_a_result_too_many_ranks_ahead_is_bounded() -> None:
    # A rank without any task must not let the others run away from it.
    ahead: list[int] = []
    searches = [ToySearch(60, sizes=(30_000,), width=2) for _ in range(3)]

    def watch(search: Any) -> None:
        ahead.append(search.committed - min(s.committed for s in searches))

    held: list[bytes] = []

    def tamper(number: int, sender: int, receiver: int, data: bytes) -> bytes:
        big = len(data) > 2 * SLOT_BYTES and receiver == 2
        if big and len(held) < 4:
            held.append(data)
            return b"lost"
        return data

    outcomes, journals = run(
        3,
        lambda r: searches[r],
        changes=lambda r: {"capacity": 0 if r == 2 else 5},
        hooks=[Hooks(on_commit=watch)] * 3,
        tamper=tamper,
        step=0.001,
    )
    verdict(outcomes, journals)
    assert outcomes[2].stats.tasks == 0
    assert 0 < max(ahead) <= MAX_PULSE_SKEW + 1


@pytest.mark.parametrize("lag", [0, 1])
def test_orders_that_differ_from_every_prediction_are_obeyed(
    monkeypatch: pytest.MonkeyPatch, lag: int
) -> None:
    from morsr_mpi.node import orders

    calls = iter(range(10**6))
    honest = orders.assign

    def rotated(
        ids: list[bytes], weights: list[float], capacities: list[float], backlog: object
    ) -> list[int]:
        shift = next(calls)
        return [(r + shift) % len(capacities) for r in honest(ids, weights, capacities)]

    alone, _ = run(1, lambda r: ToySearch(10, lag=lag))
    monkeypatch.setattr(orders, "assign", rotated)
    many, journals = run(4, lambda r: ToySearch(10, lag=lag))
    verdict(many, journals)
    assert many[0].search.state_digest() == alone[0].search.state_digest()
    assert sum(many[0].node.tasks_by_rank) == alone[0].stats.tasks
    assert sum(out.stats.tasks for out in many) >= alone[0].stats.tasks


@pytest.mark.parametrize("view", [0, 2])
def test_orders_of_a_rank_that_does_not_coordinate_are_refused(view: int) -> None:
    authority = TwinAuthority()
    nodes = [
        Node(toy_settings(r, 2), ToySearch(4, sizes=(3,)), authority.signer(r), MemoryStore())
        for r in range(2)
    ]
    said: list[int] = []

    def usurp(search: Any) -> None:
        if not said:
            said.append(1)
            task = sha256(b"task")
            nodes[1]._channel.say(Order(view, search.committed, task, 1, 0, (1,)))

    outcomes = run_in_process(
        nodes, [ToyExplorer()] * 2, hooks=[None, Hooks(on_commit=usurp)], clock=ManualClock(1e-4)
    )
    assert outcomes[0].search.state_digest() == outcomes[1].search.state_digest()
    assert nodes[0].refused == {1: 1}
