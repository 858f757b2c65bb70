"""The ranks of a job that work together, and how they find each other again after a loss.

`Crew.transport` gives the transports of the present group. They raise PeersLostError when it is
broken: somebody is reported dead, an exchange round does not end in time, somebody who was left
behind answers again, or this rank itself was away for too long. Then `Crew.regroup` ends in a
new group, or in ExcludedError for a rank that the others have given up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from morsr_mpi.adapters.group import Switch
from morsr_mpi.base import config
from morsr_mpi.base.errors import (
    ExcludedError,
    PeersLostError,
    ProtocolError,
    TooFewRanksError,
)
from morsr_mpi.base.ports import Clock, Links, Signer, Transport
from morsr_mpi.node.patience import Patience
from morsr_mpi.node.regroup import DIED, SEARCH, START, Group, Regroup, next_group
from morsr_mpi.wire.regrouping import (
    Excluded,
    Plan,
    Regrouping,
    StatePiece,
    Status,
    decode_regrouping,
    encode_regrouping,
)

_DOMAIN = b"morsr-regroup"


@dataclass
class Received:
    """A state that another rank sent: its snapshot, and the sender's newest journal records."""

    total: int = -1
    pieces: dict[int, bytes] = field(default_factory=dict)
    records: tuple[bytes, ...] = ()

    def take(self, piece: StatePiece) -> bool:
        """Add a piece; whether all are here."""
        self.total = piece.total
        self.pieces[piece.offset] = piece.data
        self.records = self.records or piece.records
        return sum(map(len, self.pieces.values())) >= self.total

    def snapshot(self) -> bytes:
        """Return the bytes in order."""
        return b"".join(self.pieces[at] for at in sorted(self.pieces))


class Crew:
    """One rank's view of the ranks that work together.

    whole: makes transports over all ranks of the job, used until the first loss; None to use
    links from the beginning. survivable: whether deaths are reported; otherwise nothing is
    watched. beat: called at every look of the search, tells a guardian of progress.
    """

    def __init__(
        self,
        links: Links,
        clock: Clock,
        signer: Signer,
        *,
        hang_timeout: float = config.HANG_TIMEOUT_SECONDS,
        whole: Callable[[], Transport] | None = None,
        survivable: bool = True,
        beat: Callable[[], None] | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.rank = links.rank
        self.group = Group(0, tuple(range(links.size)))
        self.phase = START
        #: Public key of each rank of the job that has been met; its messages must be signed.
        self.keys: dict[int, bytes] = {}
        self.received: Received | None = None
        #: Ranks that are to leave, living as they are, and why.
        self.expelled: dict[int, str] = {}
        self._links = links
        self._size = links.size
        self._clock = clock
        self._signer = signer
        self._hang = hang_timeout
        self._whole = whole
        self._survivable = survivable
        self._waited = False
        self._beat = beat
        self._log = log
        self._switch = Switch(links)
        #: How long others may be silent.
        self.patience = Patience()
        self._formed_at = clock.now()
        self._watch_at = float("-inf")
        self._early: list[tuple[int, StatePiece]] = []

    @property
    def size(self) -> int:
        """Ranks in the present group."""
        return len(self.group.members)

    @property
    def is_chief(self) -> bool:
        """Whether this rank keeps the run directory."""
        return self.group.chief == self.rank

    def transport(self, stream: int) -> Transport:
        """Return a transport over the present group; every member must ask for the same.

        stream: tells several transports of one group apart.
        """
        if self.group.epoch == 0 and self._whole is not None:
            return WatchedTransport(self, self._whole())
        inner = self._switch.open(self.group.epoch, stream, self.group.members)
        return WatchedTransport(self, inner)

    @property
    def had_losses(self) -> bool:
        """Whether this group is not the job's first."""
        return self.group.epoch > 0

    def farewell(self, transport: Transport) -> None:
        """Leave the last group: what others still wait for is sent, within a second or so."""
        end = self._clock.now() + config.FAREWELL_SECONDS
        with contextlib.suppress(PeersLostError):
            while not transport.leave() and self._clock.now() < end:
                self._clock.sleep(config.IDLE_SLEEP_MIN_SECONDS)
        while self._links.under_way and self._clock.now() < end:
            self._links.poll()

    # --- watching --------------------------------------------------------------------------
    def look(self, round_since: float | None) -> None:
        """Raise PeersLostError when the group is broken.

        round_since: when the round under way was entered, None without one.
        """
        now = self._clock.now()
        if self._beat is not None and self.phase == SEARCH:
            self._beat()
        gap = self.patience.look(now, self._clock.cpu())
        deadline = self.patience.allowed(config.ROUND_DEADLINE_SECONDS)
        if now - self._watch_at < config.WATCH_SECONDS or not self._survivable:
            return
        self._watch_at = now
        searching = self.phase == SEARCH
        # Whoever has not entered a round for so long has had its time to answer.
        self._waited = round_since is not None and now - round_since > deadline / 2.0
        if searching and len(self.group.members) > 1 and gap > 2.0 * deadline:
            raise PeersLostError(f"this rank was away for {gap:.2f} s")
        dead = self._links.failed() & set(self.group.members)
        if dead:
            raise PeersLostError(f"died: {sorted(dead)}")
        for sender, data in self._switch.control():
            self._hear(sender, data, now)
        if searching and round_since is not None and now - round_since > deadline:
            raise PeersLostError(f"a round was not complete after {now - round_since:.2f} s")
        if any(now - since > self._hang for since in self.group.absent.values()):
            raise PeersLostError("a rank that was left behind did not come back")

    def _hear(self, sender: int, data: bytes, now: float) -> None:
        """Take in a control message while all is well."""
        message = self._open(sender, data)
        if sender in self.group.gone:
            if isinstance(message, Status) and self.group.gone[sender] != DIED:
                self._say(sender, Excluded(self.group.epoch, self.group.gone[sender]))
            return
        match message:
            case Excluded():
                raise ExcludedError(f"the other ranks went on without this one: {message.reason}")
            case Status() if sender in self.group.members:
                if message.floor > self.group.epoch:
                    raise PeersLostError(f"rank {sender} lost the group")
            case Status():
                if now - self._formed_at >= config.REJOIN_SECONDS:
                    raise PeersLostError(f"rank {sender} is back")
            case StatePiece() if message.epoch >= self.group.epoch:
                self._early.append((sender, message))

    def _open(self, sender: int, data: bytes) -> Regrouping | None:
        """Return a message if it is sound and its sender's."""
        width = self._signer.signature_bytes
        signature, body = data[:width], data[width:]
        key = self.keys.get(sender)
        try:
            if key and not self._signer.verify(key, _DOMAIN + body, signature):
                raise ProtocolError(f"rank {sender} sent a regrouping with a wrong signature")
            return decode_regrouping(body, sender)
        except ProtocolError as error:
            self._tell(str(error))
            return None

    def _say(self, dest: int, message: Regrouping) -> None:
        body = encode_regrouping(message)
        self._switch.send_control(dest, self._signer.sign(_DOMAIN + body) + body)

    def _tell(self, text: str) -> None:
        if self._log is not None:
            self._log(text)

    # --- regrouping ------------------------------------------------------------------------
    def regroup(self, committed: int) -> Plan:
        """Form a new group with those that are left; return its plan.

        committed: how far this rank's state is. Raises ExcludedError, and TooFewRanksError when
        too few ranks answer for twice the hang timeout.
        """
        clock = self._clock
        attempt = Regroup(
            self.rank,
            self._size,
            replace(self.group, gone={**self.group.gone, **self.expelled}),
            phase=self.phase,
            committed=committed,
            now=clock.now(),
            hang_timeout=self._hang,
            gap=self.patience.milliseconds,
            gather=self._gather(),
        )
        self._early.clear()
        while not attempt.formed:
            now = clock.now()
            if self._beat is not None:
                self._beat()
            attempt.fail(self._links.failed(), now)
            for sender, data in self._switch.control():
                message = self._open(sender, data)
                if isinstance(message, StatePiece):
                    self._early.append((sender, message))
                elif message is not None:
                    try:
                        out = attempt.hear(sender, message, now)
                    except ProtocolError as error:
                        self._tell(str(error))
                        continue
                    self._send(out)
            self._send(attempt.tick(now))
            if attempt.hopeless(now):
                raise TooFewRanksError(
                    "fewer than half of the living ranks answer; go on with --resume from the last "
                    "checkpoint"
                )
            clock.sleep(config.IDLE_SLEEP_MIN_SECONDS)
        assert attempt.plan is not None
        now = clock.now()
        before, self.group = self.group, next_group(self.group, attempt.plan, now)
        self.phase = attempt.plan.phase
        self._formed_at = self._watch_at = now
        self.patience.learn(attempt.plan.gap / 1000.0)
        if set(self.group.members) & set(before.absent):
            # They were alive: wait twice as long from now on, so that ranks which are merely slow
            # do not lose each other, and take the run directory by turns, again and again (the
            # eventually perfect detector of Chandra and Toueg, 1996).
            doubled = 2.0 * self.patience.allowed(config.ROUND_DEADLINE_SECONDS)
            self.patience.learn(min(doubled, self._hang / 2.0) / config.PATIENCE)
        return attempt.plan

    def _gather(self) -> float:
        """Seconds to wait for answers: a whole silence, or, after one, as long as a look takes."""
        if self._waited:
            return max(config.GATHER_SECONDS, self.patience.longest)
        return self.patience.allowed(config.ROUND_DEADLINE_SECONDS)

    def _send(self, messages: Sequence[tuple[int, Regrouping]]) -> None:
        for dest, message in messages:
            self._say(dest, message)

    # --- state -----------------------------------------------------------------------------
    def send_state(self, plan: Plan, snapshot: bytes, records: tuple[bytes, ...]) -> None:
        """As the plan's source: send the state to those behind."""
        size = config.STATE_PIECE_BYTES
        for dest in plan.behind:
            for offset in range(0, len(snapshot), size) or (0,):
                data = snapshot[offset : offset + size]
                first = records if offset == 0 else ()
                self._say(dest, StatePiece(plan.epoch, len(snapshot), offset, data, first))

    def receive_state(self, plan: Plan) -> Received:
        """As one behind: wait for the state. Raises PeersLostError when that breaks off."""
        received = Received()
        begin = self._clock.now()
        while True:
            for sender, piece in self._early:
                mine = sender == plan.source and piece.epoch == plan.epoch
                if mine and received.take(piece):
                    self._early.clear()
                    return received
            self._early.clear()
            self._watch_at = float("-inf")
            self.look(None)
            if self._clock.now() - begin > self._hang:
                raise PeersLostError(f"rank {plan.source} did not send its state")
            self._clock.sleep(config.IDLE_SLEEP_MIN_SECONDS)


class WatchedTransport:
    """A group's transport that raises PeersLostError when the group is broken.

    Only what is polled raises: a node's effects are carried out whole.
    """

    def __init__(self, crew: Crew, inner: Transport) -> None:
        self._crew = crew
        self._inner = inner
        self.rank = inner.rank
        self.size = inner.size
        self._since: float | None = None
        self._rounds = 0

    def start_round(self, slot: bytes) -> None:
        """Enter a round."""
        self._inner.start_round(slot)
        # In the first round of a group others may still be restoring a state.
        self._since = self._crew._clock.now() if self._rounds else None

    def poll_round(self) -> list[bytes] | None:
        """Test the round."""
        slots = self._inner.poll_round()
        if slots is not None:
            self._since = None
            self._rounds += 1
        else:
            self._crew.look(self._since)
        return slots

    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Send a frame."""
        self._inner.send(dest, frame, urgent)

    def poll(self) -> list[tuple[int, bytes]]:
        """Return frames."""
        self._crew.look(self._since)
        return self._inner.poll()

    @property
    def under_way(self) -> bool:
        """Whether frames are under way."""
        return self._inner.under_way

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait."""
        return self._inner.unsent_bytes

    def leave(self) -> bool:
        """Whether all members are done; once they are, nobody is missed here any more."""
        if self._inner.leave():
            return True
        self._crew.look(None)
        return False

    def close(self) -> None:
        """Let go."""
        self._inner.close()
