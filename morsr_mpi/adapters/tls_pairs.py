"""TLS sessions of one rank with each of the others; frames in, frames out, whoever carries them.

A pair has a session per lane, made when the first message is sent; of two ranks the lower one is
the client. A session whose bytes were changed on the way, or whose peer does not prove who it is,
is refused with the reason, counted, and replaced by a fresh one, so that a network that damages
bytes costs messages and no run. After many of them the pair has none any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from struct import Struct

from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.tls_session import TlsFiles, TlsSession, make_context
from morsr_mpi.base.config import (
    MAX_FRAME_BYTES,
    MAX_TLS_RESTARTS,
    TLS_HANDSHAKE_SECONDS,
    TLS_REKEY_BYTES,
)
from morsr_mpi.base.errors import AuthenticationError, ProtocolError
from morsr_mpi.base.ports import Clock

#: Kind, lane, number of the session among those of this pair and lane.
HEAD = Struct(">BBI")
#: The higher rank asks the lower one to begin the session of this number; bytes of a session.
_OPEN, _TLS = 0, 1
#: A pair has a session for urgent frames and one for the others: TLS keeps bytes in order, and a
#: vote is not to wait behind bulk.
URGENT, BULK = 1, 0

#: Judges the DER certificate that a rank has shown; raises AuthenticationError.
Judge = Callable[[int, bytes], None]
#: Carries bytes to a rank, in order for each lane.
Carry = Callable[[int, bytes, int], None]
#: Told of what was refused: the rank it came from, and why.
Refused = Callable[[int, str], None]

_At = tuple[int, int]


class TlsPairs:
    """All sessions of one rank."""

    def __init__(
        self,
        rank: int,
        files: TlsFiles,
        judge: Judge,
        carry: Carry,
        refused: Refused | None = None,
        rekey_bytes: int = TLS_REKEY_BYTES,
        clock: Clock | None = None,
    ) -> None:
        """files: this rank's certificate and whom it trusts; judge: of the certificate a peer
        shows; rekey_bytes: a session is replaced after this many bytes; clock: by which a
        handshake that does not end is begun anew."""
        self._clock = clock or SystemClock()
        self._pending: dict[_At, tuple[float, float]] = {}  # since when, and for how long at most
        self.rank = rank
        self._client = make_context(files, server=False)
        self._server = make_context(files, server=True)
        self._judge = judge
        self._carry = carry
        self._told = refused
        self._rekey_bytes = rekey_bytes
        # By peer and lane; of a lane the newest session is last.
        self._sessions: dict[_At, deque[tuple[int, TlsSession]]] = {}
        self._next: dict[_At, int] = {}
        self._restarts: dict[int, int] = {}
        self._asked: dict[_At, int] = {}
        self._early: dict[_At, list[bytes]] = {}
        self.handshakes = 0
        #: How often something of a rank was refused.
        self.refused: dict[int, int] = {}
        #: Called with peer and lane after a broken session was replaced.
        self.on_restart: Callable[[int, int], None] | None = None

    def say(self, dest: int, lane: int, message: bytes) -> None:
        """Send over the pair's session; opens one if there is none."""
        at = (dest, lane)
        found = self._sessions.get(at)
        if not found:
            if self._restarts.get(at[0], 0) > MAX_TLS_RESTARTS:
                return
            self._early.setdefault(at, []).append(message)
            if self.rank < dest:
                self._begin(at, self._next.get(at, 0))
            else:
                self._ask(at)
            return
        if self.rank < dest and found[-1][1].moved_bytes > self._rekey_bytes:
            self._begin(at, found[-1][0] + 1)
        # A session that is still shaking hands has an older one beside it when keys are replaced.
        found = self._sessions[at]
        number, session = next(((n, s) for n, s in reversed(found) if s.established), found[-1])
        session.send(message)
        self._push(at, number, session)

    def take(self, source: int, frame: bytes) -> list[bytes]:
        """Take in bytes of a peer; return the messages that are complete and proven."""
        try:
            return self._take(source, frame)
        except ProtocolError as error:
            self.refuse(source, str(error))
        return []

    def look(self) -> None:
        """Begin handshakes anew that have not ended in time: somebody may have put in a piece of a
        record that never ends. To be called with each look at the network."""
        if not self._pending:
            return
        now = self._clock.now()
        for at, (since, patience) in list(self._pending.items()):
            if now - since > patience and at in self._sessions:
                self.refuse(at[0], f"TLS with rank {at[0]}: no end of the handshake")
                self._anew(at)
                self._pending[at] = (now, 2.0 * patience)

    def refuse(self, source: int, why: str) -> None:
        """Count something that was refused."""
        self.refused[source] = self.refused.get(source, 0) + 1
        if self._told is not None:
            self._told(source, why)

    def drop(self, peer: int) -> None:
        """Forget a rank that is gone."""
        for lane in (BULK, URGENT):
            self._sessions.pop((peer, lane), None)
            self._pending.pop((peer, lane), None)
            self._early.pop((peer, lane), None)

    def close(self) -> None:
        """Let go of all sessions, and their keys."""
        self._sessions.clear()
        self._early.clear()

    @property
    def shaking(self) -> bool:
        """Whether a handshake is under way."""
        found = self._sessions.values()
        return bool(self._early) or any(not s.established for pair in found for _, s in pair)

    @property
    def held_back(self) -> int:
        """Bytes of messages that wait for a handshake."""
        early = sum(len(m) for messages in self._early.values() for m in messages)
        return early + sum(s.waiting_bytes for f in self._sessions.values() for _, s in f)

    # --- sessions --------------------------------------------------------------------------
    def _take(self, source: int, frame: bytes) -> list[bytes]:
        if len(frame) < HEAD.size:
            raise ProtocolError(f"rank {source} sent a frame without a head")
        kind, lane, number = HEAD.unpack_from(frame)
        if kind not in (_OPEN, _TLS) or lane not in (BULK, URGENT):
            raise ProtocolError(f"rank {source} sent a frame of unknown kind {kind}, {lane}")
        at = (source, lane)
        if kind == _OPEN:
            self._asked_to_begin(at, number)
            return []
        session = self._session(at, number)
        was = session.established
        try:
            messages = session.receive(frame[HEAD.size :])
        except (AuthenticationError, ProtocolError) as error:
            self._broken(at)
            raise ProtocolError(f"TLS with rank {source}: {error}") from None
        self._push(at, number, session)
        if session.established and not was:
            self.handshakes += 1
            self._pending.pop(at, None)
            # Frames keep their order. What the client has sent in older sessions is here when it
            # has finished this handshake; the server may still have been using the last one.
            found, needed = self._sessions[at], number if self.rank > source else number - 1
            while found[0][0] < needed:
                found.popleft()
        return messages

    def _begin(self, at: _At, number: int) -> None:
        """Start a session of a pair, as the client for the higher rank, else as its server."""
        peer, server = at[0], self.rank > at[0]
        session = TlsSession(
            self._server if server else self._client,
            peer,
            lambda der: self._judge(peer, der),
            server=server,
        )
        self._sessions.setdefault(at, deque()).append((number, session))
        self._next[at] = number + 1
        self._pending.setdefault(at, (self._clock.now(), TLS_HANDSHAKE_SECONDS))
        for message in self._early.pop(at, ()):
            session.send(message)
        self._push(at, number, session)

    def _push(self, at: _At, number: int, session: TlsSession) -> None:
        """Hand on what the session wants to say, in pieces that can be carried."""
        data, (peer, lane) = session.outgoing(), at
        piece = MAX_FRAME_BYTES - HEAD.size
        for begin in range(0, len(data), piece):
            self._carry(peer, HEAD.pack(_TLS, lane, number) + data[begin : begin + piece], lane)

    def _ask(self, at: _At) -> None:
        """As the higher rank: have the lower one begin a session, once for each."""
        number = self._next.get(at, 0)
        if self._asked.get(at, -1) < number:
            self._asked[at] = number
            self._carry(at[0], HEAD.pack(_OPEN, at[1], number), at[1])

    def _asked_to_begin(self, at: _At, number: int) -> None:
        source = at[0]
        if self.rank > source:
            raise ProtocolError(f"rank {source} asked for a session that it has to begin")
        found, following = self._sessions.get(at), self._next.get(at, 0)
        if (found and number < following) or self._restarts.get(source, 0) > MAX_TLS_RESTARTS:
            return  # it is on its way, or has been in vain too often
        if number > following:
            raise ProtocolError(f"rank {source} asked for a TLS session out of order")
        if found:  # the last one is of no use to the other side
            self._broken(at)
        else:
            self._begin(at, following)

    def _broken(self, at: _At) -> None:
        """Give the sessions of a pair up and begin anew, unless that was in vain too often.

        What was under way in them is lost: frames are asked for again, a key is said again.
        """
        self._restarts[at[0]] = self._restarts.get(at[0], 0) + 1
        if self._restarts[at[0]] > MAX_TLS_RESTARTS:
            self._sessions.pop(at, None)
            self._pending.pop(at, None)
            return
        self._anew(at)

    def _anew(self, at: _At) -> None:
        """Replace the sessions of a pair by one more, and keep what waits."""
        waiting = [m for _, session in self._sessions.pop(at, ()) for m in session.take_waiting()]
        if waiting:
            self._early.setdefault(at, [])[:0] = waiting
        if self.rank < at[0]:
            self._begin(at, self._next[at])
        else:
            self._ask(at)
        if self.on_restart is not None:
            self.on_restart(*at)

    def _session(self, at: _At, number: int) -> TlsSession:
        """The session a frame belongs to; a client may begin the next."""
        found, source = self._sessions.get(at, deque()), at[0]
        for known, session in found:
            if known == number:
                return session
        allowed = self._restarts.get(at[0], 0) <= MAX_TLS_RESTARTS
        if self.rank < source or number != self._next.get(at, 0) or not allowed:
            raise ProtocolError(f"rank {source} sent bytes of a TLS session there is none of")
        # The client has given up what never came to be, and keeps what is established meanwhile.
        waiting = [m for _, s in found if not s.established for m in s.take_waiting()]
        if found:
            self._sessions[at] = deque(item for item in found if item[1].established)
            self._early.setdefault(at, []).extend(waiting)
        self._begin(at, number)
        return self._sessions[at][-1][1]
