"""What must hold in every simulated run, whatever went wrong (the only place that says so).

Each check counts itself, so that a campaign can show that none of them stayed unused, and
notes a violation instead of raising: a run that breaks one rule may go on to break others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from morsr_mpi.base.digest import short

#: Name of each invariant and what it says.
INVARIANTS = {
    "agreement": "no two honest ranks decide differently at one place",
    "validity": "what is decided is right, and only liars are excluded",
    "certificates": "no certificate without a quorum of distinct valid signatures of members",
    "no double vote": "no honest rank signs two values of one kind in one view at one height",
    "evidence": "evidence is complete, and only against the guilty",
    "states": "the state after a pulse is the same on all honest ranks",
    "ledgers": "the ledgers of honest ranks are the same, record by record",
    "answer": "the state after a pulse is that of a sequential run",
    "progress": "after healing every honest rank reaches the end within the bound",
}


class Invariants:
    """Watches one run. checked: how often each invariant was looked at."""

    def __init__(self, honest: Sequence[int]) -> None:
        self.honest = frozenset(honest)
        self.checked: Counter[str] = Counter()
        self.violations: list[str] = []
        self._states: dict[int, tuple[bytes, int]] = {}
        self._records: list[tuple[bytes, int]] = []
        self._read: dict[int, int] = {}

    def check(self, name: str, holds: bool, otherwise: str) -> None:
        """Count a check of an invariant, and note what is wrong."""
        if name not in INVARIANTS:
            raise KeyError(name)
        self.checked[name] += 1
        if not holds:
            self.violations.append(f"{name}: {otherwise}")

    def state(self, rank: int, committed: int, digest: bytes, expected: bytes) -> None:
        """A rank has committed so many pulses and is in this state."""
        if rank not in self.honest:
            return
        first, who = self._states.setdefault(committed, (digest, rank))
        self.check(
            "states",
            first == digest,
            f"after {committed} pulses rank {rank} is in state {short(digest)}, "
            f"rank {who} in {short(first)}",
        )
        self.check(
            "answer",
            digest == expected,
            f"after {committed} pulses rank {rank} is in state {short(digest)}, "
            f"a sequential run in {short(expected)}",
        )

    def ledger(self, rank: int, records: Sequence[bytes]) -> None:
        """A rank's ledger holds these records now; only what is new is compared."""
        if rank not in self.honest:
            return
        for at in range(self._read.get(rank, 0), len(records)):
            if at == len(self._records):
                self._records.append((records[at], rank))
            known, who = self._records[at]
            self.check(
                "ledgers",
                known == records[at],
                f"record {at} of rank {rank} is not that of rank {who}",
            )
        self._read[rank] = len(records)
