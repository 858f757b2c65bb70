"""Three hosts on one machine, for tests and benchmarks: network namespaces joined by a bridge.

Each has its own address and host name; mpirun reaches them through an agent in place of ssh.
Needs root and iproute2.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kills import Running, program, ranks_of

HOSTS = ("h1", "h2", "h3")
_AGENT = """\
#!/bin/bash
while [[ $1 == -* ]]; do shift; done
host=$1; shift
exec ip netns exec {prefix}$host unshare -u sh -c "hostname $host; $*"
"""
_NAMES = Path("/etc/hosts")
_COUNT = itertools.count()


def why_not() -> str:
    """Why there can be no such hosts here, "" when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "ip is not installed (iproute2)"
    if not os.access(_NAMES, os.W_OK):
        return f"{_NAMES} cannot be written"
    probe = f"morsr-probe-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "network namespaces cannot be made here"
    subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
    return ""


class Hosts:
    """The hosts, and runs over them."""

    def __init__(self, folder: Path) -> None:
        self._number = next(_COUNT)
        self._prefix = f"m{os.getpid() % 100000}x{self._number}"
        self._bridge = f"{self._prefix}br"
        self.agent = folder / "agent"
        self.agent.write_text(_AGENT.format(prefix=self._prefix))
        self.agent.chmod(0o755)
        self._names_before = _NAMES.read_text()

    def up(self) -> None:
        """Make them."""
        net = f"10.{77 + os.getpid() % 100}.{self._number}"
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{net}.254/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        lines = [
            line
            for line in self._names_before.splitlines()
            if not set(line.split()[1:]) & set(HOSTS)
        ]
        for number, host in enumerate(HOSTS, 1):
            space, link = self._prefix + host, f"{self._prefix}v{number}"
            _ip("netns", "add", space)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", link, "master", self._bridge, "up")
            _ip("-n", space, "addr", "add", f"{net}.{number}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "link", "set", "lo", "up")
            lines.append(f"{net}.{number} {host}")
        _NAMES.write_text("\n".join(lines) + "\n")

    def down(self) -> None:
        """Remove them and all that runs in them."""
        for host in HOSTS:
            self.kill(host)
        subprocess.run(["ip", "link", "del", self._bridge], capture_output=True, check=False)
        _NAMES.write_text(self._names_before)

    def kill(self, host: str) -> None:
        """A host dies: all its processes at once, and nobody reaches it any more."""
        for pid in self.pids(host):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        space = self._prefix + host
        subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)

    def cut(self, host: str, *, off: bool = True) -> None:
        """Cut a host off from the others, or join it again."""
        link = f"{self._prefix}v{HOSTS.index(host) + 1}"
        _ip("link", "set", link, "down" if off else "up")

    def pids(self, host: str) -> list[int]:
        """Processes on a host."""
        done = subprocess.run(
            ["ip", "netns", "pids", self._prefix + host],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(word) for word in done.stdout.split()]

    def ranks_on(self, run: Path, host: str) -> list[int]:
        """Ranks of a run on a host."""
        there = set(self.pids(host))
        return sorted(rank for rank, pid in ranks_of(run).items() if pid in there)

    def launch(
        self,
        run: Path,
        ranks: int,
        arguments: Sequence[object],
        *more: str,
        hold: int | None = None,
    ) -> Running:
        """Start `morsr launch -n RANKS MORE -- solve ...` on the first host, over all of them.

        hold: as of `Running.launch`.
        """
        each = -(-ranks // len(HOSTS))
        named = ",".join(f"{host}:{each}" for host in HOSTS)
        words = ["--prtemca", "plm", "ssh", "--prtemca", "plm_ssh_agent", str(self.agent)]
        words += ["--mca", "pml", "ob1", "--mca", "btl", "tcp,self", "--host", named]
        words += ["--map-by", "node:OVERSUBSCRIBE"]
        passed = [f"--mpirun-arg={word}" for word in words]
        python = [*program(run, hold), "launch", "-n", str(ranks), *more, *passed]
        inside = ["ip", "netns", "exec", f"{self._prefix}h1", "unshare", "-u", "sh", "-c"]
        inside += ['hostname h1; exec "$0" "$@"']
        return Running(run, [*inside, *python, "--", "solve", *arguments, "--run-dir", run])


@contextmanager
def hosts(folder: Path) -> Iterator[Hosts]:
    """Make three hosts, and remove them."""
    made = Hosts(folder)
    try:
        made.up()
        time.sleep(0.2)
        yield made
    finally:
        made.down()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
