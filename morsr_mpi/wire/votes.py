"""Votes: small, urgent, and signed for themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from morsr_mpi.base.config import MAX_VOTE_BYTES
from morsr_mpi.wire.kinds import MessageType


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote or a certificate: canonical bytes whose meaning and signatures are consensus'."""

    TYPE: ClassVar[MessageType] = MessageType.CONSENSUS_VOTE
    body: bytes

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (self.body,)

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Vote:
        """Raise ValueError for fields that do not fit."""
        (body,) = f
        if type(body) is not bytes or not 0 < len(body) <= MAX_VOTE_BYTES:
            raise ValueError("a vote that is empty, too long or no bytes")
        return cls(body)
