"""What a snapshot of S says to people: open chambers by depth. Needs no problem."""

from __future__ import annotations

from collections import Counter

from morsr_mpi.base.canonical import CanonicalError, decode
from morsr_mpi.base.errors import InputError, InternalError
from morsr_mpi.search.state import SNAPSHOT_TAG, SNAPSHOT_VERSION
from morsr_mpi.search.target import TargetState


def open_chambers(snapshot: bytes) -> dict[int, int]:
    """Return how many chambers are open, all targets together, by their depth in tiles.

    Those in flight are not among them. Raises InputError for a malformed snapshot.
    """
    try:
        match decode(snapshot):
            case (str(tag), int(version), tuple(), tuple(units)) if (tag, version) == (
                SNAPSHOT_TAG,
                SNAPSHOT_VERSION,
            ):
                counts: Counter[int] = Counter()
                for unit in units:
                    frontier = TargetState.from_bytes(bytes(unit)).frontier
                    counts.update(chamber.depth for chamber in frontier)
                return dict(sorted(counts.items()))
    except (CanonicalError, InternalError, TypeError, ValueError) as error:
        raise InputError(f"the checkpoint's state cannot be read: {error}") from None
    raise InputError("the checkpoint's state is malformed")
