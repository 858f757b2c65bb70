"""The crew: how long it waits for others after an alarm that was false."""

from __future__ import annotations

import threading
import time

from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.memory_links import MemoryWorld
from morsr_mpi.app.crew import Crew
from morsr_mpi.base.config import ROUND_DEADLINE_SECONDS
from morsr_mpi.node.regroup import SEARCH
from morsr_mpi.security.unsigned import UnsignedSigner


def regroup(crews: list[Crew]) -> list[threading.Thread]:
    threads = [threading.Thread(target=crew.regroup, args=(0,), daemon=True) for crew in crews]
    for thread in threads:
        thread.start()
    return threads


def finish(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(60.0)
        assert not thread.is_alive()


def test_a_rank_that_comes_back_makes_the_others_wait_twice_as_long() -> None:
    world = MemoryWorld(3)
    crews = [Crew(world.links(rank), SystemClock(), UnsignedSigner()) for rank in range(3)]
    for crew in crews:
        crew.phase = SEARCH
    finish(regroup(crews[:2]))
    for queue in world.queues:
        queue.clear()
    alarmed = [crew.patience.allowed(ROUND_DEADLINE_SECONDS) for crew in crews[:2]]
    assert [set(crew.group.absent) for crew in crews[:2]] == [{2}, {2}]

    back = regroup(crews[2:])
    while not (world.queues[0] and world.queues[1]):
        time.sleep(0.01)
    finish([*regroup(crews[:2]), *back])
    assert [set(crew.group.members) for crew in crews] == [{0, 1, 2}] * 3
    for crew, before in zip(crews, alarmed, strict=False):
        assert crew.patience.allowed(ROUND_DEADLINE_SECONDS) >= 2.0 * before
