"""What is agreed on: steps of the computation, opaque here, and ranks that have to leave."""

from __future__ import annotations

from dataclasses import dataclass

from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.config import MAX_RANKS, MAX_VALUE_BYTES
from morsr_mpi.consensus.certificate import some
from morsr_mpi.consensus.votes import number, row

_STEP = "step"
_LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of what the cluster computes. payload: canonical bytes of the layer above."""

    payload: bytes

    def encode(self) -> bytes:
        """Canonical bytes."""
        return encode((_STEP, self.payload))


@dataclass(frozen=True, slots=True)
class Leave:
    """Living ranks that are members no more, and why (DESIGN section 4: only a certificate of
    the old membership's quorum removes them). grounds: evidence or reasons, canonical bytes of
    the layer above, which checks them before it votes."""

    ranks: tuple[int, ...]
    grounds: bytes

    def encode(self) -> bytes:
        """Canonical bytes."""
        return encode((_LEAVE, self.ranks, self.grounds))


def decode_value(data: bytes) -> Step | Leave:
    """Return the value in these bytes. Raises ValueError for anything else."""
    fields = decode(data, MAX_VALUE_BYTES)
    if type(fields) is tuple and fields and fields[0] == _STEP:
        _, payload = row(fields, 2)
        if type(payload) is bytes:
            return Step(payload)
    elif type(fields) is tuple and fields and fields[0] == _LEAVE:
        _, ranks, grounds = row(fields, 3)
        found = tuple(number(rank, MAX_RANKS - 1) for rank in some(ranks, MAX_RANKS))
        if found and list(found) == sorted(set(found)) and type(grounds) is bytes:
            return Leave(found, grounds)
    raise ValueError("neither a step nor a list of ranks that leave")
