"""The tally: checked votes by subject, one for each voter, and who voted twice.

Memory is bounded per voter: whoever votes on many things loses its own oldest votes.
"""

from __future__ import annotations

from collections import OrderedDict

from morsr_mpi.base.config import MAX_TALLIED_VOTES
from morsr_mpi.consensus.evidence import DoubleVote
from morsr_mpi.consensus.votes import EXCLUSIVE, Ballot, Subject, Vote, VoteKind

#: What a voter may vote on once: kind, membership, ballot, height.
_Question = tuple[VoteKind, bytes, Ballot, int]


def _question(subject: Subject) -> _Question:
    return (subject.kind, subject.members, subject.ballot, subject.height)


class Tally:
    """Votes whose signature was checked by the caller."""

    def __init__(self) -> None:
        self._answers: dict[_Question, dict[int, Vote]] = {}
        self._asked: dict[int, OrderedDict[_Question, None]] = {}

    def add(self, vote: Vote) -> DoubleVote | None:
        """Count a vote; return evidence when its voter answered the question before, otherwise.

        The first answer is the one that counts.
        """
        question = _question(vote.subject)
        known = self._answers.setdefault(question, {}).setdefault(vote.voter, vote)
        asked = self._asked.setdefault(vote.voter, OrderedDict())
        asked[question] = None
        while len(asked) > MAX_TALLIED_VOTES:
            self._forget(asked.popitem(last=False)[0], vote.voter)
        if known.subject != vote.subject and vote.subject.kind in EXCLUSIVE:
            return DoubleVote.of(known, vote)
        return None

    def has(self, vote: Vote) -> bool:
        """Whether exactly this vote was counted, signature and all."""
        return self._answers.get(_question(vote.subject), {}).get(vote.voter) == vote

    def answered(self, subject: Subject, voter: int) -> bool:
        """Whether a rank has voted just so."""
        vote = self._answers.get(_question(subject), {}).get(voter)
        return vote is not None and vote.subject == subject

    def contradicts(self, vote: Vote) -> bool:
        """Whether the voter is known to have answered the same question otherwise."""
        known = self._answers.get(_question(vote.subject), {}).get(vote.voter)
        return known is not None and known.subject != vote.subject

    def votes(self, subject: Subject) -> list[Vote]:
        """The votes for a subject."""
        answers = self._answers.get(_question(subject), {})
        return [vote for vote in answers.values() if vote.subject == subject]

    def forget_below(self, height: int) -> None:
        """Drop what is decided (PBFT section 4.3: below the stable point)."""
        for question in [q for q in self._answers if q[3] < height]:
            for voter in self._answers.pop(question):
                self._asked[voter].pop(question, None)

    def _forget(self, question: _Question, voter: int) -> None:
        answers = self._answers.get(question)
        if answers is not None:
            answers.pop(voter, None)
            if not answers:
                del self._answers[question]
