"""Going back behind what a convicted rank has computed (DESIGN section 4).

A run that expels a rank starts again from the state it started from, and runs forward from the
results that the others gave: only the convict's are computed again, so the bits are those of a
run of honest ranks. A rank that missed the verdict learns of it when the ranks regroup: who has
gone back counts as further than all who have not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import pack

from morsr_mpi.provenance.bodies import Rollback

#: What is told of a rank that a quorum has convicted.
CONVICTED = "computed wrongly"
#: More than pulses are committed in any run.
_GENERATION = 1 << 48


def standing(generation: int, committed: int) -> int:
    """One number for how far a rank is. generation: how often the run has gone back."""
    return generation * _GENERATION + committed


def parts_of(standing: int) -> tuple[int, int]:
    """Return generation and pulses committed."""
    return divmod(standing, _GENERATION)


def recorded_rollback(committed: int, liars: Iterable[int], gone: Mapping[int, str]) -> Rollback:
    """Return the journal's record.

    committed: pulses in the state that the run goes back to; liars: whom this rank has found
    guilty; gone: who left the job, and why. Numbers in the job.
    """
    ranks = sorted({*liars, *(rank for rank, why in gone.items() if why == CONVICTED)})
    return Rollback(committed, pack(f">{len(ranks)}H", *ranks))
