"""`morsr autoscale`: watches a run and gives it more or fewer nodes (paper section 8.2).

A run cannot change its ranks while it goes on, and need not: it stops with a checkpoint, its
batch script requeues it, and it goes on with the new size to the same bits. What is decided goes
into the run's journal. Nothing breaks if this program does: the job then goes on as it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from morsr_mpi.app.load import (
    RUNNING,
    STALE_SECONDS,
    STOPPED,
    JobLoad,
    add_decision,
    read_load,
)
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.slurm_job import SlurmJob
from morsr_mpi.base.errors import InputError, UsageError
from morsr_mpi.cluster.scaling import Autoscaler, Load, ScalingDecision, ScalingPolicy
from morsr_mpi.provenance.scaling import Scaling

#: A job that was told to stop is waited for this long: a pulse may be long.
STOP_SECONDS = 1800.0
#: How often Slurm is asked meanwhile.
ASK_SECONDS = 1.0
RESTARTED, TOLD, DRY = "restarted", "told", "dry run"


@dataclass(frozen=True)
class Report:
    """What was seen and done at one look. decision, action: None and "" for nothing."""

    load: JobLoad
    decision: ScalingDecision | None = None
    action: str = ""
    advice: str = ""
    patch: dict[str, object] | None = None

    @property
    def unit(self) -> str:
        """What sizes count."""
        return "nodes" if self.load.slurm_job else "ranks"

    def to_json(self) -> dict[str, object]:
        """The same for programs."""
        found: dict[str, object] = {**asdict(self.load), "unit": self.unit, "action": self.action}
        if self.decision is not None:
            found |= {"decision": asdict(self.decision)}
        if self.patch is not None:
            found["patch"] = self.patch
        return found

    def line(self) -> str:
        """One line for people."""
        load = self.load
        size = load.nodes if load.slurm_job else load.ranks
        text = f"{size} {self.unit}, cpu {load.cpu:.2f}, memory {load.memory:.2f}"
        if load.state != RUNNING:
            return f"the run has {load.state}"
        if self.decision is None:
            return text
        said = f"{self.decision.before} -> {self.decision.after} {self.unit}"
        return f"{text}; {said} ({self.action}): {self.decision.reason}{self.advice}"


class Watch:
    """Looks at one run. dry: nothing is done or written."""

    def __init__(
        self,
        path: Path,
        policy: ScalingPolicy,
        *,
        dry: bool,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        mpijob: str = "",
        slots: int = 1,
    ) -> None:
        """clock: seconds since 1970. mpijob: name of the Kubernetes job that runs it, slots: ranks
        of each of its workers: then the patch for it is told."""
        self._mpijob, self._slots = mpijob, slots
        self._run = RunDirectory(path)
        self._scaler = Autoscaler(policy)
        self._dry = dry
        self._clock = clock
        self._sleep = sleep
        if not self._run.checkpoints.is_dir():
            raise InputError(f"{path} is no run directory of morsr; name that of the run to watch")

    def look(self) -> Report | None:
        """Look once, and do what is due; None while the run says nothing.

        Raises InputError for a load file that cannot be read, UsageError when Slurm refuses.
        """
        load = read_load(self._run)
        if load is None:
            return None
        if load.state != RUNNING:
            return Report(load)
        if self._clock() - load.time > STALE_SECONDS:
            return None
        size = load.nodes if load.slurm_job else load.ranks
        decision = self._scaler.observe(Load(load.time, size, load.cpu, load.memory))
        if decision is None:
            return Report(load)
        if self._dry:
            return self._told(load, decision, DRY)
        action = RESTARTED if load.slurm_job else TOLD
        unit = "nodes" if load.slurm_job else "ranks"
        add_decision(
            self._run,
            Scaling(
                0, int(self._clock()), decision.before, decision.after, unit, load.cpu,
                load.memory, action, decision.reason,
            ),
        )  # fmt: skip
        if not load.slurm_job:
            return self._told(load, decision, TOLD)
        self._restart(load, decision)
        return Report(load, decision, RESTARTED)

    def _told(self, load: JobLoad, decision: ScalingDecision, action: str) -> Report:
        """A decision that somebody else carries out."""
        patch = None
        if self._mpijob and not load.slurm_job:
            patch = mpijob_patch(decision.after, self._slots)
        return Report(load, decision, action, self._advice(load, decision), patch)

    def over(self, report: Report) -> bool:
        """Whether there is nothing to watch any more.

        A job that was stopped and waits in Slurm's queue goes on.
        """
        load = report.load
        if load.state == STOPPED and load.slurm_job and not self._dry:
            return not SlurmJob(load.slurm_job, self._sleep).state()
        return load.state != RUNNING

    def _restart(self, load: JobLoad, decision: ScalingDecision) -> None:
        """Stop the job with a checkpoint, and let it start again with the new size."""
        job = SlurmJob(load.slurm_job, self._sleep)
        if job.state() != "RUNNING":
            raise UsageError(f"job {load.slurm_job} is not running; nothing was changed")
        job.stop()
        end = self._clock() + STOP_SECONDS
        ended = False
        while (state := job.state()) != "PENDING":
            if not state and ended:  # twice: between its end and its requeue a job has neither
                raise UsageError(
                    f"job {load.slurm_job} stopped and did not requeue itself (slurm/*.sbatch do): "
                    f"send it again with sbatch --nodes={decision.after}"
                )
            if self._clock() > end:
                raise UsageError(
                    f"job {load.slurm_job} did not stop within {STOP_SECONDS:.0f} s; it goes on or "
                    "stops later with the size it had"
                )
            ended = not state
            self._sleep(ASK_SECONDS)
        job.resize(decision.after, max(1, load.ranks // load.nodes) * decision.after)

    def _advice(self, load: JobLoad, decision: ScalingDecision) -> str:
        """What a person would have to do."""
        if load.slurm_job:
            tasks = max(1, load.ranks // load.nodes) * decision.after
            return (
                f"; scancel --signal=USR1 --batch {load.slurm_job}, then scontrol update "
                f"JobId={load.slurm_job} NumTasks={tasks}, then NumNodes={decision.after}-"
                f"{decision.after} StartTime=now"
            )
        if self._mpijob:
            patch = json.dumps(mpijob_patch(decision.after, self._slots), separators=(",", ":"))
            return (
                f"; kubectl patch mpijob {self._mpijob} --type merge -p '{patch}', then touch "
                f"{self._run.stop_file}: the launcher starts again with the new workers"
            )
        return (
            f"; touch {self._run.stop_file}, then morsr launch -n {decision.after} -- solve ... "
            "--resume"
        )


def mpijob_patch(ranks: int, slots: int) -> dict[str, object]:
    """Return the merge patch that gives an MPIJob workers for so many ranks, rounded up."""
    workers = max(1, -(-ranks // slots))
    return {"spec": {"mpiReplicaSpecs": {"Worker": {"replicas": workers}}}}
