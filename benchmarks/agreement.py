"""Latency of one agreement over real MPI among idle ranks: from the proposal to the last decision.

Usage: mpirun -n 4 --oversubscribe python benchmarks/agreement.py [--rounds R] [--bytes B]
[--security sign|off] [--json FILE]. Every rank votes as in a run, with real keys, over the run's
transport; nobody computes. The peer is the same exchange without votes: the value to all, and an
answer from all, over the same transport.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from mpi4py import MPI

from morsr_mpi.adapters.mpi import MpiTransport
from morsr_mpi.base.config import IDLE_SLEEP_MIN_SECONDS
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.ports import Signer
from morsr_mpi.base.version import __version__
from morsr_mpi.consensus import effects as fx
from morsr_mpi.consensus import events as ev
from morsr_mpi.consensus.core import ByzantineConsensus
from morsr_mpi.consensus.messages import decode_message, encode_message
from morsr_mpi.consensus.values import Step
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.unsigned import UnsignedSigner

#: First byte of the plain exchange's messages; no vote starts with it.
PLAIN = b"\0"


def wait(
    transport: MpiTransport, take: Callable[[int, bytes], None], done: Callable[[], bool]
) -> None:
    """Look after messages until something is done."""
    while not done():
        frames = transport.poll()
        for source, frame in frames:
            take(source, frame)
        if not frames and not transport.under_way:
            time.sleep(IDLE_SLEEP_MIN_SECONDS)


class Voter:
    """One rank: the core and the transport, nothing else."""

    def __init__(self, transport: MpiTransport, signer: Signer) -> None:
        keys = dict(enumerate(MPI.COMM_WORLD.allgather(signer.public_key)))
        self.transport = transport
        self.core = ByzantineConsensus(transport.rank, sha256(b"benchmark"), keys, signer)
        self.decided_at = 0.0
        self.messages = 0

    def apply(self, event: ev.Event) -> None:
        for effect in self.core.apply(event):
            match effect:
                case fx.Send():
                    self._send(effect.dest, encode_message(effect.message))
                case fx.Broadcast():
                    data = encode_message(effect.message)
                    for dest in range(self.transport.size):
                        if dest != self.transport.rank:
                            self._send(dest, data)
                case fx.Check():
                    self.apply(ev.Checked(effect.digest, True))
                case fx.Decided():
                    self.decided_at = time.monotonic()

    def _send(self, dest: int, data: bytes) -> None:
        self.messages += 1
        self.transport.send(dest, data)

    def _take(self, source: int, data: bytes) -> None:
        if data[:1] != PLAIN:
            self.apply(ev.Received(source, decode_message(data, source)))

    def agree(self, value: bytes) -> float:
        """One decision; returns the time until the last rank had it, on rank 0."""
        height = self.core.height
        begin = time.monotonic()
        if self.transport.rank == 0:
            self.apply(ev.Propose(value))
        wait(
            self.transport,
            self._take,
            lambda: self.core.height > height,
        )
        last: float = MPI.COMM_WORLD.allreduce(self.decided_at, op=MPI.MAX)
        return last - begin


def echo(transport: MpiTransport, value: bytes) -> float:
    """The value to all, and an answer from all."""
    heard: list[bytes] = []
    begin = time.monotonic()
    others = [rank for rank in range(transport.size) if rank]
    if transport.rank == 0:
        for rank in others:
            transport.send(rank, PLAIN + value)
    wanted = len(others) if transport.rank == 0 else 1

    def take(source: int, data: bytes) -> None:
        if data[:1] == PLAIN:  # votes of the decision before may still come
            heard.append(data)

    wait(transport, take, lambda: len(heard) == wanted)
    if transport.rank:
        transport.send(0, PLAIN)
    end = time.monotonic()
    MPI.COMM_WORLD.barrier()
    return end - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--bytes", type=int, default=2048, help="size of the value")
    parser.add_argument("--security", choices=("sign", "off"), default="sign")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    transport = MpiTransport()
    signer = Ed25519Signer(os.urandom(32)) if options.security == "sign" else UnsignedSigner()
    voter = Voter(transport, signer)
    ours, peer = [], []
    cpu = 0.0
    for number in range(options.rounds):
        value = Step(number.to_bytes(4, "big") * (options.bytes // 4)).encode()
        MPI.COMM_WORLD.barrier()
        before = time.process_time()
        ours.append(1e3 * voter.agree(value))
        cpu += time.process_time() - before
        peer.append(1e3 * echo(transport, value))
    report: dict[str, Any] = {
        "benchmark": "agreement",
        "version": __version__,
        "date": date.today().isoformat(),
        "ranks": transport.size,
        "security": options.security,
        "value_bytes": options.bytes,
        "ms": ours,
        "peer_ms": peer,
        "cpu_ms_per_rank": 1e3 * cpu / options.rounds,
        "messages_per_rank": voter.messages / options.rounds,
    }
    while not transport.leave():
        transport.poll()
    transport.close()
    if transport.rank:
        return
    median, other = statistics.median(ours), statistics.median(peer)
    tenth = sorted(ours)[int(0.9 * len(ours))]
    print(
        f"{transport.size} ranks, {options.security}: {median:.2f} ms median, {tenth:.2f} ms for "
        f"nine of ten; plain exchange {other:.2f} ms, ratio {other / median:.2f}; per rank "
        f"{report['cpu_ms_per_rank']:.2f} ms CPU, {report['messages_per_rank']:.0f} messages"
    )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
