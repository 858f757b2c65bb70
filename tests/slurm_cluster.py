"""A real Slurm of four nodes on this machine, for the tests: one slurmd for each node's name.

Needs root, and slurmctld, slurmd and munge, which CI installs (Debian: slurm-wlm, munge). A node
fails when its slurmd is killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NODES = ("n1", "n2", "n3", "n4")
#: States out of which a job does not come by itself.
ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"})

_CONF = """\
ClusterName=four
SlurmctldHost={host}
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/ctld
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldPort={port}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdTimeout=10
KillWait=10
JobRequeue=1
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
NodeName=n[1-4] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=2 \
RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
"""


def why_not() -> str:
    """Why there can be no cluster here, "" when there can."""
    if os.geteuid() != 0:
        return "a Slurm cluster of one's own needs root"
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if not _find(name)]
    return f"{', '.join(missing)} not installed (slurm-wlm, munge)" if missing else ""


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


#: Stands before `morsr` in the path of jobs: of one that is to be held, a held one.
_HELD = """\
#!/bin/sh
if [ -n "$HELD_PULSE" ]; then exec {python} {held} "$HELD_PULSE" "$HELD_GATE" "$@"; fi
exec {python} -m morsr_mpi "$@"
"""


class Cluster:
    """Four nodes, and what a user does with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_"))}
        self.env["SLURM_CONF"] = str(folder / "slurm.conf")
        held = folder / "held"
        held.mkdir(parents=True)
        (held / "morsr").write_text(
            _HELD.format(python=sys.executable, held=ROOT / "tests/held.py")
        )
        (held / "morsr").chmod(0o755)
        programs = f"{held}:{Path(sys.executable).parent}:{self.env.get('PATH', os.defpath)}"
        self.env["PATH"] = f"{programs}:/usr/sbin:/sbin"
        self.env["PYTHONPATH"] = str(ROOT)
        self.env |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

    def run(self, *command: object, check: bool = True, **variables: str) -> str:
        """Run a command of Slurm's with more variables; return what it prints."""
        done = subprocess.run(
            [str(word) for word in command],
            env=self.env | variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def submit(
        self,
        script: str,
        *arguments: object,
        nodes: int,
        options: tuple[str, ...],
        hold: tuple[int, Path] | None = None,
    ) -> str:
        """Send a script of `slurm/`; return the job's number.

        hold: a pulse that is not committed, and the file that must be there first (held.py).
        """
        size = (f"--nodes={nodes}", "--ntasks-per-node=1", f"--output={self.folder}/%j.out")
        words = ("sbatch", "--parsable", *size, *options, ROOT / "slurm" / script, *arguments)
        held = {"HELD_PULSE": str(hold[0]), "HELD_GATE": str(hold[1])} if hold else {}
        return self.run(*words, check=True, **held)

    def states(self, job: str) -> set[str]:
        """State of a job, of an array all there are; empty when Slurm does not know it any more.

        No answer is no state: Slurm is asked again.
        """
        end = time.monotonic() + 60.0
        words = ["squeue", "-h", "-t", "all", "-j", job, "-o", "%T"]
        while True:
            done = subprocess.run(
                words, env=self.env, capture_output=True, text=True, timeout=60, check=False
            )
            if done.returncode == 0:
                return set(done.stdout.split())
            if "Invalid job id" in done.stderr:
                return set()
            assert time.monotonic() < end, f"squeue: {done.stderr}\n{self.trace()}"
            time.sleep(0.5)

    def ended(self, job: str) -> bool:
        """Whether a job has come to an end, of an array every task."""
        return self.states(job) <= ENDED

    def detail(self, job: str, name: str) -> str:
        """One field of what Slurm knows of a job."""
        for word in self.run("scontrol", "show", "job", job).split():
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
        return ""

    def output(self, job: str) -> str:
        """What a job has printed."""
        path = self.folder / f"{job}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait(self, job: str, *states: str, seconds: float = 120.0) -> None:
        """Wait until a job is in one of these states."""
        self.wait_for(job, lambda: self.states(job) <= set(states), seconds)

    def wait_for(self, job: str, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        """Wait until something that a job does is so."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"job {job} is {self.states(job)}\n{self.output(job)}"
            time.sleep(0.2)

    def start_again(self, job: str) -> None:
        """Let a requeued job start at once instead of after two minutes."""
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def trace(self) -> str:
        """What the controller has logged of late."""
        path = self.folder / "slurmctld.log"
        return path.read_text()[-3000:] if path.exists() else "nothing"

    def kill_node(self, name: str) -> None:
        """A node dies: its slurmd, and every process of its jobs."""
        daemon = int((self.folder / f"slurmd.{name}.pid").read_text())
        for pid in [daemon, *_of_node(name)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def nodes_of(self, job: str) -> list[str]:
        """Names of the nodes of a job."""
        return self.run("scontrol", "show", "hostnames", self.detail(job, "NodeList")).split()


def _of_node(name: str) -> list[int]:
    """Processes that Slurm started on a node: the steps' daemons, and all below them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"SLURMD_NODENAME={name}".encode() in variables:
            found.append(int(folder.name))
    return found


def _ports() -> int:
    """A first port of five in a row that nobody uses."""
    for first in range(17001 + os.getpid() % 400 * 10, 40000, 10):
        try:
            for port in range(first, first + 5):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start it, and end it with everything that ran in it."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    first = _ports()
    (folder / "ctld").mkdir(parents=True)
    for node in NODES:
        (folder / f"spool.{node}").mkdir()
    host = socket.gethostname().split(".")[0]
    text = _CONF.format(host=host, folder=folder, port=first + 4, first=first, last=first + 3)
    (folder / "slurm.conf").write_text(text)
    made = Cluster(folder)
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode:
        Path("/run/munge").mkdir(exist_ok=True)
        subprocess.run(["chown", "munge:munge", "/run/munge"], check=True)
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "/usr/sbin/munged"], check=True)
    try:
        made.run("slurmctld", "-c", check=False)
        for node in NODES:
            made.run("slurmd", "-N", node, check=False)
        end = time.monotonic() + 60.0
        while made.run("sinfo", "-h", "-t", "idle", "-o", "%D", check=False) != "4":
            if time.monotonic() > end:  # the machine's fault, not that of what is tested
                pytest.skip(f"no Slurm could be started here: {made.trace()[-300:]}")
            time.sleep(0.2)
        yield made
    finally:
        made.run("scancel", "--user=root", check=False)
        for node in NODES:
            for pid in _of_node(node):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        made.run("scontrol", "shutdown", check=False)
        time.sleep(0.5)
        for path in folder.glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGKILL)
