"""What rank 0 writes while a run goes on, and at its end."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from morsr_mpi.adapters.envelope_files import EnvelopeKeys
from morsr_mpi.adapters.hdf5_checkpoint import remove_later, store_checkpoint
from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.adapters.hdf5_result import save_result
from morsr_mpi.app.fence import Fence
from morsr_mpi.app.keeper import Interval, Writer
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.config import KEPT_PROBLEM_BYTES
from morsr_mpi.base.ports import Clock
from morsr_mpi.base.version import __version__
from morsr_mpi.objectives.solution import SolveResult
from morsr_mpi.search.state import Search
from morsr_mpi.storage.checkpoint import Checkpoint
from morsr_mpi.storage.sections import Sections

#: The incumbent in result.h5 is at most this old; longer where writing it takes long.
RESULT_SECONDS = 1.0
#: The first checkpoint comes after this time.
FIRST_SECONDS = 1.0
#: Writing may take this part of the time at most.
WRITE_SHARE = 0.01


class Records:
    """Result and checkpoints of one run directory.

    describe: returns the result as it would be with the search's solution; warn: gets one
    line when something could not be written.
    """

    def __init__(
        self,
        run: RunDirectory,
        clock: Clock,
        checkpoint_every: float,
        describe: Callable[[Search], SolveResult],
        warn: Callable[[str], None],
        fence: Fence,
        sync: Callable[[], None],
        keys: EnvelopeKeys | None = None,
        stored: Callable[[float, float, int], None] | None = None,
    ) -> None:
        """sync: makes the journal durable; called from the writer's thread. keys: of envelopes
        for checkpoints. stored: told of each checkpoint, from that thread: begin, seconds, pulse.
        """
        self._stored = stored
        self._keys = keys
        self._run = run
        self._fence = fence
        self._sync = sync
        self._clock = clock
        self._describe = describe
        self._writer = Writer(warn)
        now = clock.now()
        # The first comes early, so that there is something to resume from.
        self._every = checkpoint_every
        self._checkpoints = Interval(min(checkpoint_every, FIRST_SECONDS), now)
        self._results = Interval(RESULT_SECONDS, now)
        self._last_objective = b""
        self._waiting: Held | None = None
        self._prepared = 0.0
        #: Seconds that the slowest checkpoint or result has taken so far.
        self.longest = 0.0
        #: Checkpoints written while the run went on, and CPU seconds that they took, preparing them
        #: and the writer's thread together.
        self.checkpoints = 0
        self.checkpoint_cpu = 0.0

    def first(self, search: Search) -> None:
        """Have the state written that the search starts from, so that there is one from then on.

        Beside it the problem, for `morsr replay`, unless it is too large to keep twice.
        """
        problem = search.problem
        if not self._run.problem.exists() and problem.Q.nbytes <= KEPT_PROBLEM_BYTES:
            self._writer.submit("problem.h5", lambda: save_problem(self._run.problem, problem))
        if not any(self._run.checkpoints.glob("checkpoint-*.h5")):
            held = hold(search, Sections())
            self._writer.submit("checkpoint", lambda: self._store(held))

    def go_back(self, search: Search) -> None:
        """Have the state written that the run goes back to, and all later ones removed."""
        held, self._waiting = hold(search, Sections()), None

        def write() -> None:
            self._store(held)
            remove_later(self._run.checkpoints, held.pulse)

        self._writer.submit("checkpoint", write)

    def look(
        self, search: Search, sections: Callable[[], Sections], recorded: int, wanted: bool
    ) -> None:
        """Have written what is due. Between two events of the node, in the middle of a pulse too.

        sections: what stands in a checkpoint beside the state; recorded: pulses that the journal
        has: a checkpoint waits until it has all of its own, so that none is ever newer than the
        journal. wanted: a checkpoint was asked for.
        """
        now = self._clock.now()
        if wanted or self._checkpoints.due(now):
            self._checkpoints.seconds = max(self._checkpoints.seconds, self._every)
            self._checkpoints.done(now)
            begin = self._clock.cpu()
            self._waiting = hold(search, sections())
            self._prepared = self._clock.cpu() - begin
        if self._waiting is not None and self._waiting.pulse <= recorded:
            held, took, self._waiting = self._waiting, self._prepared, None
            self._writer.submit(
                "checkpoint", lambda: self._timed(self._checkpoints, self._store, held, took)
            )
        if self._results.due(now):
            self._results.done(now)
            result = self._describe(search)
            objective = result.objective.tobytes() + result.certified.tobytes()
            if objective != self._last_objective:
                self._last_objective = objective
                self._writer.submit(
                    "result.h5", lambda: self._timed(self._results, self._save, result)
                )

    def finish(
        self,
        search: Search,
        sections: Sections,
        result: SolveResult,
        state: str,
        cost: Mapping[str, Any],
    ) -> tuple[int, bytes]:
        """Write the last checkpoint and the result; return its length and SHA-256.

        state: how the run ended, for people; cost: more entries of /run. Raises InputError when
        one cannot be written.
        """
        self._writer.close()
        self._store(hold(search, sections))
        self._fence.check(now=True)
        own = {"checkpoints": self.checkpoints, "checkpoint_cpu_seconds": self.checkpoint_cpu}
        save_result(self._run.result, result, {**story(state), **own, **cost})
        data = self._run.result.read_bytes()
        return len(data), hashlib.sha256(data).digest()

    def submit(self, name: str, job: Callable[[], None]) -> None:
        """Have the writer do something small besides."""
        self._writer.submit(name, job)

    def abandon(self) -> None:
        """Write what waits, after an error."""
        self._writer.close()

    def drop(self) -> None:
        """Write nothing more: another rank keeps the directory now."""
        self._writer.drop()

    def _timed(
        self, interval: Interval, write: Callable[[Any], None], value: Any, took: float = 0.0
    ) -> None:
        """Write, and write seldom enough that it takes little of the processor's time.

        took: CPU seconds that preparing it has cost already.
        """
        start, begin = self._clock.now(), time.thread_time()
        write(value)
        cost = time.thread_time() - begin + took
        interval.seconds = max(interval.seconds, cost / WRITE_SHARE)
        if interval is self._checkpoints:
            self.checkpoints += 1
            self.checkpoint_cpu += cost
        self.longest = max(self.longest, self._clock.now() - start + took)

    def _store(self, held: Held) -> None:
        self._fence.check(now=True)
        begin = self._clock.now()
        self._sync()  # after a power cut, too, no checkpoint is newer than the journal
        store_checkpoint(self._run.checkpoints, held.make(), self._keys)
        if self._stored is not None:
            self._stored(begin, self._clock.now() - begin, held.pulse)

    def _save(self, result: SolveResult) -> None:
        self._fence.check(now=True)
        save_result(self._run.result, result, story("running"))


@dataclass(frozen=True)
class Held:
    """A checkpoint to be: the state of one moment, whose bytes the writer's thread makes."""

    pulse: int
    make: Callable[[], Checkpoint]


def hold(search: Search, sections: Sections) -> Held:
    """Hold the state as it is now, with what stands beside it, for a checkpoint."""
    pulse, snapshot, solution = search.committed, search.capture(), search.solution()

    def make() -> Checkpoint:
        return Checkpoint(
            problem_digest=search.problem.digest,
            options_digest=search.options.digest(),
            pulse=pulse,
            state=snapshot(),
            solution=solution,
            sections=sections,
        )

    return Held(pulse, make)


def story(state: str) -> dict[str, Any]:
    """Return the entries of /run that no field of the result has."""
    return {"state": state, "software": __version__, "host": socket.gethostname()}
