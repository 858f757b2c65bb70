"""The message with which ranks meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from morsr_mpi.base.digest import DIGEST_BYTES
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.shapes import count, digest, text


@dataclass(frozen=True, slots=True)
class Hello:
    """What a rank was started with, and its key; the first slot of a run.

    settings: canonical bytes of what must be equal besides; committed, state: S at the
    start; capacity: relative speed; records, head, genesis: where rank 0's journal stands.
    """

    TYPE: ClassVar[MessageType] = MessageType.HELLO
    software: str
    algorithm: int
    problem: bytes
    options: bytes
    security: str
    settings: bytes
    committed: int
    state: bytes
    public_key: bytes
    capacity: int
    records: int
    head: bytes
    genesis: bytes

    def fields(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (
            self.software, self.algorithm, self.problem, self.options, self.security,
            self.settings, self.committed, self.state, self.public_key, self.capacity,
            self.records, self.head, self.genesis,
        )  # fmt: skip

    @classmethod
    def parse(cls, f: tuple[object, ...]) -> Hello:
        """Raise ValueError for fields that do not fit."""
        (software, algorithm, problem, options, security, settings, committed, state, key,
         capacity, records, head, genesis) = f  # fmt: skip
        if type(settings) is not bytes or type(key) is not bytes or len(key) > DIGEST_BYTES * 8:
            raise ValueError("settings or key of the wrong form")
        return cls(
            text(software, 64), count(algorithm), digest(problem), digest(options),
            text(security, 16), settings, count(committed), digest(state), key,
            count(capacity), count(records), digest(head), digest(genesis),
        )  # fmt: skip
