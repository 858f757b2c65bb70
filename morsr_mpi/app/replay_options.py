"""The search options of a recorded run, from its journal."""

from __future__ import annotations

from morsr_mpi.base.errors import TamperError
from morsr_mpi.provenance.bodies import Genesis
from morsr_mpi.provenance.groups import RunGroup
from morsr_mpi.search.options import SearchOptions


def options_of(group: RunGroup, genesis: Genesis) -> SearchOptions:
    """Return the options of a group of ranks.

    They must have the digest in the genesis. Raises TamperError when they do not, or cannot be
    known: journals before 0.3.0 keep them only where they are the defaults.
    """
    found = None
    match group.agreed:
        case ((None | int()) as work, *more) if type(work) is not bool:
            assert work is None or isinstance(work, int)
            recorded = tuple(more[1:])  # after the ranks that were left out
            try:
                found = SearchOptions.of_record(work, group.lag, group.free, recorded)
            except ValueError:
                found = None
    if found is None or found.digest() != genesis.options:
        raise TamperError(
            f"journal record {group.position} does not tell the options of the run: it cannot be "
            "replayed as a whole, its task records can (--sample)"
        )
    return found
