"""Body of the journal's record of a decision to change the size of a job (paper section 8.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Scaling:
    """One decision. number: from 1 within a run directory; at: seconds since 1970.

    before, after: sizes, in `unit` (nodes or ranks); cpu, memory: utilisation then, shares of 1;
    action: `restarted` where the job was told to stop for it, `told` where only a person was.
    """

    KIND: ClassVar[str] = "scaling"
    number: int
    at: int
    before: int
    after: int
    unit: str
    cpu: float
    memory: float
    action: str
    reason: str

    def body(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (
            self.number, self.at, self.before, self.after, self.unit, self.cpu, self.memory,
            self.action, self.reason,
        )  # fmt: skip

    @classmethod
    def from_body(cls, body: tuple[object, ...]) -> Scaling | None:
        """Return the body, None for fields that do not fit."""
        match body:
            case (
                int(number), int(at), int(before), int(after), str(unit), float(cpu),
                float(memory), str(action), str(reason),
            ):  # fmt: skip
                numbers = (int(number), int(at), int(before), int(after))
                return cls(*numbers, unit, cpu, memory, action, reason)
        return None
