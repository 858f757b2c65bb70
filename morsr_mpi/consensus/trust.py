"""What a rank believes: keys, the run's id, and memberships that follow from ranks gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.tally import Tally
from morsr_mpi.consensus.votes import Subject, Vote, VoteKind


@dataclass
class Trust:
    """run: id of the run; keys: public key of each rank; first: membership at the start;
    height: number of the first decision; gone: ranks reported dead or excluded by decision."""

    rank: int
    run: bytes
    keys: Mapping[int, bytes]
    signer: Signer
    first: Membership
    height: int
    gone: set[int] = field(default_factory=set)

    def sign(self, subject: Subject) -> Vote:
        """Return this rank's vote."""
        return Vote(subject, self.rank, self.signer.sign(subject.signed_bytes(self.run)))

    def signed(self, vote: Vote) -> bool:
        """Whether the rank a vote names signed it."""
        return vote.valid(self.run, self.keys, self.signer)

    def believes(self, certificate: Certificate, kind: VoteKind, tally: Tally) -> bool:
        """Whether a certificate is valid and its membership one that this rank can confirm:
        all who are missing from it are known to be gone."""
        members = certificate.members
        missing = set(self.first.ranks) - set(members.ranks)
        return (
            members.started == self.first.started
            and set(members.ranks) <= set(self.first.ranks)
            and missing <= self.gone
            and certificate.valid(kind, self.run, self.keys, self.signer, _Checked(tally))
        )


class _Checked:
    """Votes in a tally, as a collection that can be asked for one of them."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def __contains__(self, vote: object) -> bool:
        return isinstance(vote, Vote) and self._tally.has(vote)
