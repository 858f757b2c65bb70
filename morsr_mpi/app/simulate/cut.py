"""The cut: an asynchronous network at its most cunning, around one decision.

It delays the COMMIT votes of one height to all but a few ranks, so that only these decide, and
then what these say, so that the others change the view without them. Some ranks do not even
hear the PREPARE votes. All of it arrives in the end: this is delay, which no timer can tell
from death. What was prepared must survive it (PBFT section 4.5.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from morsr_mpi.app.simulate.member import Sent
from morsr_mpi.consensus.messages import Certified, Decision, PrePrepare, VoteCast
from morsr_mpi.consensus.quorum import quorum
from morsr_mpi.consensus.votes import VoteKind


@dataclass
class Cut:
    """height: which decision; knowing: ranks that hear its COMMIT votes; ignorant: ranks that
    do not hear its PREPARE votes; seconds: how long it lasts from its first effect."""

    height: int
    knowing: frozenset[int]
    ignorant: frozenset[int]
    seconds: float
    ends: float | None = None
    effects: int = 0

    def delay(self, now: float, source: int, dest: int, message: Sent, height: int) -> float:
        """Return the seconds by which a message is held back. height: the sender's."""
        if not self._strikes(source, dest, message, height):
            return 0.0
        if self.ends is None:
            self.ends = now + self.seconds
        if now >= self.ends:
            return 0.0
        self.effects += 1
        return self.ends - now

    def _strikes(self, source: int, dest: int, message: Sent, height: int) -> bool:
        if source in self.knowing and height > self.height:
            return dest not in self.knowing
        match message:
            case VoteCast() | PrePrepare():
                subject = message.vote.subject
            case Certified() | Decision():
                subject = message.certificate.subject
            case _:
                return False
        if subject.height != self.height or subject.ballot.view > 0:
            return False
        if subject.kind == VoteKind.COMMIT:
            return dest not in self.knowing
        return dest in self.ignorant and not isinstance(message, PrePrepare)


def draw_cut(draw: Random, size: int, steps: int) -> Cut:
    """Draw a cut; half of the time the next coordinators are those who know least."""
    ranks = list(range(size))
    draw.shuffle(ranks)
    spare = size - quorum(size)
    knowing = frozenset(ranks[: draw.randint(1, max(1, spare))])
    rest = [rank for rank in ranks if rank not in knowing]
    if draw.random() < 0.5:
        rest.sort()
        rest = [rank for rank in rest if rank > 0] + [rank for rank in rest if rank == 0]
    ignorant = frozenset(rest[: draw.randint(0, spare)])
    return Cut(draw.randrange(steps), knowing, ignorant, draw.uniform(0.1, 2.0))
