"""Quorum arithmetic, exact integers (paper sections 2.3 and 9.1, DESIGN section 4).

With N members and f of them arbitrarily faulty, two quorums share an honest member when
2 q - N >= f + 1, and honest members alone form a quorum when q <= N - f. Both hold for
q = (N + f) // 2 + 1 whenever N >= 3 f + 1; the often quoted 2 f + 1 fails the first
condition for N > 3 f + 1 (N = 128: 85 + 85 - 128 = 42 < 43).
"""

from __future__ import annotations

from morsr_mpi.base.errors import InternalError


def max_faulty(members: int) -> int:
    """Return f = (N - 1) // 3, the faulty members that N members tolerate.

    Raises InternalError for N < 1.
    """
    if members < 1:
        raise InternalError(f"a membership of {members} ranks has no quorum")
    return (members - 1) // 3


def quorum(members: int) -> int:
    """Return the size of a quorum of N members, (N + f) // 2 + 1.

    Raises InternalError for N < 1.
    """
    return (members + max_faulty(members)) // 2 + 1


def survivors_needed(before: int, after: int) -> int:
    """Return how many of `after` survivors must report before they go on as a membership.

    A decision of the `before` members had quorum(before) votes. Enough reports to meet one
    honest voter of it, f(after) liars aside, are before - quorum(before) + f(after) + 1; never
    fewer than a quorum of the survivors, never more than there are. With `after` = `before` it
    is the ordinary quorum of a view change. Raises InternalError for impossible numbers.
    """
    if not 1 <= after <= before:
        raise InternalError(f"{after} of {before} members cannot survive")
    wanted = before - quorum(before) + max_faulty(after) + 1
    return min(after, max(quorum(after), wanted))


def survivors_suffice(before: int, after: int) -> bool:
    """Whether the reports of the survivors are sure to show every decision of all before.

    False when so many died at once that a decision may have been known to the dead alone.
    """
    return after >= before - quorum(before) + max_faulty(after) + 1
