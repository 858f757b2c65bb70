"""Ranks that lie or keep silent, for tests: nodes whose messages are changed on their way out."""

from __future__ import annotations

from typing import Any

from morsr_mpi.base.digest import sha256
from morsr_mpi.consensus.messages import (
    Decision,
    NewView,
    PrePrepare,
    ViewChange,
    VoteCast,
    decode_message,
    encode_message,
)
from morsr_mpi.consensus.values import Step
from morsr_mpi.consensus.votes import Subject, VoteKind
from morsr_mpi.consensus.votes import Vote as SignedVote
from morsr_mpi.node.core import Node
from morsr_mpi.wire.messages import Message, Order
from morsr_mpi.wire.steering import Proposal, Reassignment
from morsr_mpi.wire.votes import Vote

OTHER = Step(b"something else").encode()


class LyingNode(Node):
    """kind: how it lies, from pulse `since` on."""

    kind = ""
    since = 3

    @property
    def _lies(self) -> bool:
        return self.search.committed >= self.since

    def _meet(self, slots: tuple[bytes, ...]) -> None:
        super()._meet(slots)
        say = self._channel.say

        def filtered(message: Message) -> None:
            steering = isinstance(message, Order | Proposal | Reassignment)
            if not (self.kind == "silent coordinator" and steering and self._lies):
                say(message)

        self._channel.say = filtered  # type: ignore[method-assign]

    def _send(self, dest: int, message: Message) -> None:
        if not isinstance(message, Vote) or not self._lies:
            return super()._send(dest, message)
        vote = decode_message(message.body, self.settings.rank)
        if self.kind == "withholds votes":
            return None
        if self.kind == "equivocates" and isinstance(vote, PrePrepare) and dest % 2:
            changed = PrePrepare(self._other(vote.vote.subject), OTHER)
            return super()._send(dest, Vote(encode_message(changed)))
        if self.kind == "votes twice" and isinstance(vote, VoteCast):
            twice = VoteCast(self._other(vote.vote.subject))
            super()._send(dest, Vote(encode_message(twice)))
        if self.kind == "old votes" and isinstance(vote, VoteCast | PrePrepare):
            old = self.__dict__.setdefault("_first", message)
            super()._send(dest, old)
        if self.kind == "forged votes" and isinstance(vote, VoteCast):
            subject = vote.vote.subject
            victim = (self.settings.rank + 1) % self.settings.size
            forged = VoteCast(SignedVote(self._other(subject).subject, victim, bytes(32)))
            super()._send(dest, Vote(encode_message(forged)))
        if self.kind == "stale views" and isinstance(vote, ViewChange | NewView | Decision):
            return None
        return super()._send(dest, message)

    def _other(self, subject: Subject) -> SignedVote:
        kind = VoteKind.PREPARE if subject.kind == VoteKind.PREPARE else subject.kind
        other = Subject(kind, subject.members, subject.ballot, subject.height, sha256(OTHER))
        signature = self._signer.sign(other.signed_bytes(self._met().run))
        return SignedVote(other, self.settings.rank, signature)


def lying(kind: str, since: int = 3) -> type[Any]:
    """A kind of node that lies so."""
    return type("Liar", (LyingNode,), {"kind": kind, "since": since})
