"""Which ranks keep a result: rendezvous hashing over ranks, on different hosts first (paper 3.3).

When ranks come or go, only what they kept moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from morsr_mpi.base.digest import sha256

#: Replicas of a result, or as many as there are ranks.
REPLICATION = 3


def write_quorum(replicas: int) -> int:
    """Return how many of so many replicas must have stored what counts as written."""
    return replicas // 2 + 1


def ranking(key: bytes, ranks: Sequence[int]) -> list[int]:
    """Return the ranks by their score for a key, the highest first."""
    return sorted(ranks, key=lambda rank: (_score(key, rank), rank), reverse=True)


def replicas_of(key: bytes, hosts: Mapping[int, str], factor: int = REPLICATION) -> list[int]:
    """Return the ranks that keep a key, by falling score.

    hosts: the host of each living rank. As many different hosts as there are, then other ranks.
    """
    chosen: list[int] = []
    later: list[int] = []
    seen: set[str] = set()
    for rank in ranking(key, tuple(hosts)):
        if hosts[rank] in seen:
            later.append(rank)
        else:
            seen.add(hosts[rank])
            chosen.append(rank)
    return (chosen + later)[: min(factor, len(hosts))]


@lru_cache(maxsize=1 << 14)
def _score(key: bytes, rank: int) -> bytes:
    return sha256(b"morsr-replica" + key + rank.to_bytes(4, "big"))
