"""View change: what is claimed, when a view may begin, and what must be proposed in it.

PBFT sections 4.4 and 4.5.2, for one decision at a time. A rank that asks for a view votes in
no lower one any more, at any height. Of enough claims, the highest height h counts; whatever
may have been decided there was prepared by a quorum first, so an honest claim among these
names it, and of several the one prepared in the highest view. That value is proposed again;
without any, and at later heights, the primary is free.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from morsr_mpi.base.digest import sha256
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.messages import NewView, ViewChange
from morsr_mpi.consensus.quorum import survivors_needed, survivors_suffice
from morsr_mpi.consensus.tally import Tally
from morsr_mpi.consensus.trust import Trust
from morsr_mpi.consensus.votes import Ballot, Claim, Subject, Vote, VoteKind


@dataclass(frozen=True, slots=True)
class Base:
    """From where a view goes on: at `height` only `digest` may be proposed, where it is not
    None; later heights are free. sure: see `survivors_suffice`."""

    height: int
    digest: bytes | None = None
    sure: bool = True


def subject_of(members: Membership, view: int, claim: Claim) -> Subject:
    """What a VIEW_CHANGE vote is about."""
    ballot = Ballot(members.epoch, view)
    return Subject(VoteKind.VIEW_CHANGE, members.digest, ballot, claim.height, claim.named())


def proven(change: ViewChange, trust: Trust, tally: Tally) -> bool:
    """Whether a view change proves its claim: the decision before its height, and the
    certificate and bytes of what it says was prepared."""
    claim, prepared = change.claim, change.prepared
    if not _stable(change.stable, claim.height, trust, tally):
        return False
    if claim.ballot is None or prepared is None or change.value is None:
        return claim.ballot is None and prepared is None and change.value is None
    return (
        claim.ballot < change.vote.subject.ballot
        and _is_prepared(prepared, claim)
        and sha256(change.value) == claim.digest
        and trust.believes(prepared, VoteKind.PREPARE, tally)
    )


def assemble(members: Membership, view: int, changes: Iterable[ViewChange]) -> NewView:
    """Return the NEW-VIEW of proven view changes; whether they are enough `judge` says."""
    proofs = sorted(changes, key=lambda change: change.vote.voter)
    height = max(change.claim.height for change in proofs)
    stable = next(c.stable for c in proofs if c.claim.height == height)
    best = _best([c.claim for c in proofs], height)
    prepared = next((c.prepared for c in proofs if best and c.claim == best), None)
    claims = tuple((c.vote.voter, c.claim, c.vote.signature) for c in proofs)
    return NewView(Ballot(members.epoch, view), members.digest, claims, stable, prepared)


def judge(new: NewView, members: Membership, trust: Trust, tally: Tally) -> Base | None:
    """Return from where the view goes on, None when this NEW-VIEW does not allow it to begin."""
    ranks = [rank for rank, _, _ in new.claims]
    if new.members != members.digest or new.ballot.epoch != members.epoch or not ranks:
        return None
    if ranks != sorted(set(ranks)) or not set(ranks) <= set(members.ranks):
        return None
    claims = [claim for _, claim, _ in new.claims]
    height = max(claim.height for claim in claims)
    before = before_of(new.stable, trust)
    if before < members.size or len(ranks) < survivors_needed(before, members.size):
        return None
    best = _best(claims, height)
    if best is not None:
        rivals = {c.digest for c in claims if c.height == height and c.ballot == best.ballot}
        if len(rivals) > 1 or best.ballot is None or best.ballot >= new.ballot:
            return None
        if new.prepared is None or not _is_prepared(new.prepared, best):
            return None
        if not trust.believes(new.prepared, VoteKind.PREPARE, tally):
            return None
    if not _stable(new.stable, height, trust, tally):
        return None
    for rank, claim, signature in new.claims:
        vote = Vote(subject_of(members, new.ballot.view, claim), rank, signature)
        if not (tally.has(vote) or trust.signed(vote)):
            return None
    sure = survivors_suffice(before, members.size)
    return Base(height, best.digest if best else None, sure)


def before_of(stable: Certificate | None, trust: Trust) -> int:
    """Members of the last decision: the most that can have voted on the next one."""
    return trust.first.size if stable is None else stable.members.size


def _best(claims: Iterable[Claim], height: int) -> Claim | None:
    """The claim at a height that was prepared in the highest view."""
    named = [c for c in claims if c.height == height and c.ballot is not None]
    return max(named, key=lambda c: (c.ballot or Ballot(0, 0), c.digest), default=None)


def _is_prepared(prepared: Certificate, claim: Claim) -> bool:
    subject = prepared.subject
    named = (subject.height, subject.ballot, subject.digest)
    return named == (claim.height, claim.ballot, claim.digest)


def _stable(stable: Certificate | None, height: int, trust: Trust, tally: Tally) -> bool:
    """Whether a certificate proves that the decision before a height was taken."""
    if stable is None or height == trust.height:
        return stable is None and height == trust.height
    return stable.subject.height == height - 1 and trust.believes(stable, VoteKind.COMMIT, tally)


class ChangeBook:
    """The latest view change of each member of one membership, signature checked."""

    def __init__(self) -> None:
        self._latest: dict[int, ViewChange] = {}

    def add(self, change: ViewChange) -> None:
        """Keep a view change unless its sender has asked for a later view already."""
        known = self._latest.get(change.vote.voter)
        if known is not None:
            was, now = known.vote.subject.ballot.view, change.vote.subject.ballot.view
            if now < was or (now == was and change.stable is None and change.prepared is None):
                return
        self._latest[change.vote.voter] = change

    def voters(self, view: int) -> list[int]:
        """Who has asked for a view or a later one."""
        return [r for r, c in sorted(self._latest.items()) if c.vote.subject.ballot.view >= view]

    def at(self, view: int) -> list[ViewChange]:
        """The view changes to exactly this view."""
        changes = [c for _, c in sorted(self._latest.items())]
        return [c for c in changes if c.vote.subject.ballot.view == view]

    def later(self, view: int, enough: int) -> int | None:
        """The view to join: `enough` members, one of them honest, ask for it or a later one
        (PBFT section 4.5.2). None when too few have given up this view."""
        views = sorted((c.vote.subject.ballot.view for c in self._latest.values()), reverse=True)
        return views[enough - 1] if len(views) >= enough and views[enough - 1] > view else None
