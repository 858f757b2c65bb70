"""`morsr launch --restarts K`: starts again on what is left when mpirun or a node was lost.

Lost ranks are the run's own business. What ends here is a job that ended without a word of the
run itself: mpirun killed, a node gone with its daemon, all ranks dead. It is started again with
`--resume`, on the hosts that still answer and with as many ranks as these have room for.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import (
    EXIT_DATA,
    EXIT_OK,
    EXIT_STOPPED,
    EXIT_TAMPERED,
    EXIT_USAGE,
)

#: A host that does not answer within this time is left out.
PROBE_SECONDS = 3.0
#: Before the first restart; and before the second, twice as long before each that follows: what is
#: lost once is started again at once, what is lost again and again is given time.
FIRST_PAUSE_SECONDS = 0.1
PAUSE_SECONDS = 1.0
#: What the directory of a `morsr quantize` begins with.
QUANTIZE_MANIFEST = "quantize.json"
#: Options of mpirun that name hosts, and files of hosts.
_HOSTS = ("--host", "-host", "-H")
_FILES = ("--hostfile", "-hostfile", "--machinefile", "-machinefile")


@dataclass(frozen=True)
class Host:
    """A host and the ranks it has room for, None when nobody said."""

    name: str
    slots: int | None


def is_lost(code: int, told: int | None) -> bool:
    """Whether a job ended without the run having said so. told: what it said, if anything."""
    if told is not None:
        return False
    return code not in (EXIT_OK, EXIT_USAGE, EXIT_DATA, EXIT_TAMPERED, EXIT_STOPPED)


def resumed(program: Sequence[str]) -> list[str]:
    """Return the command line of the ranks that goes on with the run, as far as there is one.

    A run directory without a checkpoint has nothing in it yet: it is removed and made anew.
    """
    words = list(program)
    folder = run_dir_of(words)
    if folder is None or "--resume" in words:
        return words
    if (folder / QUANTIZE_MANIFEST).exists():
        return [*words, "--resume"]
    run = RunDirectory(folder)
    if any(run.checkpoints.glob("checkpoint-*.h5")):
        return [*words, "--resume"]
    run.discard_unbegun()
    return words


def run_dir_of(words: Sequence[str]) -> Path | None:
    """Return the value of --run-dir in a command line."""
    for position, word in enumerate(words):
        if word == "--run-dir" and position + 1 < len(words):
            return Path(words[position + 1])
        if word.startswith("--run-dir="):
            return Path(word.partition("=")[2])
    return None


def hosts_of(arguments: Sequence[str]) -> list[Host]:
    """Return the hosts that mpirun's arguments name, none where they name none."""
    found: list[Host] = []
    for option, value in pairwise(arguments):
        if option in _HOSTS:
            for item in value.split(","):
                name, _, slots = item.partition(":")
                found.append(Host(name, int(slots) if slots.isdecimal() else None))
        elif option in _FILES and Path(value).exists():
            for line in Path(value).read_text(encoding="utf-8").splitlines():
                words = line.split("#")[0].split()
                if words:
                    slots = next((w[6:] for w in words if w.startswith("slots=")), "")
                    found.append(Host(words[0], int(slots) if slots.isdecimal() else None))
    return found


def agent_of(arguments: Sequence[str]) -> list[str]:
    """Return the command that reaches another host: mpirun's own agent, or ssh."""
    for option, value in pairwise(arguments):
        if option == "plm_ssh_agent":
            return value.split()
    return ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={PROBE_SECONDS:.0f}"]


def answers(agent: Sequence[str], host: str) -> bool:
    """Whether a host can be reached and runs a command."""
    try:
        done = subprocess.run(
            [*agent, host, "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def what_is_left(arguments: Sequence[str], ranks: int) -> tuple[list[str], int, list[str]]:
    """Return mpirun's arguments for the hosts that answer, the number of ranks, the lost hosts.

    With no host named they are those of the Slurm allocation; without one there is only this
    host, and nothing changes.
    """
    hosts = hosts_of(arguments)
    if not hosts:
        hosts, there = slurm_hosts(ranks)
    else:
        agent = agent_of(arguments)
        with ThreadPoolExecutor(max_workers=32) as pool:
            there = list(pool.map(lambda host: answers(agent, host.name), hosts))
    if len(hosts) < 2:
        return list(arguments), ranks, []
    left = [host for host, up in zip(hosts, there, strict=True) if up]
    lost = [host.name for host, up in zip(hosts, there, strict=True) if not up]
    if not lost or not left:
        return list(arguments), ranks, lost
    slots = [host.slots for host in left]
    room = sum(s for s in slots if s is not None) if None not in slots else 0
    fewer = min(ranks, room) if room else max(1, ranks * len(left) // len(hosts))
    named = ",".join(h.name if h.slots is None else f"{h.name}:{h.slots}" for h in left)
    return [*_without_hosts(arguments), "--host", named], fewer, lost


def slurm_hosts(ranks: int) -> tuple[list[Host], list[bool]]:
    """Return the nodes of the allocation we are in, and which of them Slurm takes for alive."""
    nodes = os.environ.get("SLURM_JOB_NODELIST", "")
    if not nodes:
        return [], []
    names = _output(["scontrol", "show", "hostnames", nodes]).split()
    states = dict(
        line.split(None, 1)
        for line in _output(["sinfo", "-h", "-N", "-n", nodes, "-o", "%N %T"]).splitlines()
        if len(line.split(None, 1)) == 2
    )
    slots = -(-ranks // max(1, len(names)))
    return [Host(name, slots) for name in names], [alive(states.get(name, "")) for name in names]


def alive(state: str) -> bool:
    """Whether a node in this state of Slurm's can run ranks; `*` means that it does not answer."""
    return bool(state) and "*" not in state and not state.startswith(("down", "fail", "unknown"))


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=4.0 * PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _without_hosts(arguments: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word in _HOSTS or word in _FILES:
            skip = True
        else:
            kept.append(word)
    return kept


def pause(attempt: int) -> None:
    """Wait a little before starting again, longer after each loss in a row."""
    longer = min(PAUSE_SECONDS * 2.0 ** (attempt - 2), 30.0)
    time.sleep(FIRST_PAUSE_SECONDS if attempt == 1 else longer)
