"""Which caches keep a result: rendezvous hashing, on different hosts first (paper section 3.3).

Places are told apart by the names of their caches, which outlive the ranks of a job: a restart on
other ranks of the same nodes looks where the last job has written. Keys are placed in groups, so
that a rank asks a table and hashes nothing where it sees every result. When places come or go,
only what they kept moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from morsr_mpi.base.config import PLACEMENT_GROUPS
from morsr_mpi.base.digest import sha256

#: Replicas of a result, or as many as there are caches.
REPLICATION = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rank keeps results. host: a name of its node; cache: a name of the cache itself,
    the same for ranks that share it: copies in one cache are one copy."""

    host: str
    cache: bytes


def write_quorum(replicas: int) -> int:
    """Return how many of so many replicas must have stored what counts as written."""
    return replicas // 2 + 1


def group_of(key: bytes) -> int:
    """Return the placement group of a key: keys are digests, so their first bytes are even."""
    return int.from_bytes(key[:2], "big") % PLACEMENT_GROUPS


def ranking(group: int, places: Mapping[int, Place]) -> list[int]:
    """Return the ranks by the score of their caches for a group, the highest first."""
    return sorted(places, key=lambda rank: (_score(group, places[rank].cache), -rank), reverse=True)


def replicas_of(
    group: int, places: Mapping[int, Place], factor: int = REPLICATION
) -> tuple[int, ...]:
    """Return the ranks that keep the keys of a group, by falling score.

    places: of each living rank. As many different hosts as there are, then other caches.
    """
    chosen: list[int] = []
    later: list[int] = []
    hosts: set[str] = set()
    caches: set[bytes] = set()
    for rank in ranking(group, places):
        place = places[rank]
        if place.cache in caches:
            continue
        caches.add(place.cache)
        (later if place.host in hosts else chosen).append(rank)
        hosts.add(place.host)
    return tuple((chosen + later)[:factor])


@lru_cache(maxsize=1 << 16)
def _score(group: int, cache: bytes) -> bytes:
    return sha256(b"morsr-replica" + group.to_bytes(2, "big") + cache)
