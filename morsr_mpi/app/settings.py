"""Options of a run, as `morsr solve` and the Python interface give them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from morsr_mpi.adapters.envelope_files import EnvelopeKeys
from morsr_mpi.base.config import DEFAULT_RECHECK, HANG_TIMEOUT_SECONDS
from morsr_mpi.base.errors import UsageError
from morsr_mpi.search.options import DEFAULT_FRONTIER_LIMIT, DEFAULT_WORK, SearchOptions
from morsr_mpi.security.envelope import SUITES

#: More ranks in one process help nobody; it is for trying things out.
MAX_RANKS_IN_PROCESS = 64


@dataclass(frozen=True)
class Settings:
    """work: units per target, None until certified. ranks: nodes in this one process.

    lag: pulses planned ahead of the last commit; asynchrony: `free` commits whatever is finished.

    run_dir: None keeps everything in memory. name: of the run, where run_dir does not end in it.
    keys: directory of certificates that prove who
    the ranks are. cache: directory of this node that keeps results for later runs. envelope: in
    which to put checkpoints, with the keys of envelope_keys, by default those in keys; sealed
    checkpoints are opened with them too. recheck:
    probability with which another rank computes a task again; redundancy: ranks that compute
    each task. trace: whether a run directory gets a trace.json. Times in hours and seconds.
    expect_hosts: hosts that the ranks of a new run must be on, at least. Raises UsageError for
    values that make no sense.
    """

    work: int | None = DEFAULT_WORK
    pulse_tasks: int | None = None
    frontier_limit: int = DEFAULT_FRONTIER_LIMIT
    lag: int = 0
    asynchrony: str = "ordered"
    run_dir: Path | None = None
    name: str = ""
    max_hours: float | None = None
    coordinator: str = "working"
    security: str = "sign"
    recheck: float = DEFAULT_RECHECK
    redundancy: int = 1
    keys: Path | None = None
    cache: Path | None = None
    envelope: str = "none"
    envelope_keys: Path | None = None
    checkpoint_every: float = 30.0
    hang_timeout: float = HANG_TIMEOUT_SECONDS
    resume: bool = False
    ranks: int = 1
    trace: bool = True
    expect_hosts: int | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("async", self.asynchrony, ("ordered", "free")),
            ("coordinator", self.coordinator, ("working", "dedicated")),
            ("security", self.security, ("off", "sign", "tls")),
            ("envelope", self.envelope, ("none", *SUITES)),
        ):
            if value not in allowed:
                raise UsageError(f"{name} is {' or '.join(allowed)}, not {value!r}")
        for name, seconds in (
            ("max_hours", self.max_hours),
            ("checkpoint_every", self.checkpoint_every),
            ("hang_timeout", self.hang_timeout),
        ):
            if seconds is not None and not 0.0 < seconds < float("inf"):
                raise UsageError(f"{name} must be positive and finite, not {seconds!r}")
        if not 0.0 <= self.recheck <= 1.0:
            raise UsageError(f"recheck is a probability from 0 to 1, not {self.recheck!r}")
        if self.expect_hosts is not None and self.expect_hosts < 1:
            raise UsageError(f"expect_hosts counts hosts, 1 or more, not {self.expect_hosts!r}")
        if self.redundancy < 1:
            raise UsageError(f"redundancy counts ranks, 1 or more, not {self.redundancy!r}")
        if self.redundancy > 1 and (self.security == "off" or self.asynchrony == "free"):
            raise UsageError(
                "redundancy compares what ranks have signed, in the order of pulses: not with "
                "security off, nor with async free"
            )
        if not 1 <= self.ranks <= MAX_RANKS_IN_PROCESS:
            raise UsageError(
                f"ranks in one process: 1 to {MAX_RANKS_IN_PROCESS}, not {self.ranks}; for more "
                "use mpirun or `morsr launch`"
            )
        if self.resume and self.run_dir is None:
            raise UsageError("resume needs the run_dir of the run to go on with")
        if self.keys is not None and (self.security == "off" or self.ranks > 1):
            raise UsageError("keys are certificates of ranks: use them with security sign or tls")
        if self.security == "tls" and self.ranks > 1:
            raise UsageError("ranks in one process share their memory: tls is for mpirun")
        if self.envelope != "none" and (self.envelope_keys or self.keys) is None:
            raise UsageError(
                "envelopes need keys: `morsr pki envelope DIR`, then --envelope-keys DIR"
            )
        self.search_options()

    def load_envelope_keys(self) -> EnvelopeKeys | None:
        """Return the keys for sealed checkpoints, None without. Raises InputError."""
        suite = "" if self.envelope == "none" else self.envelope
        directory = self.envelope_keys or (self.keys if suite else None)
        return EnvelopeKeys.load(directory, suite) if directory is not None else None

    @property
    def run_name(self) -> str:
        """What certificates call this run: its name, or else the last part of run_dir."""
        if self.name:
            return self.name
        return self.run_dir.resolve().name if self.run_dir is not None else "memory"

    def search_options(self) -> SearchOptions:
        """Return the options that decide what is explored."""
        return SearchOptions(
            work=self.work,
            lag=self.lag,
            pulse_tasks=self.pulse_tasks,
            free=self.asynchrony == "free",
            frontier_limit=self.frontier_limit,
        )
