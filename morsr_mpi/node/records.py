"""From commits to records of the journal: all ranks write the same (DESIGN sections 3, 5).

S follows from results, which are the same whoever computed them. Whose result counts does not:
where a task was taken over, ranks may have heard two in different order. So the coordinator
says for each commit who contributed, and a rank forms the record when it has heard that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from struct import pack, unpack

from morsr_mpi.base.digest import short
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.provenance.bodies import Pulse
from morsr_mpi.provenance.steps import Step
from morsr_mpi.wire.steering import Entry, Proposal, proposals


@dataclass(slots=True)
class Heard:
    """A proposal as far as its parts are here."""

    parts: dict[int, Proposal] = field(default_factory=dict)

    def add(self, proposal: Proposal) -> None:
        """Add a part, the first time."""
        if self.parts and proposal.view > next(iter(self.parts.values())).view:
            self.parts.clear()  # a later coordinator's account
        self.parts.setdefault(proposal.part, proposal)

    @property
    def complete(self) -> bool:
        """Whether all parts are here."""
        return bool(self.parts) and len(self.parts) == next(iter(self.parts.values())).parts

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Entries of all parts, in order."""
        return tuple(e for number in sorted(self.parts) for e in self.parts[number].entries)

    @property
    def first(self) -> Proposal:
        """Any part: they agree in all but the entries."""
        return next(iter(self.parts.values()))


class RecordBook:
    """Commits of this rank without a record, and what the coordinator said of them."""

    def __init__(self, reach: int) -> None:
        """reach: how far ahead of this rank the coordinator can be, in commits."""
        self._reach = reach
        #: Whether a vote settles it when the coordinator's state is another.
        self.patient = False
        self._waiting: deque[tuple[Pulse, tuple[int, ...]]] = deque()
        self._heard: dict[int, Heard] = {}

    @property
    def waiting(self) -> bool:
        """Whether a commit has no record yet."""
        return bool(self._waiting)

    def add(self, body: Pulse, ordered: Sequence[int]) -> None:
        """Add a commit. ordered: rank that was first ordered to compute each task."""
        self._waiting.append((body, tuple(ordered)))

    def propose(self, view: int) -> list[Proposal]:
        """As coordinator: return what to say of the newest commit, and note it."""
        body, ordered = self._waiting[-1]
        entries = [
            (body.pulse, index, found)
            for index, (found, first) in enumerate(zip(contributors_of(body), ordered, strict=True))
            if found != first
        ]
        parts = proposals(view, body.pulse, entries, body.state)
        for part in parts:
            self._heard.setdefault(body.pulse, Heard()).add(part)
        return parts

    def propose_again(self, view: int, uncertified: Sequence[Pulse]) -> list[Proposal]:
        """As the coordinator of a new view: say of all commits that are not certified who
        contributed, by this rank's account, and name every task."""
        parts: list[Proposal] = []
        for body in (*uncertified, *(body for body, _ in self._waiting)):
            ranks = enumerate(contributors_of(body))
            entries = [(body.pulse, index, rank) for index, rank in ranks]
            parts += proposals(view, body.pulse, entries, body.state)
        for step in {body.pulse for body, _ in self._waiting}:
            heard = self._heard[step] = Heard()
            for part in parts:
                if part.step == step:
                    heard.add(part)
        return parts

    def hear(self, proposal: Proposal, sender: int, committed: int) -> None:
        """Take in what the coordinator said. Raises ProtocolError for what cannot be."""
        if proposal.step > committed + self._reach:
            raise ProtocolError(f"rank {sender} speaks of commit {proposal.step}, far ahead of all")
        first = self._waiting[0][0].pulse if self._waiting else committed
        if proposal.step >= first:
            self._heard.setdefault(proposal.step, Heard()).add(proposal)

    def close(self) -> list[Pulse]:
        """Remove and return what waits, with the contributors as this rank heard them.

        For a rank that has lost the coordinator: nobody else will say.
        """
        found = [body for body, _ in self._waiting]
        self._waiting.clear()
        return found

    def step(self, number: int) -> Heard | None:
        """Return what the coordinator said of a step when it is complete (free mode)."""
        heard = self._heard.get(number)
        return heard if heard is not None and heard.complete else None

    def forget(self, number: int) -> None:
        """Drop what was said of a step that is committed."""
        self._heard.pop(number, None)

    def take(self, decided: int) -> list[Pulse]:
        """Remove and return the bodies that are complete, in order.

        decided: pulses that the others have agreed on: what they agreed on names the
        contributors, so these need no proposal (its view may be over for this rank). Raises
        InternalError when the coordinator's state differs, or its list does not fit.
        """
        found: list[Pulse] = []
        while self._waiting:
            body, ordered = self._waiting[0]
            heard = self._heard.get(body.pulse)
            if heard is None or not heard.complete:
                if body.pulse >= decided:
                    break
                self._waiting.popleft()
                self._heard.pop(body.pulse, None)
                found.append(body)
                continue
            self._waiting.popleft()
            del self._heard[body.pulse]
            state = heard.first.state
            if state != body.state and not self.patient:
                raise InternalError(
                    f"after pulse {body.pulse} the coordinator is in state {short(state)}, "
                    f"this rank in {short(body.state)}: one of them computes wrongly"
                )
            ranks = list(ordered)
            for pulse, index, rank in heard.entries:
                if pulse != body.pulse or index >= len(ranks):
                    raise InternalError(
                        f"the coordinator named a contributor to task {index} of pulse {pulse}, "
                        f"which is none of pulse {body.pulse}"
                    )
                ranks[index] = rank
            found.append(replace(body, contributors=pack(f">{len(ranks)}H", *ranks)))
        return found


def contributors_of(body: Pulse | Step) -> tuple[int, ...]:
    """Ranks whose results count, per task."""
    packed = body.contributors
    ranks: tuple[int, ...] = unpack(f">{len(packed) // 2}H", packed)
    return ranks
