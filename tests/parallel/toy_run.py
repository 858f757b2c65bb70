"""Runs a toy search over MPI and prints one line of JSON per rank; started by the tests.

Usage: mpirun -n N python toy_run.py '{"pulses": 20, ...}'. Keys: the fields of ToySearch,
and dedicated, security, journal (path), stop_after (pulse), fault, liars (rank to kind).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lying import lying
from toys import ToyExplorer, ToySearch, ToyTask, toy_settings

from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.journal_file import FileJournal
from morsr_mpi.adapters.mpi import (
    MpiTransport,
    abort_on_exception,
    end_process,
    fault_tolerance_enabled,
)
from morsr_mpi.app.loop import Hooks, run_node
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import EXIT_STOPPED, MorsrError
from morsr_mpi.node.core import Node
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.unsigned import UnsignedSigner
from morsr_mpi.storage.memory_store import MemoryStore


class FaultyExplorer(ToyExplorer):
    """Raises an ordinary exception in the middle of a run."""

    def begin(self, task: ToyTask) -> Any:
        if task.pulse == 3:
            raise ValueError("a bug\nin the engine")
        return super().begin(task)


def main() -> int:
    options = json.loads(sys.argv[1])
    abort_on_exception()
    fault = options.pop("fault", "")
    stop_after = options.pop("stop_after", None)
    journal_path = options.pop("journal", None)
    liars: dict[str, str] = options.pop("liars", {})
    transport = MpiTransport()
    rank, size = transport.rank, transport.size
    changes: dict[str, Any] = {"dedicated": options.pop("dedicated", False)}
    last = rank == size - 1
    if fault == "problem" and last:
        changes["problem"] = sha256(b"another")
    signed = options.pop("security", "sign") == "sign"
    signer = Ed25519Signer(os.urandom(32)) if signed else UnsignedSigner()
    search = ToySearch(**options, name="other" if fault == "state" and last else "toy")
    settings = toy_settings(rank, size, lag=search.lag, **changes)
    kind = lying(liars[str(rank)]) if str(rank) in liars else Node
    node = kind(settings, search, signer, MemoryStore())
    journal = FileJournal(Path(journal_path)) if journal_path and rank == 0 else None
    asked = last and stop_after is not None
    evidence: list[str] = []
    hooks = Hooks(
        on_evidence=lambda name, data: evidence.append(name),
        stop_requested=lambda: "test" if asked and search.committed > stop_after else "",
    )
    explorer = FaultyExplorer() if fault == "exception" and last else ToyExplorer()
    started = time.perf_counter()
    try:
        out = run_node(node, transport, SystemClock(), explorer, journal, hooks)
    except MorsrError as error:
        return end_process(error, rank)
    if journal is not None:
        journal.close()
    line = {
        "rank": rank,
        "size": size,
        "state": search.state_digest().hex(),
        "committed": search.committed,
        "head": node.chain.point.head.hex(),
        "stopped": out.stopped,
        "evidence": evidence,
        "view": node._votes.view,
        "tasks": node.tasks_by_rank,
        "executed": out.stats.tasks,
        "seconds": time.perf_counter() - started,
        "cpu": out.stats.total_cpu,
        "rounds": out.stats.rounds,
        "ft": fault_tolerance_enabled(os.environ),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    return EXIT_STOPPED if out.stopped else 0


if __name__ == "__main__":
    sys.exit(main())
