"""Small models, every order: all interleavings of messages, wake-ups and one death.

States that look alike from outside and inside are visited once. The invariants are those of
the cluster (`agreeing.py`), checked at every step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
from agreeing import Cluster, step

from morsr_mpi.consensus.messages import encode_message

A, B = step("a"), step("b")
Move = Callable[[Cluster], None]


def _moves(cluster: Cluster, wakes: int, deaths: int) -> Iterator[tuple[Move, int, int]]:
    for source, dest in cluster.waiting():
        yield (lambda c, s=source, d=dest: c.deliver(s, d)), wakes, deaths  # type: ignore[misc]
    if wakes:
        for rank in sorted(cluster.timers):
            yield (lambda c, r=rank: c.time_out(r)), wakes - 1, deaths  # type: ignore[misc]
    if deaths:
        for rank in sorted(cluster.cores):
            yield (lambda c, r=rank: c.kill(r)), wakes, deaths - 1  # type: ignore[misc]


def _shape(cluster: Cluster) -> object:
    """What tells two states apart."""
    cores = []
    for rank, core in sorted(cluster.cores.items()):
        state = core._state
        tallied = sorted(
            vote.fields() for answers in state.tally._answers.values() for vote in answers.values()
        )
        cores.append(
            (
                rank in cluster.dead, state.height, state.ballot, state.asking, str(state.round),
                state.base, tuple(tallied), len(cluster.decided[rank]), rank in cluster.timers,
                tuple(state.changes.voters(0)), str(sorted(state.early._kept)),
            )
        )  # fmt: skip
    queues = tuple(
        (pair, tuple(map(encode_message, queue)))
        for pair, queue in sorted(cluster.queues.items())
        if queue
    )
    return (tuple(cores), queues)


@pytest.mark.parametrize(
    ("size", "liars", "wakes", "deaths", "most"),
    [
        (2, (), 2, 0, None),
        (2, (), 1, 1, None),
        (3, (), 0, 0, None),
        pytest.param(4, (0,), 0, 0, 20_000, marks=pytest.mark.long),
    ],
)
def test_every_order(
    size: int, liars: tuple[int, ...], wakes: int, deaths: int, most: int | None
) -> None:
    """most: states looked at where there are too many for all, depth first."""
    cluster = Cluster(size, liars=frozenset(liars))
    for liar in liars:  # as primary it tells one rank A and the others B, and votes for both
        honest = sorted(cluster.cores)
        cluster.lie(liar, A, honest[:2])
        cluster.lie(liar, B, honest[2:])
    cluster.propose(A)
    seen = {_shape(cluster)}
    stack = [(cluster, wakes, deaths)]
    ends = 0
    while stack and (most is None or len(seen) < most):
        cluster, wakes, deaths = stack.pop()
        moves = list(_moves(cluster, wakes, deaths))
        ends += not cluster.waiting()
        for move, wakes_left, deaths_left in moves:
            after = copy.deepcopy(cluster)
            move(after)
            shape = (_shape(after), wakes_left, deaths_left)
            if shape not in seen:
                seen.add(shape)
                stack.append((after, wakes_left, deaths_left))
    assert ends
    assert stack == [] or most is not None
    assert len(seen) > 50
