"""`morsr launch`: starts ranks under mpirun, with what it needs to be told, and looks after them.

The first Ctrl-C or SIGTERM becomes SIGUSR1, a graceful stop of the ranks; the second ends
everything now. No process is left behind: mpirun runs in a session of its own, dies with
us (PR_SET_PDEATHSIG), and what it leaves of that session is ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

from morsr_mpi.app import outcome, processes
from morsr_mpi.app.environment import LAUNCHED_VARIABLE, forwarded_variables
from morsr_mpi.app.mpirun import INTEL, MPICH, OPEN_MPI, Mpirun, in_allocation, usable_cores
from morsr_mpi.app.outcome import OUTCOME_VARIABLE
from morsr_mpi.app.restarts import is_lost, pause, resumed, what_is_left
from morsr_mpi.base.errors import EXIT_INTERNAL, EXIT_STOPPED, UsageError

#: A request to stop is repeated this often: a rank that is still starting up ignores it.
REPEAT_SECONDS = 2.0
#: After SIGTERM mpirun ends its ranks in 0.2-0.5 s; then it gets SIGKILL.
KILL_SECONDS = 5.0
POLL_SECONDS = 0.05


def mpirun_options(mpirun: Mpirun, ranks: int, user: Sequence[str] = ()) -> list[str]:
    """Return the options before the program: number of ranks, root, cores, fault tolerance.

    user: options given by the user; what they set is not set twice, and they come last.
    """
    options = ["-n", str(ranks)]
    given = set(user)
    if mpirun.kind == OPEN_MPI:
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--allow-run-as-root")
        crowded = ranks > usable_cores()
        if not in_allocation() or crowded:
            # Open MPI counts cores, not hardware threads or what else runs on the machine.
            if not given & {"--oversubscribe", "--map-by"}:
                options.append("--oversubscribe")
            # Bound, the ranks of two jobs on one machine would share its first cores.
            if "--bind-to" not in given:
                options += ["--bind-to", "none"]
        if mpirun.fault_tolerant and "--with-ft" not in given:
            options += ["--with-ft", "ulfm"]
        for name in forwarded_variables():
            options += ["-x", name]
        options += ["-x", LAUNCHED_VARIABLE, "-x", OUTCOME_VARIABLE]
    elif mpirun.kind in (MPICH, INTEL) and ranks > usable_cores() and "-bind-to" not in given:
        options += ["-bind-to", "none"]
    return options + list(user)


def rank_command(
    mpirun: Mpirun, ranks: int, program: Sequence[str], user: Sequence[str]
) -> list[str]:
    """Return the complete mpirun command line that runs `morsr PROGRAM...` on each rank."""
    python = [sys.executable, "-m", "morsr_mpi"]
    return [str(mpirun.path), *mpirun_options(mpirun, ranks, user), *python, *program]


class Launcher:
    """One run of mpirun under supervision."""

    def __init__(self, command: Sequence[str], *, messages: TextIO | None = None) -> None:
        self._command = list(command)
        self._messages = sys.stderr if messages is None else messages
        self._interrupts = 0
        self._stopping = False
        self._repeat_at = 0.0
        self._forward: list[int] = []
        self._outcome: Path | None = None
        #: After `run` with reports: whether the job ended without a word of the run itself.
        self.lost = False

    def run(self, *, reports: bool = False) -> int:
        """Run to the end; return the exit code of the ranks (128 + signal when killed).

        reports: the ranks tell how they fare (outcome.py): requests to stop wait until all are
        up, and an exit code 0 without an end is a death in disguise (exit 70). Raises UsageError
        when mpirun cannot be started.
        """
        if reports:
            with tempfile.TemporaryDirectory(prefix="morsr-launch-") as folder:
                self._outcome = Path(folder) / "outcome"
                return self._verdict(self._run())
        return self._run()

    def _verdict(self, code: int) -> int:
        """Look behind mpirun's exit code: what the run itself said counts more."""
        assert self._outcome is not None
        told = outcome.ended_with(self._outcome)
        silent_stop = self._stopping and not outcome.is_ready(self._outcome)
        asked = self._interrupts >= 2 or silent_stop
        self.lost = not asked and is_lost(code or EXIT_INTERNAL, told)
        if told is not None:
            self.lost = not asked and outcome.wants_again(self._outcome)
            return told
        if self.lost and self._stopping:
            # Whoever wants it to stop has perhaps ended mpirun too: nothing is started again.
            self.lost = False
            self._say("ended while it was to stop; go on from the last checkpoint with --resume")
            return EXIT_STOPPED
        if code != 0:
            return code
        if silent_stop:
            self._say("stopped before the run began; nothing was written")
            return 128 + signal.SIGINT
        self._say("a rank died before the run ended; go on from the last checkpoint with --resume")
        return EXIT_INTERNAL

    def _run(self) -> int:
        before = {
            number: signal.signal(number, self._on_signal)
            for number in (
                signal.SIGINT,
                signal.SIGTERM,
                signal.SIGHUP,
                signal.SIGUSR1,
                signal.SIGUSR2,
            )
        }
        child: subprocess.Popen[bytes] | None = None
        try:
            child = self._start()
            return self._supervise(child)
        finally:
            if child is not None:
                processes.end_session(child.pid)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = dict(os.environ)
        environment[LAUNCHED_VARIABLE] = str(_columns())
        environment[OUTCOME_VARIABLE] = str(self._outcome or "")
        try:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                preexec_fn=processes.die_with_parent(),
            )
        except OSError as exc:
            raise UsageError(
                f"{self._command[0]} cannot be started: {exc.strerror or exc}"
            ) from None

    def _supervise(self, child: subprocess.Popen[bytes]) -> int:
        killed_at: float | None = None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(POLL_SECONDS)
                if killed_at is not None:
                    self._say("ended; go on from the last checkpoint with --resume")
                    return 128 + signal.SIGINT
                if code < 0:
                    self._say(
                        f"mpirun was ended by {signal.Signals(-code).name}; go on from the last "
                        "checkpoint with --resume"
                    )
                return code if code >= 0 else 128 - code
            now = time.monotonic()
            ready = self._outcome is None or outcome.is_ready(self._outcome)
            while self._forward and ready:
                child.send_signal(self._forward.pop(0))
            if self._interrupts >= 2 and killed_at is None:
                self._say("ending the ranks now")
                killed_at = now
                child.terminate()
            elif killed_at is not None and now - killed_at > KILL_SECONDS:
                child.kill()
            elif self._stopping and ready and killed_at is None and now >= self._repeat_at:
                self._repeat_at = now + REPEAT_SECONDS
                child.send_signal(signal.SIGUSR1)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR2:
            self._forward.append(number)
            return
        if number != signal.SIGUSR1:
            self._interrupts += 1
            if self._interrupts == 1:
                self._say("stopping at the next pulse boundary; once more ends the ranks now")
        self._stopping = True

    def _say(self, text: str) -> None:
        # os.write: a handler may interrupt a print of the same stream.
        with contextlib.suppress(OSError, ValueError):
            os.write(self._messages.fileno(), f"morsr launch: {text}\n".encode())


def _columns() -> int:
    """Return the width of the terminal on standard error, 0 when it is none."""
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 0


def launch(
    mpirun: Mpirun,
    ranks: int,
    program: Sequence[str],
    mpirun_args: Sequence[str] = (),
    restarts: int = 0,
) -> int:
    """Run `morsr PROGRAM...` on `ranks` ranks and return its exit code.

    restarts: how often a job that was lost is started again on what is left. Raises UsageError
    when mpirun cannot be started.
    """
    arguments, words = list(mpirun_args), list(program)
    for attempt in range(restarts + 1):
        launcher = Launcher(rank_command(mpirun, ranks, words, arguments))
        code = launcher.run(reports=True)
        if not launcher.lost or attempt == restarts:
            return code
        pause(attempt + 1)
        arguments, ranks, gone = what_is_left(arguments, ranks)
        words = resumed(words)
        where = f" without {', '.join(gone)}" if gone else ""
        print(
            f"morsr: starting again on {ranks} ranks{where}, restart {attempt + 1} of {restarts}",
            file=sys.stderr,
            flush=True,
        )
    return EXIT_INTERNAL
