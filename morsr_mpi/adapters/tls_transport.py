"""A transport inside another: TLS 1.3 between pairs, a group key over the rounds (paper 10.2).

Frames between two ranks travel in a TLS session of that pair, made when the first is sent; of
two ranks the lower one is the client. Slots of exchange rounds, which a collective carries, are
sealed by AES-256-GCM under a key that the lowest rank draws and hands out over TLS; rounds wait
until it is there. What cannot be proven to come from its rank never reaches the node.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from struct import Struct

from morsr_mpi.adapters.memory import check_frame, check_slot
from morsr_mpi.adapters.tls_session import TlsFiles, TlsSession, make_context
from morsr_mpi.base.config import (
    MAX_FRAME_BYTES,
    MAX_FRAMES_PER_POLL,
    MAX_UNSENT_BYTES,
    SLOT_BYTES,
    TLS_REKEY_BYTES,
)
from morsr_mpi.base.errors import AuthenticationError, InternalError, ProtocolError
from morsr_mpi.base.ports import Transport
from morsr_mpi.security.group_key import KEY_BYTES, TAG_BYTES, GroupKey

#: Bytes by which a sealed slot is longer; the transport below has to carry that many more.
SLOT_OVERHEAD = TAG_BYTES
SEALED_SLOT_BYTES = SLOT_BYTES + SLOT_OVERHEAD
#: Stands for a slot that did not open: no node takes it for one.
DAMAGED_SLOT = b"\xff" * SLOT_BYTES
_HEAD = Struct(">BBI")
_OPEN, _TLS = 0, 1
#: A pair has a session for urgent frames and one for the others: TLS keeps bytes in order, and a
#: vote is not to wait behind bulk.
_URGENT, _BULK = 1, 0
_DATA, _KEY = b"D", b"K"
_EPOCH_BYTES = 8

#: Judges the DER certificate that a rank has shown; raises AuthenticationError.
Judge = Callable[[int, bytes], None]


class TlsTransport:
    """Transport port over a transport whose slots have `SEALED_SLOT_BYTES`."""

    def __init__(
        self,
        inner: Transport,
        files: TlsFiles,
        judge: Judge,
        entropy: Callable[[int], bytes] = os.urandom,
        rekey_bytes: int = TLS_REKEY_BYTES,
    ) -> None:
        """files: this rank's certificate and whom it trusts; judge: of the names in a peer's
        certificate; rekey_bytes: a session is replaced after this many bytes."""
        self._inner = inner
        self.rank, self.size = inner.rank, inner.size
        self._client = make_context(files, server=False)
        self._server = make_context(files, server=True)
        self._judge = judge
        self._rekey_bytes = rekey_bytes
        # By peer and lane; of a lane the newest session is last.
        self._sessions: dict[tuple[int, int], deque[tuple[int, TlsSession]]] = {}
        self._asked: set[tuple[int, int]] = set()
        self._early: dict[tuple[int, int], list[bytes]] = {}
        self._ready: deque[tuple[int, bytes]] = deque()
        self._group: GroupKey | None = None
        self._slot: bytes | None = None
        self._in_round = False
        self._round = 0
        self.handshakes = 0
        self.refused: dict[int, int] = {}
        if self.size == 1:
            self._group = GroupKey(entropy(KEY_BYTES), 0, 0)
        elif self.rank == 0:
            self._hand_out(entropy(KEY_BYTES), 0)

    # --- rounds ----------------------------------------------------------------------------
    def start_round(self, slot: bytes) -> None:
        """Seal the slot and enter the round as soon as there is a key."""
        check_slot(slot, self._in_round)
        self._in_round = True
        self._slot = slot
        self._enter()

    def poll_round(self) -> list[bytes] | None:
        """Return the opened slots; one that does not open is given as damaged."""
        if not self._in_round:
            return None
        self._pump()  # others may still be waiting for the key from us
        if self._slot is not None:
            self._enter()
            return None
        sealed = self._inner.poll_round()
        if sealed is None or self._group is None:
            return None
        number, self._round = self._round, self._round + 1
        self._in_round = False
        return [self._opened(number, sender, slot) for sender, slot in enumerate(sealed)]

    def _enter(self) -> None:
        if self._slot is None or self._group is None:
            return
        if self._group.exhausted:
            raise InternalError("the group key has sealed as many slots as it may")
        self._inner.start_round(self._group.seal(self._round, self._slot))
        self._slot = None

    def _opened(self, number: int, sender: int, slot: bytes) -> bytes:
        assert self._group is not None
        try:
            return self._group.open(number, sender, slot)
        except ProtocolError:
            self._refuse(sender)
            return DAMAGED_SLOT

    # --- frames ----------------------------------------------------------------------------
    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Send over the pair's session; opens one if there is none."""
        check_frame(frame, dest, self.rank, self.size)
        if self._held_back + len(frame) > MAX_UNSENT_BYTES:
            raise InternalError(f"rank {dest} does not take what is sent to it")
        self._say(dest, _URGENT if urgent else _BULK, _DATA + frame)

    def poll(self) -> list[tuple[int, bytes]]:
        """Return frames that arrived and are proven.

        Raises AuthenticationError naming a rank that does not prove who it is.
        """
        self._pump()
        return [self._ready.popleft() for _ in range(min(len(self._ready), MAX_FRAMES_PER_POLL))]

    @property
    def under_way(self) -> bool:
        """Whether frames or handshakes are under way."""
        shaking = any(not s.established for found in self._sessions.values() for _, s in found)
        return self._inner.under_way or bool(self._ready) or bool(self._early) or shaking

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for a handshake, and those that wait below."""
        return self._held_back + self._inner.unsent_bytes

    @property
    def _held_back(self) -> int:
        """Bytes of frames that wait for a handshake."""
        early = sum(len(m) for messages in self._early.values() for m in messages)
        return early + sum(s.waiting_bytes for f in self._sessions.values() for _, s in f)

    def leave(self) -> bool:
        """Leave below, once nothing is under way."""
        if self._held_back:
            self._pump()
            return False
        return self._inner.leave()

    def close(self) -> None:
        """Close below; keys go with this object."""
        self._sessions.clear()
        self._group = None
        self._inner.close()

    def _hand_out(self, key: bytes, epoch: int) -> None:
        """As the lowest rank: give the group its key."""
        self._group = GroupKey(key, epoch, self.rank)
        message = _KEY + epoch.to_bytes(_EPOCH_BYTES, "big") + key
        for dest in range(self.size):
            if dest != self.rank:
                self._say(dest, _URGENT, message)

    def _say(self, dest: int, lane: int, message: bytes) -> None:
        at = (dest, lane)
        found = self._sessions.get(at)
        if not found:
            if self.rank > dest:  # the lower rank is the client: ask it to begin
                self._early.setdefault(at, []).append(message)
                if at not in self._asked:
                    self._asked.add(at)
                    self._inner.send(dest, _HEAD.pack(_OPEN, lane, 0), lane == _URGENT)
                return
            self._begin(at, 0)
        elif self.rank < dest and found[-1][1].moved_bytes > self._rekey_bytes:
            self._begin(at, found[-1][0] + 1)
        # A session that is still shaking hands has an older one beside it when keys are replaced.
        found = self._sessions[at]
        number, session = next(((n, s) for n, s in reversed(found) if s.established), found[-1])
        session.send(message)
        self._push(at, number, session)

    def _begin(self, at: tuple[int, int], number: int) -> None:
        """Start a session of a pair, as the client for the higher rank, else as its server."""
        peer, server = at[0], self.rank > at[0]
        session = TlsSession(
            self._server if server else self._client,
            peer,
            lambda der: self._judge(peer, der),
            server=server,
        )
        self._sessions.setdefault(at, deque()).append((number, session))
        for message in self._early.pop(at, ()):
            session.send(message)
        self._push(at, number, session)

    def _push(self, at: tuple[int, int], number: int, session: TlsSession) -> None:
        """Hand what the session wants to say to the transport below, in pieces it takes."""
        data, (peer, lane) = session.outgoing(), at
        piece = MAX_FRAME_BYTES - _HEAD.size
        for begin in range(0, len(data), piece):
            frame = _HEAD.pack(_TLS, lane, number) + data[begin : begin + piece]
            self._inner.send(peer, frame, lane == _URGENT)

    def _pump(self) -> None:
        for source, frame in self._inner.poll():
            try:
                self._take(source, frame)
            except ProtocolError:
                self._refuse(source)
            except AuthenticationError as error:
                raise AuthenticationError(
                    f"rank {source} is not who it should be: {error}"
                ) from None

    def _take(self, source: int, frame: bytes) -> None:
        if len(frame) < _HEAD.size:
            raise ProtocolError(f"rank {source} sent a frame without a head")
        kind, lane, number = _HEAD.unpack_from(frame)
        if kind not in (_OPEN, _TLS) or lane not in (_BULK, _URGENT):
            raise ProtocolError(f"rank {source} sent a frame of unknown kind {kind}, {lane}")
        at = (source, lane)
        if kind == _OPEN:
            if self.rank < source and at not in self._sessions:
                self._begin(at, 0)
            return
        session = self._session(at, number)
        was = session.established
        messages = session.receive(frame[_HEAD.size :])
        self._push(at, number, session)
        if session.established and not was:
            self.handshakes += 1
            # Frames keep their order. What the client has sent in older sessions is here when it
            # has finished this handshake; the server may still have been using the last one.
            found, needed = self._sessions[at], number if self.rank > source else number - 1
            while found[0][0] < needed:
                found.popleft()
        for message in messages:
            self._message(source, message)

    def _session(self, at: tuple[int, int], number: int) -> TlsSession:
        """The session a frame belongs to; a client may begin the next."""
        found, source = self._sessions.get(at, deque()), at[0]
        for known, session in found:
            if known == number:
                return session
        following = found[-1][0] + 1 if found else 0
        if self.rank < source or number != following or len(found) > 1:
            raise ProtocolError(f"rank {source} sent bytes of a TLS session there is none of")
        self._begin(at, number)
        return self._sessions[at][-1][1]

    def _message(self, source: int, message: bytes) -> None:
        kind, body = message[:1], message[1:]
        if kind == _DATA:
            self._ready.append((source, body))
            return
        if kind != _KEY or source != 0 or len(body) != _EPOCH_BYTES + KEY_BYTES:
            raise ProtocolError(f"rank {source} sent a message of unknown kind")
        epoch = int.from_bytes(body[:_EPOCH_BYTES], "big")
        if self._group is not None and epoch <= self._group.epoch:
            raise ProtocolError(f"rank {source} handed out an old group key")
        self._group = GroupKey(body[_EPOCH_BYTES:], epoch, self.rank)

    def _refuse(self, source: int) -> None:
        self.refused[source] = self.refused.get(source, 0) + 1
