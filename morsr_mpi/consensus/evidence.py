"""Evidence of a double vote: two signed statements of which an honest rank makes only one.

It is complete in itself: whoever has the public keys and the run's id can check it, and
without the culprit's key nobody can make it. Equivocation of a primary is a case of it, since
its pre-prepare is its PREPARE vote. View changes are left out: an honest rank may learn of a
decision while it waits for the new view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus.votes import EXCLUSIVE, Vote, row

_KIND = "double vote"
#: How evidence begins: no message of the agreement does.
EVIDENCE_PREFIX = encode((_KIND, 0, 0))[: len(encode(_KIND)) + 1]


@dataclass(frozen=True, slots=True)
class DoubleVote:
    """Two votes of one rank, in the order of their digests."""

    first: Vote
    second: Vote

    @classmethod
    def of(cls, a: Vote, b: Vote) -> DoubleVote:
        """Return the two votes in the order that does not depend on who saw which first."""
        a, b = sorted((a, b), key=lambda vote: vote.subject.digest)
        return cls(a, b)

    @property
    def culprit(self) -> int:
        """Who voted twice, if the evidence is valid."""
        return self.first.voter

    def valid(self, run: bytes, keys: Mapping[int, bytes], signer: Signer) -> bool:
        """Whether one rank signed both, and both cannot be an honest rank's.

        Never true where nothing is signed: there, anybody could have written them.
        """
        a, b = self.first.subject, self.second.subject
        return (
            signer.signature_bytes > 0
            and self.first.voter == self.second.voter
            and a.kind == b.kind
            and a.kind in EXCLUSIVE
            and (a.members, a.ballot, a.height) == (b.members, b.ballot, b.height)
            and a.digest < b.digest
            and self.first.valid(run, keys, signer)
            and self.second.valid(run, keys, signer)
        )

    def encode(self) -> bytes:
        """Canonical bytes; they begin with `EVIDENCE_PREFIX`."""
        return encode((_KIND, self.first.fields(), self.second.fields()))

    @classmethod
    def decode(cls, data: bytes) -> DoubleVote:
        """Return the evidence in these bytes. Raises ValueError for anything else."""
        kind, first, second = row(decode(data), 3)
        if kind != _KIND:
            raise ValueError("no evidence of a double vote")
        return cls(Vote.parse(first), Vote.parse(second))
