"""Stopping early, and ending: all ranks in the same state, at the same pulse.

Any rank may ask. The coordinator answers by ordering the next pulse with `stop` set: pulses
before it are committed, and the next is planned after each as always, but it and what follows
are not executed. So the state at the stop is one that an undisturbed run passes through, with
the pulses in flight planned as there, and going on from it gives the same bits.
"""

from __future__ import annotations

from morsr_mpi.base.config import MAX_REASON
from morsr_mpi.base.digest import short
from morsr_mpi.base.errors import InternalError, ProtocolError
from morsr_mpi.base.ports import Signer
from morsr_mpi.node.pulses import PulseBook
from morsr_mpi.provenance.bodies import Seal, Stop
from morsr_mpi.provenance.chain import Chain
from morsr_mpi.wire.messages import Done, StopRequest


class StopBook:
    """Requests to stop, and who is done."""

    def __init__(self, size: int) -> None:
        self.reason = ""
        self._size = size
        self._done: dict[int, Done] = {}

    def request(self, reason: str) -> StopRequest | None:
        """Note a request of this rank; return the message for the coordinator, once."""
        first = not self.reason
        self.reason = self.reason or reason[:MAX_REASON] or "stop requested"
        return StopRequest(self.reason) if first else None

    def hear(self, request: StopRequest) -> None:
        """Note a request of another rank."""
        self.reason = self.reason or request.reason or "stop requested"

    def finish(self, sender: int, done: Done) -> None:
        """Note that a rank is done. Raises ProtocolError if it says so twice differently."""
        if self._done.setdefault(sender, done) != done:
            raise ProtocolError(f"rank {sender} ended twice, in different states")

    def agreed(self, own: Done) -> bool:
        """Whether all ranks are done like this one.

        Raises InternalError naming the rank that ended elsewhere.
        """
        for rank, done in sorted(self._done.items()):
            if done != own:
                raise InternalError(
                    f"rank {rank} ended after {done.committed} pulses in state "
                    f"{short(done.state)} with journal {short(done.head)}, this rank after "
                    f"{own.committed} in state {short(own.state)} with journal {short(own.head)}"
                )
        return len(self._done) == self._size


def end_of_run(pulses: PulseBook, chain: Chain) -> tuple[str, list[bytes], Done]:
    """Nothing is left to commit: return why early, the journal's record of that, and DONE.

    Raises InternalError when the search neither plans anything nor is finished.
    """
    committed, state = pulses.committed, pulses.search.state_digest()
    if pulses.open or pulses.stop:
        why = pulses.stop
        return why, [chain.append(Stop(committed, state, why))], _done(committed, state, chain)
    if not pulses.search.finished:
        raise InternalError(f"after {committed} pulses nothing is planned, and not all is done")
    return "", [], _done(committed, state, chain)


def append_seal(chain: Chain, seal: Seal, rank: int, signer: Signer) -> bytes:
    """Sign a seal as one rank, where ranks sign, and return its record."""
    signature = signer.sign(seal.signed_bytes(chain.point.head))
    signed = ((rank, signature),) if signature else ()
    return chain.append(Seal(seal.committed, seal.state, seal.files, signed))


def _done(committed: int, state: bytes, chain: Chain) -> Done:
    return Done(committed, state, chain.point.head)
