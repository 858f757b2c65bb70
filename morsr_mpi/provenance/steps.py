"""The record of a step in free mode (`--async free`): which results, in what order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import pack, unpack
from typing import ClassVar

from morsr_mpi.base.digest import DIGEST_BYTES
from morsr_mpi.base.errors import TamperError

_TASK_BYTES = 8


@dataclass(frozen=True)
class Step:
    """One committed step.

    pulse: its number, counted as pulses are; picks: pulse and index of each task taken in, four
    bytes each, big-endian; tasks: SHA-256 over their ids in that order; results, contributors:
    as in a pulse, in that order; dropped: tasks given up, as picks; state: digest of S after it.
    """

    KIND: ClassVar[str] = "step"
    view: int
    pulse: int
    picks: bytes
    tasks: bytes
    results: bytes
    contributors: bytes
    dropped: bytes
    state: bytes

    def body(self) -> tuple[object, ...]:
        """Canonical fields."""
        return (
            self.view, self.pulse, self.picks, self.tasks, self.results, self.contributors,
            self.dropped, self.state,
        )  # fmt: skip

    @property
    def outcome(self) -> tuple[object, ...]:
        """What does not depend on who computed."""
        return (self.pulse, self.picks, self.tasks, self.results, self.dropped, self.state)

    @classmethod
    def from_body(cls, body: tuple[object, ...]) -> Step | None:
        """Return the body, None for fields that do not fit."""
        match body:
            case (
                int(view),
                int(pulse),
                bytes(picks),
                bytes(tasks),
                bytes(results),
                bytes(contributors),
                bytes(dropped),
                bytes(state),
            ) if (
                len(results) * 2 == len(contributors) * DIGEST_BYTES
                and len(picks) * 2 == len(contributors) * _TASK_BYTES
                and len(dropped) % _TASK_BYTES == 0
            ):
                return cls(
                    int(view), int(pulse), picks, tasks, results, contributors, dropped, state
                )
        return None


def pack_tasks(tasks: Iterable[tuple[int, int]]) -> bytes:
    """Return (pulse, index) of tasks as four bytes each, big-endian."""
    return b"".join(pack(">II", pulse, index) for pulse, index in tasks)


def unpack_tasks(packed: bytes) -> list[tuple[int, int]]:
    """Inverse of pack_tasks. Raises TamperError for bytes of the wrong length."""
    if len(packed) % _TASK_BYTES:
        raise TamperError("a list of tasks of the wrong length")
    return [
        (pulse, index)
        for pulse, index in (
            unpack(">II", packed[at : at + _TASK_BYTES])
            for at in range(0, len(packed), _TASK_BYTES)
        )
    ]
