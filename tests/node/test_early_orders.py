"""Orders that come before their pulse is planned here."""

from __future__ import annotations

from toys import ToySearch, toy_settings

from morsr_mpi.base.digest import sha256
from morsr_mpi.node.claims import ClaimBook
from morsr_mpi.node.fetch import FetchBook
from morsr_mpi.node.orders import ChamberScheduler
from morsr_mpi.node.pulses import PlansDifferError, PulseBook
from morsr_mpi.node.work import PulseWork
from morsr_mpi.storage.memory_store import MemoryStore
from morsr_mpi.wire.messages import Order


def test_an_order_that_comes_before_its_pulse_is_planned_may_differ_too() -> None:
    """Where a vote settles differences it is noted, as one that comes later is; nothing ends."""
    settings = toy_settings(1, 4, secret=bytes(32), recheck=1.0)
    refused: list[tuple[int, Exception]] = []
    pulses = PulseBook(ToySearch(3, awkward=False), 0)
    claims = ClaimBook(settings, True, None, 0.0)
    scheduler = ChamberScheduler([1] * 4, 0, 0.0)
    work = PulseWork(
        settings,
        pulses,
        scheduler,
        lambda sender, error: refused.append((sender, error)),
        FetchBook(MemoryStore()),
        claims,
    )
    work.take(0, Order(0, 0, sha256(b"other tasks"), 2, 0, (0, 1), ""))
    assert not refused
    work.plan()
    ((sender, error),) = refused
    assert sender == 0
    assert isinstance(error, PlansDifferError)
