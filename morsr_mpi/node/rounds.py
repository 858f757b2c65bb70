"""What goes into this rank's slot of an exchange round, most urgent first.

Whole messages only. A result that does not fit is announced with its digest and size and
fetched by whoever needs it; a small one waits for the next slot, which is cheaper.
"""

from __future__ import annotations

from collections import deque

from morsr_mpi.base.config import ANNOUNCE_ABOVE_BYTES, KEPT_SLOTS, MAX_PULSE_SKEW
from morsr_mpi.base.digest import DIGEST_BYTES, sha256
from morsr_mpi.node.envelope import Envelope
from morsr_mpi.wire.frames import FRAME_OVERHEAD
from morsr_mpi.wire.messages import (
    Announcement,
    Message,
    Results,
    encode_message,
    pack_header,
)
from morsr_mpi.wire.slots import EMPTY_SLOT, SLOT_CAPACITY, pack_slot

#: Bytes of a ROUND payload besides its messages: counter, digest, heads of arrays.
_HEADER_BYTES = 64
#: Bytes of a message besides its items, and of one item besides its content.
_MESSAGE_BYTES = 48
_RESULT_BYTES = 8
_ANNOUNCED_BYTES = 56
#: Results looked at per slot: the queue may be long, a slot is short.
_MAX_SCAN = 4096


class Outbox:
    """What this rank has to say in the rounds to come."""

    def __init__(self, envelope: Envelope, signature_bytes: int) -> None:
        self._envelope = envelope
        self._room = SLOT_CAPACITY - FRAME_OVERHEAD - signature_bytes - _HEADER_BYTES
        self._urgent: deque[bytes] = deque()
        self._results: deque[tuple[int, int, bytes]] = deque()
        self._kept: dict[int, bytes] = {}  # of rounds in which something was said, oldest first
        self._forgotten = 0
        self._reported = 0
        self._last_said = 0
        self._header = (0, bytes(DIGEST_BYTES))
        self.number = 0

    def say(self, message: Message) -> None:
        """Queue a message that goes before results."""
        self._urgent.append(encode_message(message))

    def add_result(self, pulse: int, index: int, result: bytes) -> None:
        """Queue a result."""
        self._results.append((pulse, index, result))

    def compose(self, committed: int, state: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
        """Return the slot of the next round, and the results it announces as (pulse, bytes).

        committed, state: pulses committed and the digest of S after the last of them. They
        travel with whatever is sent, and alone only often enough for flow control: a slot
        without a frame costs nobody a verification.
        """
        self.number += 1
        self._header = (committed, state)
        room = self._room
        messages: list[bytes] = []
        while self._urgent and len(self._urgent[0]) + _MESSAGE_BYTES <= room:
            messages.append(self._urgent.popleft())
            self._last_said = self.number
            room -= len(messages[-1]) + _RESULT_BYTES
        announced = self._pack_results(messages, room)
        if not messages and committed - self._reported < MAX_PULSE_SKEW // 2:
            return EMPTY_SLOT, announced
        self._reported = committed
        payload = pack_header(committed, state, tuple(messages))
        frame = self._envelope.round_frame(self.number, payload)
        self._kept[self.number] = frame
        if len(self._kept) > KEPT_SLOTS:
            self._forgotten = next(iter(self._kept))
            del self._kept[self._forgotten]
        return pack_slot([frame]), announced

    def said_all_before(self, number: int) -> bool:
        """Whether every message queued by `say` has gone out in the rounds up to a number."""
        return not self._urgent and self._last_said <= number

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

    def _pack_results(self, messages: list[bytes], room: int) -> list[tuple[int, bytes]]:
        """Add messages with results and announcements that fit; return what was announced."""
        inline: dict[int, list[tuple[int, bytes]]] = {}
        named: dict[int, list[tuple[int, bytes, int]]] = {}
        announced: list[tuple[int, bytes]] = []
        waiting: list[tuple[int, int, bytes]] = []
        for _ in range(min(len(self._results), _MAX_SCAN)):
            if room < _MESSAGE_BYTES + _ANNOUNCED_BYTES:
                break
            pulse, index, result = self._results.popleft()
            cost = _RESULT_BYTES + len(result) + (0 if pulse in inline else _MESSAGE_BYTES)
            if cost <= room:
                inline.setdefault(pulse, []).append((index, result))
            elif len(result) > ANNOUNCE_ABOVE_BYTES:
                cost = _ANNOUNCED_BYTES + (0 if pulse in named else _MESSAGE_BYTES)
                named.setdefault(pulse, []).append((index, sha256(result), len(result)))
                announced.append((pulse, result))
            else:
                waiting.append((pulse, index, result))
                continue
            room -= cost
        self._results.extendleft(reversed(waiting))
        for pulse, items in inline.items():
            indices, results = zip(*items, strict=True)
            messages.append(encode_message(Results(pulse, indices, results)))
        for pulse, entries in named.items():
            messages.append(encode_message(Announcement(pulse, tuple(entries))))
        return announced
