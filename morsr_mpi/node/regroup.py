"""How the ranks that are left form a new group when theirs is broken (DESIGN section 4).

Crash faults only: the dead are those the MPI runtime reports, the silent those that do not
answer in time. Every rank of a broken group tells all others its status. The lowest rank that
answers makes a plan: members, and who has the newest state. A member that takes part says so
to all members; a rank goes on in the new group once every member has. So no two groups of one
job work at once:

* a plan needs more than half of the ranks that are not reported dead (of exactly half, the
  half with the lowest rank), and every member's consent, which is given to one plan at a time,
  the one of the highest epoch;
* epochs grow, and each number belongs to one rank (epoch mod size), so one epoch, one plan;
* a pulse is committed in an epoch only after a round that all its members have entered.

What was committed before stands: pulses are pure functions of the state, so whoever has
committed most gives its state to those behind. A silent rank is left out at once and taken in
again when it answers; after the hang timeout it is gone for good, as are the dead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from morsr_mpi.base import config
from morsr_mpi.base.errors import ExcludedError, ProtocolError
from morsr_mpi.wire.regrouping import (
    END,
    SEARCH,
    START,
    Consent,
    Excluded,
    Plan,
    Regrouping,
    StatePiece,
    Status,
)

DIED = "died"

#: Messages to send, as (rank, message).
Outgoing = list[tuple[int, Regrouping]]


@dataclass
class Group:
    """Who works together. members: the chief first. gone: left for good, and why.

    absent: left out for now, and since when (seconds).
    """

    epoch: int
    members: tuple[int, ...]
    gone: dict[int, str] = field(default_factory=dict)
    absent: dict[int, float] = field(default_factory=dict)

    @property
    def chief(self) -> int:
        """The rank that keeps the run directory and coordinates first."""
        return self.members[0]


def may_go_on(present: set[int], candidates: set[int]) -> bool:
    """Whether these ranks may form a group: no other disjoint set of candidates may too."""
    double = 2 * len(present & candidates)
    if double == len(candidates):
        return min(candidates) in present
    return double > len(candidates)


class Regroup:
    """One attempt of one rank to be in a group again; from `Group` to `Plan`."""

    def __init__(
        self,
        rank: int,
        size: int,
        group: Group,
        *,
        phase: int,
        committed: int,
        now: float,
        hang_timeout: float,
        gap: int = 0,
        gather: float = config.GATHER_SECONDS,
    ) -> None:
        """phase, committed: what this rank was doing, and pulses in its state; gap: in ms, the
        longest time it did not look at the others; gather: seconds to wait for an answer."""
        self.plan: Plan | None = None
        self._rank = rank
        self._size = size
        self._group = group
        self._gone = dict(group.gone)
        self._phase = phase
        self._committed = committed
        self._hang = hang_timeout
        self._gap = gap
        self._gather = gather
        self._floor = group.epoch + 1
        self._began = now
        self._said = float("-inf")
        self._heard: dict[int, tuple[Status, float]] = {}
        self._plan_at = now
        self._consents: dict[int, set[int]] = {}

    @property
    def formed(self) -> bool:
        """Whether every member of the plan takes part."""
        return self.plan is not None and set(self.plan.members) <= self._consents.get(
            self.plan.epoch, set()
        )

    @property
    def candidates(self) -> set[int]:
        """Ranks that are not gone."""
        return set(range(self._size)) - set(self._gone)

    def fail(self, dead: frozenset[int], now: float) -> None:
        """Note reports of deaths; a plan with a dead member is void."""
        new = dead - set(self._gone)
        for rank in new:
            self._gone[rank] = DIED
        if new:
            self._said = float("-inf")
            self._check_plan(now)

    def hear(self, sender: int, message: Regrouping, now: float) -> Outgoing:
        """Take in a message; return the answers. Raises ExcludedError, ProtocolError."""
        if sender in self._gone:
            if isinstance(message, Status) and self._gone[sender] != DIED:
                return [(sender, Excluded(self._group.epoch, self._gone[sender]))]
            return []
        match message:
            case Status():
                self._heard[sender] = (message, now)
                for rank, why in message.gone:
                    self._note_gone(rank, why, now)
            case Plan():
                return self._consider(sender, message, now)
            case Consent():
                self._consents.setdefault(message.epoch, set()).add(sender)
            case Excluded():
                raise ExcludedError(f"the other ranks went on without this one: {message.reason}")
            case StatePiece():
                pass  # of a plan that was given up
        return []

    def tick(self, now: float) -> Outgoing:
        """Say what is due: the status again, a plan when it can be made."""
        out: Outgoing = []
        late = now - self._plan_at > config.FORM_SECONDS
        if self.plan is not None and late and not self.formed:
            self._give_up_plan(now)
        if now - self._said >= config.STATUS_SECONDS and not self.formed:
            self._said = now
            status = Status(
                self._group.epoch, self._floor, self._group.chief, self._phase,
                self._committed, tuple(sorted(self._gone.items())), self._gap,
            )  # fmt: skip
            out += [(rank, status) for rank in sorted(self.candidates - {self._rank})]
        if self.plan is None:
            plan = self._make_plan(now)
            if plan is not None:
                out += [(rank, plan) for rank in plan.members if rank != self._rank]
                out += self._consider(self._rank, plan, now)
        return out

    def hopeless(self, now: float) -> bool:
        """Whether too few answer for too long."""
        return now - self._began > 2.0 * self._hang and self.plan is None

    # --- plans -----------------------------------------------------------------------------
    def _present(self, now: float) -> set[int]:
        """Ranks that answer, this one included."""
        found = {
            rank
            for rank, (_, at) in self._heard.items()
            if now - at <= config.PRESENT_SECONDS and rank not in self._gone
        }
        return found | {self._rank}

    def _make_plan(self, now: float) -> Plan | None:
        present, candidates = self._present(now), self.candidates
        if min(present) != self._rank or not may_go_on(present, candidates):
            return None
        mine = Status(
            self._group.epoch, self._floor, self._group.chief, self._phase, self._committed, (),
            self._gap,
        )  # fmt: skip
        said = {rank: self._heard[rank][0] for rank in present - {self._rank}}
        said[self._rank] = mine
        newest = max(status.epoch for status in said.values())
        # Who was in the last group is waited for: shortly in the search, where the work goes on
        # without it, longer where ranks may be busy with files or factors.
        expected = (set(self._group.members) & candidates) - set(self._group.absent)
        quick = all(status.phase == SEARCH for status in said.values())
        patience = self._gather if quick else self._hang
        if not expected <= present and now - self._began < patience:
            return None
        begun = [status.phase for status in said.values() if status.phase != START]
        phase = min(begun, default=START)
        chiefs = {s.chief for s in said.values() if s.epoch == newest}
        able = [r for r, s in said.items() if s.phase != START or phase == START]
        chief = min((c for c in chiefs if c in present and c in able), default=min(able))
        source = min(able, key=lambda r: (-said[r].committed, r != chief, r))
        most = said[source].committed
        behind = [r for r, s in said.items() if s.committed < most or r not in able]
        floor = max(status.floor for status in said.values())
        gone = dict(self._gone)
        for rank, since in self._group.absent.items():
            if rank not in present and now - since > self._hang:
                gone.setdefault(rank, f"made no progress for {self._hang:g} s")
        return Plan(
            epoch=floor + (self._rank - floor) % self._size,
            members=(chief, *sorted(present - {chief})),
            source=source,
            behind=tuple(sorted(behind)) if phase != START else (),
            phase=phase,
            committed=most,
            gone=tuple(sorted(gone.items())),
            gap=max(status.gap for status in said.values()),
        )

    def _consider(self, sender: int, plan: Plan, now: float) -> Outgoing:
        """Consent to a plan, unless a newer one was agreed to or somebody in it is dead."""
        if plan.epoch < self._floor or self._rank not in plan.members:
            return []
        if sender not in plan.members or plan.epoch % self._size != sender:
            raise ProtocolError(f"rank {sender} sent a plan that is not its own")
        if self.plan is not None and plan.epoch <= self.plan.epoch:
            return []
        if set(plan.members) & set(self._gone):
            return []
        self.plan, self._plan_at = plan, now
        self._floor = plan.epoch
        for rank, why in plan.gone:
            self._gone.setdefault(rank, why)
        consent = Consent(plan.epoch)
        self._consents.setdefault(plan.epoch, set()).update((sender, self._rank))
        return [(rank, consent) for rank in plan.members if rank != self._rank]

    def _note_gone(self, rank: int, why: str, now: float) -> None:
        if rank == self._rank:
            raise ExcludedError(f"the other ranks went on without this one: {why}")
        if self._gone.setdefault(rank, why) is why:
            self._check_plan(now)

    def _check_plan(self, now: float) -> None:
        if self.plan is not None and set(self.plan.members) & set(self._gone):
            self._give_up_plan(now)

    def _give_up_plan(self, now: float) -> None:
        """Take only newer plans from now on."""
        assert self.plan is not None
        self._floor = self.plan.epoch + 1
        self.plan = None
        self._began = now
        self._said = float("-inf")


def next_group(group: Group, plan: Plan, now: float) -> Group:
    """Return the group of a plan that was formed; who is neither in it nor gone is absent."""
    gone = dict(plan.gone)
    everybody = set(group.members) | set(group.absent)
    absent = {
        rank: group.absent.get(rank, now)
        for rank in sorted(everybody - set(plan.members) - set(gone))
    }
    return Group(plan.epoch, plan.members, gone, absent)


__all__ = [
    "DIED", "END", "SEARCH", "START", "Group", "Regroup", "may_go_on", "next_group",
]  # fmt: skip
