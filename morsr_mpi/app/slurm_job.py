"""A batch job of Slurm as `morsr autoscale` handles it: its state, a graceful stop, its size."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from morsr_mpi.base.errors import UsageError

#: A command of Slurm's that takes longer hangs.
COMMAND_SECONDS = 30.0
#: A controller that is busy or restarts does not answer for a while: a command is tried so often.
TRIES = 20
TRY_AGAIN_SECONDS = 3.0
#: What Slurm says of a job that it has forgotten, or never had.
_UNKNOWN = "invalid job id"
#: What its commands say when it is not the controller that refuses.
_NO_ANSWER = ("unable to contact", "timed out", "no answer", "zero bytes", "connect")
#: States of a job that has ended and does not start again.
_ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT",
})  # fmt: skip


class SlurmJob:
    """One job, by its number (`123`, or `123_4` for a task of an array)."""

    def __init__(self, job: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.job = job
        self._sleep = sleep

    def state(self) -> str:
        """Return its state, such as RUNNING or PENDING; "" when it has ended or is not known.

        No answer is not taken for an end. Raises UsageError when there is none for a minute.
        """
        command = ["squeue", "-h", "-t", "all", "-j", self.job, "-o", "%T"]
        code, out, err = self._ask(command, lambda said: _UNKNOWN not in said)
        if code and _UNKNOWN not in err.lower():
            raise _refused(command, code, out, err)
        words = out.split()
        return words[0] if code == 0 and words and words[0] not in _ENDED else ""

    def stop(self) -> None:
        """Ask its script for a graceful stop. Raises UsageError when Slurm refuses."""
        self._must(["scancel", "--signal=USR1", "--batch", self.job])

    def resize(self, nodes: int, tasks: int) -> None:
        """Give a job that waits (after its requeue) another size, and let it start at once.

        Raises UsageError when Slurm refuses.
        """
        self._must(["scontrol", "update", f"JobId={self.job}", f"NumTasks={tasks}"])
        # A range, because a single number is only taken while it is no more than the tasks; and
        # at once, because Slurm keeps a requeued job back for two minutes.
        size = f"NumNodes={nodes}-{nodes}"
        self._must(["scontrol", "update", f"JobId={self.job}", size, "StartTime=now"])

    def _must(self, command: list[str]) -> None:
        code, out, err = self._ask(command, lambda said: any(sign in said for sign in _NO_ANSWER))
        if code:
            raise _refused(command, code, out, err)

    def _ask(self, command: list[str], passing: Callable[[str], bool]) -> tuple[int, str, str]:
        """Run a command, again while it fails with what may pass (of its errors, in lower case)."""
        for _ in range(TRIES - 1):
            code, out, err = _run(command)
            if not code or not passing(err.lower()):
                return code, out, err
            self._sleep(TRY_AGAIN_SECONDS)
        return _run(command)


def _refused(command: list[str], code: int, out: str, err: str) -> UsageError:
    said = " ".join((err or out).split())
    return UsageError(f"`{' '.join(command)}` was refused: {said or f'exit code {code}'}")


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
