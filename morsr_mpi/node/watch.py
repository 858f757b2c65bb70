"""Comparison of states: what other ranks say S was after a pulse, against our own S.

Every slot that says anything names the sender's last committed pulse and its digest of S.
Ranks that computed differently are found within a few pulses of the difference.
"""

from __future__ import annotations

from morsr_mpi.base.config import MAX_PULSE_SKEW
from morsr_mpi.base.digest import short
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.node.settings import NodeSettings


class StateWatch:
    """Digests of S by number of committed pulses: ours, and what others claim.

    difference: the first that was found, "" for none; kept where a vote may settle it.
    """

    def __init__(
        self, settings: NodeSettings, committed: int, state: bytes, *, patient: bool = False
    ) -> None:
        """patient: differences are kept, not raised: a dispute about a result may explain them."""
        self._patient = patient
        self.difference = ""
        self._rank = settings.rank
        self._keep = 2 * (MAX_PULSE_SKEW + settings.lag + 2)
        self._own = {committed: state}
        self._claims: dict[int, dict[int, bytes]] = {}
        self._at = [committed] * settings.size
        self.committed = committed
        self.state = state

    @property
    def slowest(self) -> int:
        """Fewest pulses any rank is known to have committed."""
        return min(self._at)

    def advance(self, committed: int, state: bytes) -> None:
        """Note our own state after a commit. Raises InternalError for a different claim."""
        self.committed, self.state = committed, state
        self._at[self._rank] = committed
        self._own[committed] = state
        self._own.pop(committed - self._keep, None)
        for sender, claim in self._claims.pop(committed, {}).items():
            self._compare(sender, committed, claim)

    def hear(self, sender: int, committed: int, state: bytes) -> None:
        """Note what another rank says its state is.

        Raises InternalError when ours differs, ProtocolError for a pulse nobody can be at.
        """
        if committed in self._own:
            self._compare(sender, committed, state)
        elif committed > self.committed + self._keep:
            raise ProtocolError(f"rank {sender} says it has committed {committed} pulses")
        elif committed > self.committed:
            self._claims.setdefault(committed, {})[sender] = state
        self._at[sender] = max(self._at[sender], committed)

    def _compare(self, sender: int, committed: int, state: bytes) -> None:
        if self._own[committed] != state:
            text = (
                f"after pulse {committed - 1} rank {sender} is in state {short(state)}, rank "
                f"{self._rank} in {short(self._own[committed])}: one of them computes wrongly"
            )
            self.differ(text)

    def differ(self, text: str) -> None:
        """Ranks that should be alike are not. Raises InternalError where no vote settles it."""
        if not self._patient:
            raise InternalError(text)
        self.difference = self.difference or text
