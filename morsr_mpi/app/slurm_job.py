"""A batch job of Slurm as `morsr autoscale` handles it: its state, a graceful stop, its size."""

from __future__ import annotations

import subprocess

from morsr_mpi.base.errors import UsageError

#: A command of Slurm's that takes longer hangs.
COMMAND_SECONDS = 30.0


class SlurmJob:
    """One job, by its number (`123`, or `123_4` for a task of an array)."""

    def __init__(self, job: str) -> None:
        self.job = job

    def state(self) -> str:
        """Return its state, such as RUNNING or PENDING; "" when Slurm does not know it any more."""
        code, out, _ = _run(["squeue", "-h", "-j", self.job, "-o", "%T"])
        words = out.split()
        return words[0] if code == 0 and words else ""

    def stop(self) -> None:
        """Ask its script for a graceful stop. Raises UsageError when Slurm refuses."""
        _must(["scancel", "--signal=USR1", "--batch", self.job])

    def resize(self, nodes: int, tasks: int) -> None:
        """Give a job that waits (after its requeue) another size, and let it start at once.

        Raises UsageError when Slurm refuses.
        """
        _must(["scontrol", "update", f"JobId={self.job}", f"NumTasks={tasks}"])
        # A range, because a single number is only taken while it is no more than the tasks; and
        # at once, because Slurm keeps a requeued job back for two minutes.
        size = f"NumNodes={nodes}-{nodes}"
        _must(["scontrol", "update", f"JobId={self.job}", size, "StartTime=now"])


def _must(command: list[str]) -> None:
    code, out, err = _run(command)
    if code:
        said = " ".join((err or out).split())
        raise UsageError(f"`{' '.join(command)}` was refused: {said or f'exit code {code}'}")


def _run(command: list[str]) -> tuple[int, str, str]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except OSError as exc:
        raise UsageError(
            f"{command[0]} cannot be run ({exc.strerror or exc}): is this a host of the Slurm "
            "cluster? --dry-run needs no Slurm"
        ) from None
    except subprocess.TimeoutExpired:
        return 1, "", f"no answer within {COMMAND_SECONDS:.0f} s"
    return done.returncode, done.stdout, done.stderr
