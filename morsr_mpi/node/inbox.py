"""Slots and frames of others, checked: what is sound goes on, what is not is asked for again.

A damaged slot proves nothing against its owner (collectives relay), so it is refused,
counted, and requested from the owner over point-to-point; only if that fails again and
again does the run end.
"""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.base.config import MAX_RETRIES, REPLAY_WINDOW, RETRY_SECONDS, SLOT_BYTES
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.node.envelope import Envelope
from morsr_mpi.wire.frames import Frame
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import Message, SlotRequest, open_messages, unpack_header
from morsr_mpi.wire.slots import EMPTY_SLOT, unpack_slot


@dataclass(frozen=True, slots=True)
class Heard:
    """The content of one rank's slot: its header, its messages, and the frame that held them."""

    sender: int
    committed: int
    state: bytes
    messages: tuple[Message, ...]
    frame: Frame


@dataclass(slots=True)
class _Lost:
    """A damaged slot. why: what was wrong with it."""

    why: str
    asked_at: float
    tries: int = 1


class _Seen:
    """Sequence numbers of one sender's direct frames that were here, as bits below the last."""

    def __init__(self) -> None:
        self._last = 0
        self._bits = 0

    def repeats(self, number: int) -> bool:
        """Note a number; True if it was here, or is too old to tell."""
        ahead = number - self._last
        if ahead > 0:
            self._last = number
            self._bits = 1 if ahead >= REPLAY_WINDOW else (self._bits << ahead | 1)
            self._bits &= (1 << REPLAY_WINDOW) - 1
            return False
        bit = 1 << -ahead
        if -ahead >= REPLAY_WINDOW or self._bits & bit:
            return True
        self._bits |= bit
        return False


class Inbox:
    """Checks what comes in; remembers what came damaged."""

    def __init__(self, rank: int, envelope: Envelope) -> None:
        self._rank = rank
        self._envelope = envelope
        self._lost: dict[tuple[int, int], _Lost] = {}
        self._seen: dict[int, _Seen] = {}
        self._early: set[tuple[int, int]] = set()
        self._complete = 0
        self.refused: dict[int, int] = {}
        self.repeated = 0

    def open_slots(
        self, number: int, slots: tuple[bytes, ...], now: float
    ) -> tuple[list[Heard], list[tuple[int, SlotRequest]], list[str]]:
        """Return what other ranks said in a round, requests to send, and lines for the log."""
        heard: list[Heard] = []
        requests: list[tuple[int, SlotRequest]] = []
        lines: list[str] = []
        self._complete = number
        known = {sender for sender, early in self._early if early == number}
        self._early = {item for item in self._early if item[1] > number}
        for sender, slot in enumerate(slots):
            if sender == self._rank or slot == EMPTY_SLOT or sender in known:
                continue
            try:
                for data in unpack_slot(slot, sender):
                    heard.append(self._open_round(data, sender, number))
            except ProtocolError as error:
                lines.append(f"round {number}: {error}; asking for it again")
                self.refuse(sender)
                self._lost[sender, number] = _Lost(str(error), now)
                requests.append((sender, SlotRequest(number)))
        return heard, requests, lines

    def open_again(self, frame: Frame) -> Heard | None:
        """Return the content of a slot that came over point-to-point, the first time only.

        It was asked for again, or its round is late: then the slot itself is passed over.
        """
        slot = (frame.sender, frame.sequence)
        if self._lost.pop(slot, None) is None:
            # Nobody can have entered more than one round that this rank has not completed.
            if not self._complete < frame.sequence <= self._complete + 2 or slot in self._early:
                return None
            self._early.add(slot)
        return self.content(frame)

    def retries(self, now: float) -> list[tuple[int, SlotRequest]]:
        """Return requests to repeat.

        Raises InternalError for a slot that came damaged or not at all too often.
        """
        requests = []
        for (sender, number), lost in self._lost.items():
            if now - lost.asked_at < RETRY_SECONDS:
                continue
            if lost.tries > MAX_RETRIES:
                raise InternalError(
                    f"the slot of rank {sender} in round {number} did not come in "
                    f"{lost.tries} requests ({lost.why})"
                )
            lost.tries += 1
            lost.asked_at = now
            requests.append((sender, SlotRequest(number)))
        return requests

    def is_repeat(self, frame: Frame) -> bool:
        """Whether a direct frame was here before: networks may deliver twice, liars replay.

        The frame's signature must have been checked.
        """
        repeat = self._seen.setdefault(frame.sender, _Seen()).repeats(frame.sequence)
        self.repeated += repeat
        return repeat

    def refuse(self, sender: int) -> None:
        """Count something that was refused."""
        self.refused[sender] = self.refused.get(sender, 0) + 1

    def _open_round(self, data: bytes, sender: int, number: int) -> Heard:
        if len(data) > SLOT_BYTES:
            raise ProtocolError(f"rank {sender} sent a round frame longer than a slot")
        frame = self._envelope.open(data, sender)
        if (frame.kind, frame.sender, frame.sequence) != (MessageType.ROUND, sender, number):
            raise ProtocolError(
                f"the slot of rank {sender} in round {number} holds a {frame.kind.name} frame of "
                f"rank {frame.sender}, number {frame.sequence}"
            )
        return self.content(frame)

    def content(self, frame: Frame) -> Heard:
        """Return what a frame with the content of a slot says."""
        committed, state, packed = unpack_header(frame.payload, frame.sender)
        messages = open_messages(packed, frame.sender)
        return Heard(frame.sender, committed, state, messages, frame)
