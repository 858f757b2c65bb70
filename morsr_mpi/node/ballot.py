"""The value agreed on: a range of pulses, what came of them, and who contributed.

It names nothing a voter does not hold itself: each pulse's tasks, result digests and digest of
S stand in one digest that every rank forms from its own commits. Besides it carries what ranks
may have seen differently, view and contributors, and the certificate of the decision before,
so that all ranks write the same journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.config import MAX_BALLOT_PULSES, MAX_VALUE_BYTES
from morsr_mpi.base.digest import DIGEST_BYTES, digest_of
from morsr_mpi.consensus import values
from morsr_mpi.provenance.bodies import Pulse
from morsr_mpi.provenance.steps import Step

_TAG = "pulses"

#: What one commit is recorded as.
Commit = Pulse | Step


def outcome_of(bodies: Sequence[Commit]) -> bytes:
    """Digest of what does not depend on who computed."""
    return digest_of("pulses", *(body.outcome for body in bodies))


@dataclass(frozen=True, slots=True)
class PulseRange:
    """first: number of the first pulse; steps: (view, contributors as two bytes each) of each
    pulse; outcome: see `outcome_of`; previous: bytes of the certificate of the decision before,
    b"" at the first. Without steps it only hands the certificate on."""

    first: int
    steps: tuple[tuple[int, bytes], ...]
    outcome: bytes
    previous: bytes

    @classmethod
    def of(cls, first: int, bodies: Sequence[Commit], previous: bytes) -> PulseRange:
        """Return the range of these pulses."""
        steps = tuple((body.view, body.contributors) for body in bodies)
        return cls(first, steps, outcome_of(bodies), previous)

    @property
    def end(self) -> int:
        """Number of the first pulse after it."""
        return self.first + len(self.steps)

    def encode(self) -> bytes:
        """The value, as it is voted on."""
        return values.Step(
            encode((_TAG, self.first, self.steps, self.outcome, self.previous))
        ).encode()

    @classmethod
    def parse(cls, payload: bytes) -> PulseRange:
        """Raise ValueError for anything but a payload that `encode` made."""
        match decode(payload, MAX_VALUE_BYTES):
            case ("pulses", int(first), tuple(steps), bytes(outcome), bytes(previous)) if (
                first >= 0 and len(steps) <= MAX_BALLOT_PULSES and len(outcome) == DIGEST_BYTES
            ):
                found = []
                for entry in steps:
                    match entry:
                        case (int(view), bytes(packed)) if view >= 0 and len(packed) % 2 == 0:
                            found.append((int(view), packed))
                        case _:
                            raise ValueError("a pulse of the wrong form")
                return cls(int(first), tuple(found), outcome, previous)
        raise ValueError("no range of pulses")

    def fits(self, bodies: Sequence[Commit], ranks: int) -> bool:
        """Whether it says of these pulses what this rank found, with contributors that exist."""
        if len(bodies) != len(self.steps) or self.outcome != outcome_of(bodies):
            return False
        for body, (_, packed) in zip(bodies, self.steps, strict=True):
            numbers = [int.from_bytes(packed[i : i + 2], "big") for i in range(0, len(packed), 2)]
            if len(packed) != len(body.contributors) or any(n >= ranks for n in numbers):
                return False
        return True

    def bodies(self, own: Sequence[Commit]) -> list[Commit]:
        """Return the records of the pulses: ours, with view and contributors as agreed."""
        return [
            replace(body, view=view, contributors=contributors)
            for body, (view, contributors) in zip(own, self.steps, strict=True)
        ]
