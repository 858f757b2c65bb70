"""The run directory (DESIGN section 7): made once, never overwritten, a log for people.

Rank 0 makes it. `log.txt` is opened for appending, one write per line, so that the
ranks of one run and the runs of one resumed job share it.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
from pathlib import Path

from morsr_mpi.base.errors import UsageError
from morsr_mpi.storage.checkpoint import checkpoint_name

#: Parts that every run directory has.
PARTS = ("checkpoints", "ledger", "keys", "fence")


class RunDirectory:
    """Paths of a run directory and its log; it does not have to exist yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.result = self.path / "result.h5"
        self.problem = self.path / "problem.h5"
        self.checkpoints = self.path / "checkpoints"
        self.ledger = self.path / "ledger"
        self.journal = self.ledger / "journal.morsr"
        self.tasks = self.ledger / "tasks"
        self.keys = self.path / "keys"
        self.fence = self.path / "fence"
        self.index = self.path / "index" / "tasks.morsr"
        self.evidence = self.path / "evidence"
        self.log_file = self.path / "log.txt"
        self.stop_file = self.path / "STOP"
        self.load_file = self.path / "load.json"
        self.scaling = self.path / "scaling"
        self.telemetry = self.path / "telemetry"
        self.metrics = self.path / "metrics.prom"
        self.history = self.path / "metrics.jsonl"
        self.trace = self.path / "trace.json"

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """Make a new run directory; an empty directory that exists is taken over.

        Raises UsageError when something is there already or it cannot be made.
        """
        run = cls(path)
        try:
            if run.path.is_dir():
                if any(run.path.iterdir()):
                    raise UsageError(
                        f"run directory {run.path} exists; go on with it by --resume, or choose "
                        "another --run-dir"
                    )
            elif run.path.exists():
                raise UsageError(f"--run-dir {run.path} is a file; choose another name")
            for part in PARTS:
                (run.path / part).mkdir(parents=True, exist_ok=True)
            run.log("run directory made")
        except OSError as exc:
            raise UsageError(
                f"run directory {run.path} cannot be made ({exc.strerror or exc}); choose a "
                "--run-dir that you may write to"
            ) from None
        return run

    def is_fresh(self) -> bool:
        """Whether this is a run directory in which no pulse has been committed yet."""
        newest = max(self.checkpoints.glob("checkpoint-*.h5"), default=None)
        return self.ledger.is_dir() and (newest is None or newest.name == checkpoint_name(0))

    def discard(self) -> None:
        """Remove what `create` made, unless something else has been written by now."""
        with contextlib.suppress(OSError):
            self.log_file.unlink()
            for part in PARTS:
                (self.path / part).rmdir()
            self.path.rmdir()

    def discard_unbegun(self) -> None:
        """Remove a run directory of which no checkpoint was written: nothing in it is of use."""
        if any(self.checkpoints.glob("*.h5")) or self.result.exists():
            return
        for part in (*PARTS, "telemetry"):
            shutil.rmtree(self.path / part, ignore_errors=True)
        with contextlib.suppress(OSError):
            for path in (self.problem, self.metrics, self.history):
                path.unlink(missing_ok=True)
            self.log_file.unlink()
            self.path.rmdir()

    @classmethod
    def reopen(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """Return the run directory to resume; raises UsageError when there is none."""
        run = cls(path)
        if not run.path.is_dir():
            raise UsageError(f"nothing to resume: there is no run directory {run.path}")
        if not run.checkpoints.is_dir() or not run.ledger.is_dir():
            raise UsageError(
                f"nothing to resume: {run.path} is no run directory; start a new one without "
                "--resume"
            )
        return run

    def take_over(self) -> None:
        """Begin to go on with the run: a STOP file left there is removed. Raises UsageError."""
        try:
            self.keys.mkdir(exist_ok=True)
            if self.stop_file.exists():
                self.stop_file.unlink()
                self.log("removed the file STOP of the run that stopped")
            self.log("resumed")
        except OSError as exc:
            raise UsageError(
                f"run directory {self.path} cannot be written ({exc.strerror or exc})"
            ) from None

    def keep_evidence(self, name: str, data: bytes) -> None:
        """Write evidence under `evidence/`, once; what cannot be written is logged."""
        try:
            self.evidence.mkdir(exist_ok=True)
            with (self.evidence / name).open("xb") as file:
                file.write(data)
        except FileExistsError:
            pass  # a chief before this one had it
        except OSError as exc:
            self.try_log(f"evidence {name} cannot be written: {exc.strerror or exc}")

    def log(self, text: str) -> None:
        """Append a line (or a traceback) to log.txt with date and time, UTC."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, f"{stamp} {text.rstrip()}\n".encode())
        finally:
            os.close(descriptor)

    def try_log(self, text: str) -> bool:
        """Like `log`, for places where a full disk must not end the run; False when it failed."""
        try:
            self.log(text)
        except OSError:
            return False
        return True
