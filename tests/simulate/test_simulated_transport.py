"""The simulated transport keeps the contract of every transport, whatever its conduct does."""

from __future__ import annotations

from random import Random

import pytest
from transport_contract import Part, check_transport

from morsr_mpi.adapters.simulated import (
    Conduct,
    Delivery,
    EvenConduct,
    EventQueue,
    SimulatedNetwork,
)


class Uneven:
    """Delays of every length; frames of a pair stay in order because MPI keeps it."""

    in_order = True

    def __init__(self, seed: int) -> None:
        self._draw = Random(seed)

    def frame(self, now: float, source: int, dest: int, frame: bytes) -> list[Delivery]:
        return [(self._draw.random(), frame)]

    def slot(self, now: float, number: int, source: int, dest: int, slot: bytes) -> Delivery:
        return (self._draw.random(), slot)


def drive(size: int, part: Part, conduct: Conduct) -> None:
    queue = EventQueue()
    network = SimulatedNetwork(size, queue, conduct)
    waiting = [part(network.transport(rank)) for rank in range(size)]
    while waiting:
        for generator in list(waiting):
            try:
                next(generator)
            except StopIteration:
                waiting.remove(generator)
        queue.step()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_contract_over_an_even_network(size: int) -> None:
    drive(size, check_transport, EvenConduct(1e-3, 1e-9))


@pytest.mark.parametrize("seed", range(3))
def test_contract_over_an_uneven_network(seed: int) -> None:
    drive(4, check_transport, Uneven(seed))


def test_events_happen_in_order_of_time_then_of_asking() -> None:
    queue, seen = EventQueue(), list[str]()
    queue.at(2.0, lambda: seen.append("c"))
    queue.at(1.0, lambda: seen.append("a"))
    queue.at(1.0, lambda: seen.append("b"))
    queue.at(1.5, lambda: queue.at(0.0, lambda: seen.append(f"late at {queue.now}")))
    while queue.step():
        pass
    assert seen == ["a", "b", "late at 1.5", "c"]


def test_a_clock_moves_when_it_is_read_or_charged() -> None:
    queue = EventQueue()
    clock = SimulatedNetwork(1, queue, EvenConduct(0.0)).transport(0).clock
    first = clock.now()
    clock.charge(0.25)
    clock.sleep(0.5)
    assert clock.now() - first == pytest.approx(0.75)
    assert clock.cpu() == 0.25
    queue.at(10.0, lambda: None)
    queue.step()
    assert clock.now() >= 10.0
