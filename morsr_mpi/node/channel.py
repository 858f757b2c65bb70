"""What a rank says and hears: slots of rounds, frames over point-to-point, requests to repeat.

The channel knows forms, keys and repeats; what a message means is the node's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from morsr_mpi.base.errors import ProtocolError
from morsr_mpi.base.ports import Signer
from morsr_mpi.node.effects import Effect, Log, SendFrame
from morsr_mpi.node.envelope import Envelope
from morsr_mpi.node.inbox import Heard, Inbox
from morsr_mpi.node.pacing import Pacer
from morsr_mpi.node.rounds import Announced, Outbox
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.wire.batch import MessageBatcher
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import Message, SlotRequest
from morsr_mpi.wire.packing import unpacked_bytes
from morsr_mpi.wire.slots import EMPTY_SLOT


@dataclass(frozen=True, slots=True)
class Traffic:
    """Messages, their bytes, and their bytes as they travel."""

    messages: int = 0
    plain: int = 0
    packed: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """A frame that came over point-to-point: the content of a slot, or direct messages."""

    sender: int
    heard: Heard | None = None
    messages: tuple[Message, ...] = ()


class Channel:
    """One rank's end of all its connections."""

    def __init__(
        self,
        settings: NodeSettings,
        signer: Signer,
        run: bytes,
        keys: Sequence[bytes],
        hold: float = 0.0,
    ) -> None:
        """run: id of the run, part of every signature; keys: public key of each rank; hold:
        seconds that results wait for others at most."""
        self._settings = settings
        self._envelope = Envelope(settings.rank, signer, run, keys)
        self._inbox = Inbox(settings.rank, self._envelope)
        self._outbox = Outbox(self._envelope, signer.signature_bytes)
        self._batcher = MessageBatcher()
        self.pacer = Pacer(settings.lag, hold)
        self._traffic: dict[MessageType, Traffic] = {}
        self.late = False

    @property
    def refused(self) -> dict[int, int]:
        """Frames and slots refused, by the rank they came from."""
        return dict(self._inbox.refused)

    def refuse(self, sender: int, error: ProtocolError) -> Log:
        """Count something that was refused; returns the line for the log."""
        self._inbox.refuse(sender)
        return Log(str(error))

    def traffic(self) -> dict[str, Traffic]:
        """What was said so far, by type of message. What goes to all counts once."""
        return {kind.name: self._traffic[kind] for kind in sorted(self._traffic)}

    def _count(self, kind: MessageType, plain: int, packed: int) -> None:
        known = self._traffic.get(kind, Traffic())
        self._traffic[kind] = Traffic(
            known.messages + 1, known.plain + plain, known.packed + packed
        )

    # --- out -------------------------------------------------------------------------------
    def say(self, message: Message) -> None:
        """Queue a message for all ranks; nothing where there is no other."""
        if self._settings.size > 1:
            packed = self._outbox.say(message)
            self.pacer.queued(message.TYPE, len(packed))
            self._count(message.TYPE, unpacked_bytes(packed), len(packed))

    def add_result(self, pulse: int, index: int, result: bytes) -> None:
        """Queue a result for all ranks."""
        if self._settings.size > 1:
            packed = self._outbox.add_result(pulse, index, result)
            self.pacer.queued(MessageType.OPTIMIZATION_RESULT, len(packed))
            self._count(MessageType.OPTIMIZATION_RESULT, len(result), len(packed))

    def send(self, dest: int, message: Message, now: float) -> None:
        """Queue a message for one rank."""
        packed = self._batcher.add(dest, message, now)
        self._count(message.TYPE, unpacked_bytes(packed), len(packed))

    def committed(self, pulse: int) -> None:
        """A pulse was committed here: others may lack results of it that still wait."""
        if self._outbox.holds(pulse):
            self.pacer.press()

    def slot(self, committed: int, state: bytes) -> tuple[bytes, list[Announced]]:
        """Return the slot of the next round, and results it announces."""
        speaks = self.pacer.due()
        found = self._outbox.compose(committed, state, silent=not speaks)
        if found[0] != EMPTY_SLOT:
            self.pacer.gone()
        if speaks and self._outbox.waiting:  # more than a slot holds: the rest follows at once
            self.pacer.press()
        return found

    def relays(self, committed: int, state: bytes) -> tuple[list[Effect], list[Announced]]:
        """While a round is late: return what says to all others what waits, point-to-point.

        The first time that is also what lies in the slot of the round itself.
        """
        frames: list[bytes | None] = [] if self.late else [self._outbox.entered()]
        self.late = True
        self.pacer.gone()
        payload, announced = self._outbox.content(committed, state)
        if payload is not None:
            frames.append(self._envelope.relay_frame(payload))
        others = [r for r in range(self._settings.size) if r != self._settings.rank]
        effects: list[Effect] = [
            SendFrame(rank, frame) for frame in frames if frame is not None for rank in others
        ]
        return effects, announced

    def due(self, now: float) -> list[Effect]:
        """Return the frames of messages to single ranks that may not wait any longer."""
        return [
            SendFrame(batch.dest, self._envelope.direct_frame(batch), batch.priority)
            for batch in self._batcher.due(now)
        ]

    def retry(self, now: float) -> None:
        """Ask again for slots that came damaged and were not repeated."""
        for sender, request in self._inbox.retries(now):
            self.send(sender, request, now)

    def repeat(self, request: SlotRequest, sender: int) -> list[Effect]:
        """Answer a request for an earlier slot of this rank."""
        frame = self._outbox.kept_frame(request.round)
        return [] if frame is None else [SendFrame(sender, frame)]

    # --- in --------------------------------------------------------------------------------
    def round_done(self, slots: tuple[bytes, ...], now: float) -> tuple[list[Heard], list[Log]]:
        """Open the slots of a complete round; what is damaged is asked for again."""
        self.late = False
        heard, requests, lines = self._inbox.open_slots(self._outbox.number, slots, now)
        for sender, request in requests:
            self.send(sender, request, now)
        return heard, [Log(line) for line in lines]

    @property
    def said_all(self) -> bool:
        """Whether everything queued for all ranks went out in the rounds so far."""
        return self._outbox.said_all_before(self._outbox.number)

    def open(self, data: bytes, source: int) -> Opened:
        """Return what a frame over point-to-point says, the first time.

        Raises ProtocolError for one that is not sound or not signed by whom it names.
        """
        frame = self._envelope.open(data, source)
        if frame.kind == MessageType.ROUND:
            return Opened(frame.sender, self._inbox.open_again(frame))
        if self._inbox.is_repeat(frame):
            return Opened(frame.sender)
        if frame.kind == MessageType.RELAY:
            return Opened(frame.sender, self._inbox.content(frame))
        return Opened(frame.sender, None, tuple(self._envelope.open_direct(frame)))
