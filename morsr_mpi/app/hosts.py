"""Are the ranks where they were meant to be? A host file that mpirun did not read puts them all on
one host, and nothing else would say so."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from morsr_mpi.app.agree import Together
from morsr_mpi.base.errors import UsageError


def names_of_hosts(together: Together) -> list[str]:
    """Return the name of each rank's host, in rank order; all ranks call."""
    name = socket.gethostname().encode()[:255]
    return [data.decode(errors="replace") for data in together.exchange(name)]


def check_hosts(names: Sequence[str], expected: int | None) -> None:
    """Raise UsageError when the ranks are on fewer hosts than expected (None: any)."""
    different = sorted(set(names))
    found = len(different)
    if expected is None or found >= expected:
        return
    some = ", ".join(different[:8])
    raise UsageError(
        f"{len(names)} ranks are on {found} host{'s' if found != 1 else ''} ({some}), {expected} "
        "expected: mpirun did not use the host file or the allocation (Open MPI 5 reads "
        "PRTE_MCA_prte_default_hostfile), or change --expect-hosts"
    )
