"""A transport inside another: TLS 1.3 between pairs, a group key over the rounds (paper 10.2).

Frames between two ranks travel in TLS sessions of that pair (`tls_pairs`). Slots of exchange
rounds, which a collective carries, are sealed by AES-256-GCM under a key that the lowest rank
draws and hands out over TLS; rounds wait until it is there. What cannot be proven to come from
its rank never reaches the node.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from morsr_mpi.adapters.clock import CpuCost, SystemClock
from morsr_mpi.adapters.memory import check_frame, check_slot
from morsr_mpi.adapters.tls_pairs import BULK, URGENT, Judge, Refused, TlsPairs
from morsr_mpi.adapters.tls_session import TlsFiles
from morsr_mpi.base.config import (
    MAX_FRAMES_PER_POLL,
    MAX_UNSENT_BYTES,
    SLOT_BYTES,
    TLS_REKEY_BYTES,
)
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.base.ports import Clock, Transport
from morsr_mpi.security.group_key import KEY_BYTES, TAG_BYTES, GroupKey

#: Bytes by which a sealed slot is longer; the transport below has to carry that many more.
SLOT_OVERHEAD = TAG_BYTES
SEALED_SLOT_BYTES = SLOT_BYTES + SLOT_OVERHEAD
#: Stands for a slot that did not open: no node takes it for one.
DAMAGED_SLOT = b"\xff" * SLOT_BYTES
_DATA, _KEY = b"D", b"K"
_EPOCH_BYTES = 8


class TlsTransport:
    """Transport port over a transport whose slots have `SEALED_SLOT_BYTES`."""

    def __init__(
        self,
        inner: Transport,
        files: TlsFiles,
        judge: Judge,
        entropy: Callable[[int], bytes] = os.urandom,
        rekey_bytes: int = TLS_REKEY_BYTES,
        refused: Refused | None = None,
        cost: CpuCost | None = None,
        clock: Clock | None = None,
    ) -> None:
        """files, judge, refused, rekey_bytes, clock: as of TlsPairs; cost: of all of it."""
        self._cost = cost or CpuCost(SystemClock())
        self._inner = inner
        self.rank, self.size = inner.rank, inner.size
        self._pairs = TlsPairs(inner.rank, files, judge, self._carry, refused, rekey_bytes, clock)
        self._pairs.on_restart = self._say_again
        self._ready: deque[tuple[int, bytes]] = deque()
        self._key_message = b""
        self._group: GroupKey | None = None
        self._slot: bytes | None = None
        self._in_round = False
        self._round = 0
        if self.size == 1:
            self._group = GroupKey(entropy(KEY_BYTES), 0, 0)
        elif self.rank == 0:
            self._hand_out(entropy(KEY_BYTES), 0)

    @property
    def handshakes(self) -> int:
        """Handshakes completed so far."""
        return self._pairs.handshakes

    @property
    def refused(self) -> dict[int, int]:
        """How often something of a rank was refused."""
        return self._pairs.refused

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
        with self._cost:
            return [self._opened(number, sender, slot) for sender, slot in enumerate(sealed)]

    def _enter(self) -> None:
        if self._slot is None or self._group is None:
            return
        if self._group.exhausted:
            raise InternalError("the group key has sealed as many slots as it may")
        with self._cost:
            sealed = self._group.seal(self._round, self._slot)
        self._inner.start_round(sealed)
        self._slot = None

    def _opened(self, number: int, sender: int, slot: bytes) -> bytes:
        assert self._group is not None
        try:
            return self._group.open(number, sender, slot)
        except ProtocolError as error:
            self._pairs.refuse(sender, str(error))
            return DAMAGED_SLOT

    # --- frames ----------------------------------------------------------------------------
    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Send over the pair's session; opens one if there is none."""
        check_frame(frame, dest, self.rank, self.size)
        if self._pairs.held_back + len(frame) > MAX_UNSENT_BYTES:
            raise InternalError(f"rank {dest} does not take what is sent to it")
        with self._cost:
            self._pairs.say(dest, URGENT if urgent else BULK, _DATA + frame)

    def poll(self) -> list[tuple[int, bytes]]:
        """Return frames that arrived and are proven."""
        self._pump()
        return [self._ready.popleft() for _ in range(min(len(self._ready), MAX_FRAMES_PER_POLL))]

    @property
    def under_way(self) -> bool:
        """Whether frames or handshakes are under way."""
        return self._inner.under_way or bool(self._ready) or self._pairs.shaking

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for a handshake, and those that wait below."""
        return self._pairs.held_back + self._inner.unsent_bytes

    def leave(self) -> bool:
        """Leave below, once nothing is under way."""
        if self._pairs.held_back:
            self._pump()
            return False
        return self._inner.leave()

    def close(self) -> None:
        """Close below; keys go with this object."""
        self._pairs.close()
        self._group, self._key_message = None, b""
        self._inner.close()

    def _hand_out(self, key: bytes, epoch: int) -> None:
        """As the lowest rank: give the group its key."""
        self._group = GroupKey(key, epoch, self.rank)
        self._key_message = _KEY + epoch.to_bytes(_EPOCH_BYTES, "big") + key
        with self._cost:
            for dest in range(self.size):
                if dest != self.rank:
                    self._pairs.say(dest, URGENT, self._key_message)

    def _say_again(self, peer: int, lane: int) -> None:
        """The key may have been under way in a session that broke."""
        if self._key_message and lane == URGENT:
            self._pairs.say(peer, lane, self._key_message)

    def _carry(self, dest: int, data: bytes, lane: int) -> None:
        with self._cost.outside:
            self._inner.send(dest, data, lane == URGENT)

    def _pump(self) -> None:
        self._pairs.look()
        for source, frame in self._inner.poll():
            with self._cost:
                messages = self._pairs.take(source, frame)
            for message in messages:
                try:
                    self._message(source, message)
                except ProtocolError as error:
                    self._pairs.refuse(source, str(error))

    def _message(self, source: int, message: bytes) -> None:
        kind, body = message[:1], message[1:]
        if kind == _DATA:
            self._ready.append((source, body))
            return
        if kind != _KEY or source != 0 or len(body) != _EPOCH_BYTES + KEY_BYTES:
            raise ProtocolError(f"rank {source} sent a message of unknown kind")
        epoch = int.from_bytes(body[:_EPOCH_BYTES], "big")
        if self._group is not None and epoch == self._group.epoch:
            return  # said again
        if self._group is not None and epoch < self._group.epoch:
            raise ProtocolError(f"rank {source} handed out an old group key")
        self._group = GroupKey(body[_EPOCH_BYTES:], epoch, self.rank)
