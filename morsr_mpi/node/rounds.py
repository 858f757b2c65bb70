"""What goes into this rank's slot of an exchange round, most urgent first.

Whole messages only. A result is packed once, by the rank that computed it. One that does not
fit is announced with its digest and size and fetched by whoever needs it; a small one waits for
the next slot, which is cheaper.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from morsr_mpi.base.config import ANNOUNCE_ABOVE_BYTES, KEPT_SLOTS, MAX_PULSE_SKEW
from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.node.envelope import Envelope
from morsr_mpi.wire.frames import FRAME_OVERHEAD
from morsr_mpi.wire.kinds import Priority, priority
from morsr_mpi.wire.messages import (
    Announcement,
    Message,
    pack_header,
    seal_message,
    seal_results,
)
from morsr_mpi.wire.packing import pack
from morsr_mpi.wire.slots import EMPTY_SLOT, SLOT_CAPACITY, pack_slot

#: Bytes of a ROUND payload besides its messages: counter, digest, heads of arrays.
_HEADER_BYTES = 64
#: Bytes of a message besides its items, and of one item besides its content.
_MESSAGE_BYTES = 48
_RESULT_BYTES = 8
_ANNOUNCED_BYTES = 56
#: Results looked at per slot: the queue may be long, a slot is short.
_MAX_SCAN = 4096


@dataclass(frozen=True, slots=True)
class Announced:
    """A result to be kept for others. name: digest of the result; packed: what they fetch."""

    pulse: int
    name: bytes
    packed: bytes


@dataclass(slots=True)  # frozen ones cost a microsecond more to make
class _Waiting:
    """A result on its way out."""

    pulse: int
    index: int
    result: bytes
    packed: bytes


class Outbox:
    """What this rank has to say in the rounds to come."""

    def __init__(self, envelope: Envelope, signature_bytes: int) -> None:
        self._envelope = envelope
        self._room = SLOT_CAPACITY - FRAME_OVERHEAD - signature_bytes - _HEADER_BYTES
        self._urgent: tuple[deque[bytes], ...] = tuple(deque() for _ in Priority)
        self._results: deque[_Waiting] = deque()
        self._kept: dict[int, bytes] = {}  # of rounds in which something was said, oldest first
        self._forgotten = 0
        self._reported = 0
        self._last_said = 0
        self._header = (0, bytes(DIGEST_BYTES))
        self.number = 0

    def say(self, message: Message) -> bytes:
        """Queue a message that goes before results, votes before all others; returns it packed."""
        packed = seal_message(message)
        self._urgent[priority(message.TYPE)].append(packed)
        return packed

    def add_result(self, pulse: int, index: int, result: bytes) -> bytes:
        """Queue a result; returns it packed."""
        packed = pack(result)
        self._results.append(_Waiting(pulse, index, result, packed))
        return packed

    @property
    def waiting(self) -> bool:
        """Whether something is queued."""
        return bool(self._results) or any(self._urgent)

    def holds(self, pulse: int) -> bool:
        """Whether a result of a pulse is queued."""
        return any(item.pulse == pulse for item in self._results)

    def compose(
        self, committed: int, state: bytes, *, silent: bool = False
    ) -> tuple[bytes, list[Announced]]:
        """Return the slot of the next round, and the results it announces.

        silent: what is queued waits for a later one, unless others must hear how far this rank is.
        committed, state: pulses committed and the digest of S after the last of them. They
        travel with whatever is sent, and alone only often enough for flow control: a slot
        without a frame costs nobody a verification.
        """
        self.number += 1
        if silent and committed - self._reported < MAX_PULSE_SKEW // 2:
            return EMPTY_SLOT, []
        payload, announced = self.content(committed, state)
        if payload is None:
            return EMPTY_SLOT, announced
        frame = self._envelope.round_frame(self.number, payload)
        self._kept[self.number] = frame
        if len(self._kept) > KEPT_SLOTS:
            self._forgotten = next(iter(self._kept))
            del self._kept[self._forgotten]
        return pack_slot([frame]), announced

    def entered(self) -> bytes | None:
        """Return the frame in the slot of the round this rank has entered last, if any."""
        return self._kept.get(self.number)

    def content(self, committed: int, state: bytes) -> tuple[bytes | None, list[Announced]]:
        """Return the payload of the next slot, None when there is nothing to say, and the
        results it announces. It travels in a slot, or over point-to-point while a round is late.
        """
        self._header = (committed, state)
        room = self._room
        messages: list[bytes] = []
        for queue in self._urgent:
            while queue and len(queue[0]) + _MESSAGE_BYTES <= room:
                messages.append(queue.popleft())
                self._last_said = self.number
                room -= len(messages[-1]) + _RESULT_BYTES
        announced = self._pack_results(messages, room)
        if not messages and committed - self._reported < MAX_PULSE_SKEW // 2:
            return None, announced
        self._reported = committed
        return pack_header(committed, state, tuple(messages)), announced

    def said_all_before(self, number: int) -> bool:
        """Whether every message queued by `say` has gone out in the rounds up to a number."""
        return not any(self._urgent) and self._last_said <= number

    def kept_frame(self, number: int) -> bytes | None:
        """Return the frame of an earlier round, without messages if there were none.

        None when the round is too long ago, or has not been. Idle rounds push nothing out:
        hundreds of them may pass until a request that was lost is repeated.
        """
        if not self._forgotten < number <= self.number:
            return None
        kept = self._kept.get(number)
        if kept is None:
            kept = self._envelope.round_frame(number, pack_header(*self._header, ()))
        return kept

    def _pack_results(self, messages: list[bytes], room: int) -> list[Announced]:
        """Add messages with results and announcements that fit; return what was announced."""
        inline: dict[int, list[tuple[int, bytes]]] = {}
        named: dict[int, list[tuple[int, bytes, int]]] = {}
        announced: list[Announced] = []
        waiting: list[_Waiting] = []
        for _ in range(min(len(self._results), _MAX_SCAN)):
            if room < _MESSAGE_BYTES + _ANNOUNCED_BYTES:
                break
            item = self._results.popleft()
            pulse = item.pulse
            cost = _RESULT_BYTES + len(item.packed) + (0 if pulse in inline else _MESSAGE_BYTES)
            if cost <= room:
                inline.setdefault(pulse, []).append((item.index, item.packed))
            elif len(item.packed) > ANNOUNCE_ABOVE_BYTES:
                cost = _ANNOUNCED_BYTES + (0 if pulse in named else _MESSAGE_BYTES)
                name = sha256(item.result)
                named.setdefault(pulse, []).append((item.index, name, len(item.result)))
                announced.append(Announced(pulse, name, item.packed))
            else:
                waiting.append(item)
                continue
            room -= cost
        self._results.extendleft(reversed(waiting))
        for pulse, items in inline.items():
            indices, packed = zip(*items, strict=True)
            messages.append(seal_results(pulse, indices, packed))
        for pulse, entries in named.items():
            messages.append(seal_message(Announcement(pulse, tuple(entries))))
        return announced
