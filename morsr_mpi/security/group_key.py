"""Slots of exchange rounds under a group key: AES-256-GCM with nonces that cannot repeat.

Every member holds the key of the epoch. The nonce is the sender's rank and its counter, the
counter never runs back, and the key is replaced before it could run out; so no two slots are sealed
under one nonce. Rounds are numbered on both sides: a slot of another round, sender or epoch does
not open, which leaves nothing to replay.
"""

from __future__ import annotations

from struct import pack

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from morsr_mpi.base.config import GROUP_KEY_FRAMES
from morsr_mpi.base.errors import InternalError, ProtocolError

KEY_BYTES = 32
TAG_BYTES = 16


class GroupKey:
    """The key of one epoch, for one rank. Rounds count up from 0 in every epoch."""

    def __init__(self, key: bytes, epoch: int, rank: int) -> None:
        """key: 32 random bytes. Raises InternalError otherwise."""
        if len(key) != KEY_BYTES:
            raise InternalError(f"a group key has {KEY_BYTES} bytes, not {len(key)}")
        self._aead = AESGCM(key)
        self.epoch = epoch
        self._rank = rank
        self._sealed = -1

    @property
    def exhausted(self) -> bool:
        """Whether the key has to be replaced before the next round."""
        return self._sealed + 1 >= GROUP_KEY_FRAMES

    def seal(self, number: int, slot: bytes) -> bytes:
        """Return the sealed slot of a round, TAG_BYTES longer.

        Raises InternalError for a round not after the last one: its nonce may be used.
        """
        if number <= self._sealed or number >= GROUP_KEY_FRAMES:
            raise InternalError(f"round {number} after {self._sealed}: the nonce would repeat")
        self._sealed = number
        return self._aead.encrypt(_nonce(self._rank, number), slot, self._bound(self._rank, number))

    def open(self, number: int, sender: int, sealed: bytes) -> bytes:
        """Return the slot of a sender in a round. Raises ProtocolError naming the sender."""
        try:
            return self._aead.decrypt(_nonce(sender, number), sealed, self._bound(sender, number))
        except InvalidTag:
            raise ProtocolError(
                f"the slot of rank {sender} in round {number} is not sealed by the group's key"
            ) from None

    def _bound(self, rank: int, number: int) -> bytes:
        return b"morsr-slot" + pack(">QIQ", self.epoch, rank, number)


def _nonce(rank: int, number: int) -> bytes:
    """96 bits: rank and counter, unique under one key."""
    return pack(">IQ", rank, number)
