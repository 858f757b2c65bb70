"""The nodes of one process: one, or several that share it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from morsr_mpi.app.admission import Admission
from morsr_mpi.app.settings import Settings
from morsr_mpi.base.ports import Signer, Store
from morsr_mpi.node.claims import Sound
from morsr_mpi.node.core import Node
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.provenance.chain import ChainPoint
from morsr_mpi.search.state import Search
from morsr_mpi.storage.memory_store import MemoryStore


def make_nodes(
    searches: Sequence[Search],
    settings: Settings,
    admission: Admission,
    own: tuple[Signer, Store],
    place: tuple[int, int],
    journal_at: ChainPoint,
    sound: Sound,
) -> list[Node]:
    """Return a node for each search.

    own: signer and store of the first; place: number of the first in its group, and the group's
    size; journal_at: where the journal stands; sound: whether a result may be one of a task.
    Ranks that share a process share its faults: they do not check each other.
    """
    checks = (settings.recheck, settings.redundancy) if len(searches) == 1 else (0.0, 1)
    options = settings.search_options()
    left = tuple((item.rank, item.reason) for item in admission.left)
    first, size = place
    nodes = []
    for i, search in enumerate(searches):
        signer, store = own if i == 0 else (admission.signer(), MemoryStore())
        node_settings = NodeSettings(
            rank=first + i,
            size=size,
            problem=search.problem.digest,
            options=options.digest(),
            lag=options.lag,
            free=options.free,
            dedicated=settings.coordinator == "dedicated",
            recheck=checks[0],
            redundancy=checks[1],
            secret=secrets.token_bytes(32),
            agreed=(options.work, left, *options.recorded()),
        )
        nodes.append(Node(node_settings, search, signer, store, journal_at, sound))
    return nodes
