"""Shared data of a node (DESIGN section 4): Q, factors and what else is the same for all ranks.

One rank of each node computes and publishes, the others map; every rank checks the digests at
start and again with each checkpoint.  Where there is no room, or one rank only, everything stays
in private memory; the bits are the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from morsr_mpi.adapters.shared_factors import SharedFactors
from morsr_mpi.adapters.shared_file import SharedArrays, map_shared, write_shared
from morsr_mpi.adapters.shared_space import (
    SharedSpace,
    candidates,
    node_identity,
    remove_stale,
)
from morsr_mpi.app.agree import Together
from morsr_mpi.app.keeper import Interval
from morsr_mpi.base.canonical import decode, encode
from morsr_mpi.base.errors import InternalError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.prepare import Prepared, prepare
from morsr_mpi.search.sharing import (
    Flat,
    flatten_prepared,
    flatten_problem,
    rebuild_prepared,
    rebuild_problem,
)

#: Below this a copy per rank costs less than the trouble.
SMALLEST_BYTES = 1 << 20
#: Megabytes checked at a time: some 3 ms.
CHECK_BLOCKS = 4
Describe = Callable[[Exception], str]


class NodeData:
    """What this rank shares with the others of its node; all ranks take every step together.

    check_every: seconds between checks of the maps, from `now` (monotonic seconds) on.
    once: whether a rank may load the problem for all of its node.
    notes: why memory is not shared although several ranks are on this node.
    """

    def __init__(self, check_every: float, now: float) -> None:
        self.once = False
        self.notes: list[str] = []
        self._checks = Interval(check_every, now)
        self._space: SharedSpace | None = None
        self._maps: list[SharedArrays] = []
        self._patrol: Iterator[None] = iter(())

    def meet(self, together: Together) -> None:
        """Find the other ranks of this node; once more after ranks were lost at the start."""
        self.close()
        self._maps, self._together = [], together
        identities = together.exchange(encode(node_identity()))
        mine = identities[together.rank]
        self._members = [rank for rank, other in enumerate(identities) if other == mine]
        if len(self._members) < 2 or decode(mine) == ():
            self._members = [together.rank]
        self._publisher = self._members[0]

    @property
    def rank(self) -> int:
        """This rank."""
        return self._together.rank

    @property
    def shares(self) -> bool:
        """Whether this rank is one of several of its node."""
        return len(self._members) > 1

    @property
    def summary(self) -> str:
        """One line for people."""
        return f"{self.nbytes / 2**20:.1f} MiB are shared by the {len(self._members)} ranks here"

    @property
    def nbytes(self) -> int:
        """Bytes of the maps that this rank holds in common with others."""
        return sum(shared.nbytes for shared in self._maps)

    def problem(
        self,
        load: Callable[[], QuadraticProblem],
        kept: QuadraticProblem | None,
        describe: Describe,
    ) -> QuadraticProblem:
        """Load the problem, once per node where `once`; raises CommonError if that fails anywhere.

        A problem that every rank has in memory anyway is not shared. kept: of an earlier start.
        """
        agree = self._together.agree
        if not self.once:
            return agree(lambda: kept or load(), describe)
        publishes = self._together.rank == self._publisher
        own = agree(lambda: (kept or load()) if publishes else None, describe)
        shared = self._publish(lambda: None if own is None else flatten_problem(own))
        if shared is None:
            return agree(lambda: own or kept or load(), describe)
        return rebuild_problem(shared.tree, shared.arrays)

    def prepared(
        self, problem: QuadraticProblem, kept: Prepared | None, describe: Describe
    ) -> Prepared:
        """Prepare the problem once per node; raises CommonError where that fails anywhere.

        kept: of an earlier start.
        """
        agree = self._together.agree
        digests = self._together.exchange(problem.digest)
        if len({digests[rank] for rank in self._members}) > 1:
            self._members = [self._together.rank]  # the start-up is going to name who differs
            self._publisher = self._together.rank
        publishes = self._together.rank == self._publisher
        own = agree(lambda: (kept or prepare(problem)) if publishes else None, describe)
        shared = self._publish(lambda: None if own is None else flatten_prepared(own))
        if shared is None:
            return agree(lambda: own or kept or prepare(problem), describe)
        prepared = rebuild_prepared(problem, shared.tree, shared.arrays)
        if self._space is not None:
            for number, part in enumerate(prepared.parts):
                part.store = SharedFactors(self._space.path, number, part.rank.nbytes)
        return prepared

    def tell(self, note: Callable[[str], None], warn: Callable[[str], None]) -> None:
        """Say what is shared, or why nothing is."""
        for text in self.notes:
            warn(text)
        if self._maps:
            note(self.summary)

    def patrol(self, now: float) -> None:
        """Check the maps when it is due again, a few megabytes per call.

        Raises InternalError when memory has changed.
        """
        if self._checks.due(now):
            self._checks.done(now)
            self.begin_check()
        self.check_step(CHECK_BLOCKS)

    def begin_check(self) -> None:
        """Begin to check all maps again, in steps."""
        self._patrol = (step for shared in self._maps for step in shared.check())

    def check_step(self, blocks: int) -> None:
        """Check some more blocks of a megabyte. Raises InternalError when memory has changed."""
        for _ in range(blocks):
            if next(self._patrol, self) is self:
                return

    def close(self) -> None:
        """Leave the node's directory; the last rank removes it."""
        if self._space is not None:
            self._space.close()
            self._space = None

    # --- one file ---------------------------------------------------------------------------
    def _publish(self, make: Callable[[], Flat | None]) -> SharedArrays | None:
        """Let the publisher write a file and all ranks of the node map it; None where it failed.

        The file loses its name as soon as all have it, so that nothing can be left behind.
        """
        path, digest, reason = "", b"", ""
        if self._together.rank == self._publisher and self.shares:
            flat = make()
            assert flat is not None
            if sum(array.nbytes for array in flat.arrays) >= SMALLEST_BYTES:
                path, digest, reason = self._write(flat)
        said = self._together.exchange(encode((path, digest, reason)))[self._publisher]
        match decode(said):
            case (str(path), bytes(digest), str(reason)):
                pass
            case _:
                raise InternalError("unreadable report of the rank that shares its memory")
        shared = None
        if path:
            try:
                shared = self._map(Path(path), digest)
            except (OSError, InternalError) as exc:
                reason = str(exc)
        worked = [decode(word) for word in self._together.exchange(encode(shared is not None))]
        if path and self._together.rank == self._publisher:
            with contextlib.suppress(OSError):
                Path(path).unlink()
        if not all(worked[rank] for rank in self._members):
            shared = None  # all of the node alike: half of it would be half of the gain
        if shared is not None:
            self._maps.append(shared)
        elif reason:
            self.notes.append(
                f"memory is not shared on this node ({reason}): each rank has its own copy"
            )
        return shared

    def _write(self, flat: Flat) -> tuple[str, bytes, str]:
        """Write where there is room; return path and digest, or why not."""
        reason = "no directory for it"
        spaces = [self._space] if self._space is not None else self._new_spaces()
        for space in spaces:
            path = space.path / f"data-{len(self._maps)}"
            try:
                digest = write_shared(path, flat.tree, flat.arrays)
            except OSError as exc:
                reason = f"{space.path.parent}: {exc.strerror or exc}"
                continue
            self._space = space
            return str(path), digest, ""
        return "", b"", reason

    def _new_spaces(self) -> Iterator[SharedSpace]:
        """Directories to try; one that was not used is removed again."""
        for parent in candidates():
            with contextlib.suppress(OSError):
                remove_stale(parent)
            try:
                space = SharedSpace.create(parent)
            except OSError:
                continue
            yield space
            if self._space is not space:
                space.close()

    def _map(self, path: Path, digest: bytes) -> SharedArrays:
        if self._space is None:
            self._space = SharedSpace.join(path.parent)
        return map_shared(path, digest)
