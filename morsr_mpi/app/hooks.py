"""What a loop tells the application, and what it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from morsr_mpi.app.histogram import Histogram
from morsr_mpi.node.effects import Contributed
from morsr_mpi.storage.store_messages import Send, StoreMessage

if TYPE_CHECKING:
    from morsr_mpi.app.accounting import Meter, Watcher
    from morsr_mpi.app.jobs import Jobs


class StoreHooks(Protocol):
    """The replicated store of this rank (`app.replicas`)."""

    def committed(self, taken: Sequence[tuple[bytes, int, bytes]]) -> None:
        """A pulse was committed: task id, rank whose result it is, result."""

    def heard(self, sender: int, said: StoreMessage) -> tuple[Send, ...]:
        """The store of another rank said something; returns the answers."""

    def tick(self, now: float) -> tuple[Send, ...]:
        """Time passed; returns what is to be said."""


def _never() -> str:
    return ""


@dataclass
class LoopStats:
    """What one rank did. Seconds; bytes of slots (padding included) and frames handed over.

    tasks, work: finished ones; known: tasks among them whose results were here; cancelled,
    wasted: given up, and the work units lost with that;
    cpu: seconds by category of `accounting.CATEGORIES`; busy: wall seconds with a task to
    compute; sent: bytes of frames and slots with content, by kind. task_seconds: from a task's
    begin to its result; round_seconds: of an exchange round. meter, jobs: of the loop, which
    count while it goes on.
    """

    tasks: int = 0
    known: int = 0
    cancelled: int = 0
    work: int = 0
    wasted: int = 0
    rounds: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    total_cpu: float = 0.0
    wall: float = 0.0
    busy: float = 0.0
    slot_bytes: int = 0
    frame_bytes: int = 0
    received_bytes: int = 0
    task_seconds: Histogram = field(default_factory=Histogram)
    round_seconds: Histogram = field(default_factory=Histogram)
    meter: Meter | None = None
    jobs: Jobs | None = None

    @property
    def explore_cpu(self) -> float:
        """CPU seconds in tasks."""
        return self.cpu.get("explore", 0.0)


@dataclass
class Hooks:
    """What the application wants to know, all called between events.

    on_commit: the search after each commit; on_progress: the search and the
    last pulse committed, at most every `config.PROGRESS_SECONDS`, and at the end;
    on_evidence: name and bytes of evidence against a rank;
    on_tasks: this rank's part in commits that were decided; stop_requested: a reason to stop, ""
    for none, asked every `config.STOP_POLL_SECONDS` (checkpoints are taken then, in the middle
    of pulses too); log: lines for an operator; replicas: the replicated store; stats: what the
    loop counts in; watcher: told what the loop turns to.
    """

    on_commit: Callable[[Any], None] | None = None
    on_progress: Callable[[Any, int], None] | None = None
    on_evidence: Callable[[str, bytes], None] | None = None
    on_tasks: Callable[[Contributed], None] | None = None
    stop_requested: Callable[[], str] = _never
    log: Callable[[str], None] | None = None
    replicas: StoreHooks | None = None
    stats: LoopStats = field(default_factory=LoopStats)
    watcher: Watcher | None = None
