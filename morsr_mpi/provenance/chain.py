"""The hash chain over the journal's records: appending to it, and verifying it whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, TamperError
from morsr_mpi.provenance.bodies import (
    Body,
    Epoch,
    Genesis,
    Pulse,
    Rollback,
    Seal,
    Stop,
    parse,
)
from morsr_mpi.provenance.records import NO_RECORD, Record, decode_record, encode_record
from morsr_mpi.provenance.steps import Step


@dataclass(frozen=True)
class ChainPoint:
    """Where a chain stands. count: records; head: digest of the last; genesis: of the first."""

    count: int = 0
    head: bytes = NO_RECORD
    genesis: bytes = NO_RECORD


class Chain:
    """Links new records to the ones before. Every rank keeps one; one rank writes the bytes."""

    def __init__(self, start: ChainPoint | None = None) -> None:
        """start: where an existing journal stands; default: an empty one."""
        self._at = start or ChainPoint()

    @property
    def point(self) -> ChainPoint:
        """Where the chain stands."""
        return self._at

    def append(self, body: Body) -> bytes:
        """Link a record and return its bytes.

        Raises InternalError for a genesis that is not the first record, or another first.
        """
        if isinstance(body, Genesis) != (self._at.count == 0):
            raise InternalError("a journal starts with its one genesis record")
        data = encode_record(self._at.count, body.KIND, self._at.head, body.body())
        digest = sha256(data)
        first = digest if self._at.count == 0 else self._at.genesis
        self._at = ChainPoint(self._at.count + 1, digest, first)
        return data


@dataclass(frozen=True)
class VerifiedChain:
    """What a sound journal says. sealed: whether it ends in a seal."""

    point: ChainPoint
    records: tuple[Record, ...]
    bodies: tuple[Body, ...]
    sealed: bool

    def pulses(self) -> list[Pulse | Step]:
        """The records of pulses, or of steps in free mode, that count, in their order.

        Where a job stopped without a checkpoint of its last pulses, the next epoch commits
        them again; verification has compared the two.
        """
        last: dict[int, Pulse | Step] = {}
        for body in self.bodies:
            if isinstance(body, Pulse | Step):
                last[body.pulse] = body
            elif isinstance(body, Rollback):
                last = {number: kept for number, kept in last.items() if number < body.committed}
        return [last[number] for number in sorted(last)]


def verify_chain(data: Iterable[bytes]) -> VerifiedChain:
    """Check a journal from its first record to its last; skips nothing.

    Checked: each record's form and kind, index, link to the one before, the genesis first and
    only there, pulses without gap, a pulse committed again in a later epoch with the same
    outcome (unless the run went back behind it), nothing after a seal but an epoch that goes on
    with more work. Raises TamperError naming the first record that is wrong. Signatures and
    files are not looked at.
    """
    records: list[Record] = []
    bodies: list[Body] = []
    rules = _Rules()
    head = NO_RECORD
    for position, item in enumerate(data):
        record = decode_record(item, position)
        if record.index != position:
            raise TamperError(
                f"journal record {position} carries the index {record.index}: records are "
                "missing or out of order"
            )
        if record.previous != head:
            raise TamperError(
                f"journal record {position} is not linked to the record before it: one of the "
                "two was changed"
            )
        body = parse(record)
        rules.check(position, body)
        records.append(record)
        bodies.append(body)
        head = record.digest
    if not records:
        raise TamperError("the journal holds no record")
    point = ChainPoint(len(records), head, records[0].digest)
    return VerifiedChain(point, tuple(records), tuple(bodies), rules.sealed)


class _Rules:
    """What records may follow which."""

    def __init__(self) -> None:
        self.sealed = False
        self._settings: bytes | None = None
        self._next_pulse = 0
        self._state: bytes | None = None
        self._outcomes: dict[int, tuple[object, ...]] = {}
        self._free: set[int] = set()

    def check(self, position: int, body: Body) -> None:
        """Raise TamperError for a record that may not stand here."""
        if self.sealed and not isinstance(body, Epoch):
            raise TamperError(f"journal record {position} stands after the seal")
        if isinstance(body, Genesis) != (position == 0):
            raise TamperError(f"journal record {position}: the genesis is the first record only")
        match body:
            case Genesis():
                self._settings = body.settings
            case Epoch():
                self._check_epoch(position, body)
            case Pulse() | Step():
                self._check_pulse(position, body)
            case Rollback():
                if body.committed > self._next_pulse:
                    raise TamperError(
                        f"journal record {position} goes back to pulse {body.committed}, but only "
                        f"{self._next_pulse} pulses are recorded"
                    )
                self._outcomes = {p: o for p, o in self._outcomes.items() if p < body.committed}
                self._next_pulse = body.committed
            case Stop():
                self._check_count(position, body.committed)
            case Seal():
                self._check_count(position, body.committed)
                if self._state is not None and body.state != self._state:
                    raise TamperError(
                        f"journal record {position} seals another state than was recorded"
                    )
                self.sealed = True

    def _check_epoch(self, position: int, body: Epoch) -> None:
        self.sealed = False  # a finished run that goes on with more work is sealed again
        if body.committed > self._next_pulse:
            raise TamperError(
                f"journal record {position} starts an epoch at pulse {body.committed}, but "
                f"only {self._next_pulse} pulses are recorded"
            )
        if body.settings != self._settings:  # more work may be done in another order of targets
            self._outcomes = {p: o for p, o in self._outcomes.items() if p < body.committed}
            self._settings = body.settings
        for pulse in [p for p in self._free if p >= body.committed]:
            self._outcomes.pop(pulse, None)  # what is finished when depends on time
        self._next_pulse = body.committed
        self._state = body.state

    def _check_pulse(self, position: int, body: Pulse | Step) -> None:
        if body.pulse != self._next_pulse:
            raise TamperError(
                f"journal record {position} is pulse {body.pulse}, expected {self._next_pulse}"
            )
        if isinstance(body, Step):
            self._free.add(body.pulse)
        if self._outcomes.setdefault(body.pulse, body.outcome) != body.outcome:
            raise TamperError(
                f"journal record {position}: pulse {body.pulse} differs from what an earlier "
                "epoch recorded"
            )
        self._next_pulse += 1
        self._state = body.state

    def _check_count(self, position: int, committed: int) -> None:
        if committed != self._next_pulse:
            raise TamperError(
                f"journal record {position} speaks of {committed} pulses, {self._next_pulse} "
                "are recorded"
            )
