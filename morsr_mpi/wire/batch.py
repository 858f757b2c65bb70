"""Messages to one rank gathered into one frame (paper section 5.3, algorithm 5.2).

A frame costs a signature and its check, far more than a small message. What somebody waits for
goes at the end of the step that made it and takes along whatever else waits for the same rank;
what nobody waits for goes after `config.BATCH_SECONDS`, or when `config.BATCH_BYTES` are
together. Within a frame, and between frames of one step, votes go before bulk.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from morsr_mpi.base.config import BATCH_BYTES, BATCH_SECONDS, MAX_BATCH_MESSAGES
from morsr_mpi.wire.kinds import Priority, patient, priority
from morsr_mpi.wire.messages import Message, seal_message

#: Bytes that a message costs in a batch besides its own.
_HEAD_BYTES = 9


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed messages of one frame to come, most urgent first. priority: that of the first."""

    dest: int
    priority: Priority
    messages: tuple[tuple[Message, bytes], ...]


@dataclass(slots=True)
class _Waiting:
    """One message on its way out. due: when it goes at the latest."""

    priority: Priority
    due: float
    message: Message
    packed: bytes


class MessageBatcher:
    """Algorithm 5.2, one queue for each rank. Time comes in with the calls."""

    def __init__(self) -> None:
        self._waiting: defaultdict[int, list[_Waiting]] = defaultdict(list)
        self._bytes: defaultdict[int, int] = defaultdict(int)

    @property
    def waiting(self) -> int:
        """Messages that have not gone yet."""
        return sum(map(len, self._waiting.values()))

    def add(self, dest: int, message: Message, now: float) -> bytes:
        """Queue a message to a rank; returns it packed."""
        due = now + BATCH_SECONDS if patient(message.TYPE) else now
        packed = seal_message(message)
        self._waiting[dest].append(_Waiting(priority(message.TYPE), due, message, packed))
        self._bytes[dest] += len(packed) + _HEAD_BYTES
        return packed

    def due(self, now: float) -> list[Batch]:
        """Return what goes now, votes first; everything for a rank goes when anything does."""
        if not self._waiting:
            return []
        batches: list[Batch] = []
        for dest in list(self._waiting):
            queue = self._waiting[dest]
            full = self._bytes[dest] >= BATCH_BYTES or len(queue) >= MAX_BATCH_MESSAGES
            if full or any(item.due <= now for item in queue):
                del self._waiting[dest], self._bytes[dest]
                queue.sort(key=lambda item: item.priority)  # stable: in the order they came
                batches += _cut(dest, queue)
        return sorted(batches, key=lambda batch: batch.priority)


def _cut(dest: int, queue: list[_Waiting]) -> list[Batch]:
    """Return frames of at most BATCH_BYTES, or of one message."""
    batches: list[Batch] = []
    while queue:
        size = length = 0
        for item in queue[:MAX_BATCH_MESSAGES]:
            size += len(item.packed) + _HEAD_BYTES
            # Bulk does not ride in a frame of votes: it would hold them up.
            late = item.priority is Priority.BULK and queue[0].priority is not Priority.BULK
            if length and (size > BATCH_BYTES or late):
                break
            length += 1
        taken = tuple((item.message, item.packed) for item in queue[:length])
        batches.append(Batch(dest, queue[0].priority, taken))
        queue = queue[length:]
    return batches
