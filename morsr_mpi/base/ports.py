"""Ports: what the pure layers need of the world, and of the search they carry.

Each of Transport, Clock, Store, Signer and Journal has an in-memory twin and a real one,
held to the same contract tests. The other Protocols describe, by structure alone, what a
node and its loop use of the engine, so that neither imports the other (DESIGN section 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Transport(Protocol):
    """Moves bytes between the ranks of one run; keeps no promise about their content."""

    @property
    def rank(self) -> int:
        """This rank, 0 <= rank < size."""

    @property
    def size(self) -> int:
        """Number of ranks."""

    def start_round(self, slot: bytes) -> None:
        """Enter the next exchange round with this rank's slot of `config.SLOT_BYTES` bytes.

        Does not block. Raises InternalError for a slot of another length or while a round
        of this rank is under way.
        """

    def poll_round(self) -> list[bytes] | None:
        """Return the slots of all ranks in rank order once the round is complete, else None.

        Does not block; None also when no round is under way.
        """

    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Send one frame of at most `config.MAX_FRAME_BYTES` to another rank; does not block.

        Frames from one rank to one other arrive in the order sent, urgent ones (votes,
        requests) ahead of others that are still on their way. Raises InternalError when more
        than `config.MAX_UNSENT_BYTES` wait, or for a rank that does not exist.
        """

    @property
    def unsent_bytes(self) -> int:
        """Bytes of frames that wait and are not with the network yet."""

    def poll(self) -> list[tuple[int, bytes]]:
        """Return frames that arrived, as (source, frame); does not block.

        At most `config.MAX_FRAMES_PER_POLL` of them; the rest come with the next call.
        """

    @property
    def under_way(self) -> bool:
        """Whether frames to or from this rank are under way: a bad time to sleep long."""

    def leave(self) -> bool:
        """Say that this rank needs nothing more; True once every rank has said so.

        Does not block. Frames still come and go until then, so a rank can help those behind.
        """

    def close(self) -> None:
        """Give up what is not delivered and let go; no call may follow."""


class Links(Protocol):
    """Bytes between any two ranks of a job, living or not, and reports of who has died.

    What is left of a job regroups over it; it never breaks as a whole.
    """

    @property
    def rank(self) -> int:
        """This rank of the job, 0 <= rank < size."""

    @property
    def size(self) -> int:
        """Ranks the job was started with."""

    def failed(self) -> frozenset[int]:
        """Return the ranks that are reported dead; it only grows."""

    def send(self, dest: int, data: bytes) -> None:
        """Send at most `config.MAX_LINK_BYTES`; does not block; in order for each pair of ranks.

        What is sent to the dead is lost. Raises InternalError when more than
        `config.MAX_UNSENT_BYTES` wait for living ranks.
        """

    def poll(self) -> list[tuple[int, bytes]]:
        """Return what arrived, as (source, bytes); does not block; bounded as in Transport."""

    @property
    def under_way(self) -> bool:
        """Whether bytes to or from this rank are under way."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait and are not with the network yet."""


class Clock(Protocol):
    """Time as the loop sees it; nothing below the adapters has one."""

    def now(self) -> float:
        """Monotonic seconds from an arbitrary start."""

    def cpu(self) -> float:
        """CPU seconds used by this process."""

    def sleep(self, seconds: float) -> None:
        """Give up the processor for about `seconds`; 0 lets others run first."""


class Store(Protocol):
    """Content-addressed bytes of a bounded size: a cache, so anything may be gone later."""

    def put(self, data: bytes) -> bytes:
        """Keep the bytes if there is room; return their address, the SHA-256 (32 bytes)."""

    def get(self, address: bytes) -> bytes | None:
        """Return the bytes of an address, verified; None when absent or damaged."""

    def __contains__(self, address: object) -> bool:
        """Whether `get` would look for it; not a promise that the bytes are sound."""

    @property
    def stored_bytes(self) -> int:
        """Bytes held at present."""


class Signer(Protocol):
    """Signs as this rank and checks signatures of any rank by public key."""

    @property
    def mode(self) -> str:
        """`sign`, or `off` where nothing is signed; part of the genesis record."""

    @property
    def public_key(self) -> bytes:
        """This rank's public key; empty when nothing is signed."""

    @property
    def signature_bytes(self) -> int:
        """Length of every signature, 0 when nothing is signed."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature of the bytes."""

    def verify(self, public_key: bytes, data: bytes, signature: bytes) -> bool:
        """Whether the signature is that of the key's owner; never raises."""


class Journal(Protocol):
    """Where encoded records are kept, in order; what they mean is `provenance`'s business."""

    def append(self, record: bytes) -> None:
        """Add one record at the end."""

    def records(self) -> list[bytes]:
        """Return all records from the first. Raises TamperError for a torn or broken file."""

    def flush(self) -> None:
        """Make everything appended durable."""

    def close(self) -> None:
        """Flush and let go; no call may follow."""


class TaskLike(Protocol):
    """What a node needs to know of a task."""

    @property
    def task_id(self) -> bytes:
        """32 bytes, equal exactly for equal tasks."""

    @property
    def weight(self) -> float:
        """Predicted work in work units."""


class RecordedTask(TaskLike, Protocol):
    """A task that the ledger can record."""

    @property
    def parameters(self) -> bytes:
        """Canonical bytes of what the result depends on besides the problem."""


class SearchMachine(Protocol):
    """The replicated state S (DESIGN section 3): deterministic, without clock or rank.

    Pulses are planned in ascending order without gaps and committed in the same order.
    """

    @property
    def committed(self) -> int:
        """Number of pulses committed, also the number of the next pulse to commit."""

    @property
    def planned(self) -> int:
        """Number of the next pulse to plan."""

    @property
    def finished(self) -> bool:
        """Whether nothing is in flight and nothing remains to plan."""

    def plan(self) -> tuple[int, Sequence[TaskLike]]:
        """Plan the next pulse: its number and its tasks in canonical order.

        Without tasks nothing was planned: there is nothing to plan before the next commit.
        """

    def commit(self, pulse: int, results: Sequence[bytes]) -> None:
        """Take in the results of the oldest pulse in flight, in the order of its tasks."""

    def in_flight(self) -> Sequence[tuple[int, Sequence[TaskLike]]]:
        """Return pulses planned and not committed, oldest first (a restored state has some)."""

    def state_digest(self) -> bytes:
        """Return the 32-byte digest of S."""


class SyncMachine(Protocol):
    """S in parts, for ranks whose S is not that of the others (paper section 5.2).

    The head holds what is no unit: counters, queues. Equal heads and unit digests mean equal S.
    """

    def head(self) -> bytes:
        """Canonical bytes of the head."""

    def unit_digests(self) -> Sequence[bytes]:
        """Digest of each unit, 32 bytes."""

    def unit_bytes(self, index: int) -> bytes:
        """Canonical bytes of one unit."""

    def adopt(self, head: bytes, units: Mapping[int, bytes], state: bytes) -> None:
        """Take over a head and some units, keeping the others.

        state: digest of the S this must give. Raises ValueError when it does not, or for
        malformed bytes; S is unchanged then.
        """


class FreeSearchMachine(SearchMachine, Protocol):
    """A state that can also be committed to in steps of any finished tasks (`--async free`)."""

    def commit_free(
        self, step: int, picks: Sequence[tuple[int, int]], results: Sequence[bytes]
    ) -> Sequence[tuple[int, int]]:
        """Take in results of tasks in flight, (pulse, index) each, in this order.

        Returns the tasks given up because their lag is used up.
        """

    def settled(self) -> Sequence[tuple[int, int]]:
        """Tasks in flight whose results are committed (a restored state has some)."""


class RunLike(Protocol):
    """A task being explored."""

    @property
    def work(self) -> int:
        """Work units spent so far."""

    def step(self, units: int) -> bool:
        """Work for about `units` units; True when the result is there."""

    def result(self) -> bytes:
        """Return the canonical bytes of the result."""
