"""What is fuzzed of identities, TLS and envelopes; joined to the others in `targets`.

Each takes any bytes; a refusal by the declared error is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.adapters.tls_pairs import HEAD
from morsr_mpi.adapters.tls_transport import SEALED_SLOT_BYTES, TlsTransport
from morsr_mpi.adapters.x509_authority import run_certificate
from morsr_mpi.adapters.x509_verify import X509Identity
from morsr_mpi.base.config import TLS_HANDSHAKE_SECONDS
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import AuthenticationError
from morsr_mpi.security.envelope import (
    generate_recipient,
    generate_sender,
    header,
    open_envelope,
    seal,
)
from morsr_mpi.security.identity import Claim, Credential

_NOW = time.time()
_RANKS = [X509Identity.alone(*run_certificate(rank, _NOW)) for rank in range(2)]
_LEAVES = [
    Credential.from_bytes(r.credential(Claim("", 0, "h", b"", b""))).chain[0] for r in _RANKS
]
_CLAIM = Claim("run", 1, "host", bytes(32), bytes(32))
_RECIPIENT, _SENDER = generate_recipient("hpke"), generate_sender("hpke")


def credential(data: bytes) -> None:
    """What a rank shows of itself, parsed and judged."""
    with suppress(AuthenticationError):
        assert Credential.from_bytes(data).to_bytes() == data, "a credential has one form"
        X509Identity.trusting(Credential.from_bytes(data), _RANKS[0]).judge(_CLAIM, data, _NOW)


def envelope(data: bytes) -> None:
    """An envelope, looked at and opened."""
    with suppress(AuthenticationError):
        header(data)
    with suppress(AuthenticationError):
        open_envelope(data, _RECIPIENT, lambda key: True)


def _ends() -> tuple[MemoryNetwork, ManualClock, list[TlsTransport]]:
    clock = ManualClock()
    network = MemoryNetwork(2, slot_bytes=SEALED_SLOT_BYTES)

    def judge(rank: int, leaf: bytes) -> None:
        if leaf != _LEAVES[rank]:
            raise AuthenticationError("another certificate")

    files = [rank.tls_files(_LEAVES) for rank in _RANKS]
    return (
        network,
        clock,
        [TlsTransport(network.transport(r), files[r], judge, clock=clock) for r in range(2)],
    )


def handshake(data: bytes) -> None:
    """Bytes thrown into a handshake at any step: first byte the step, then heads and content.

    Nothing false arrives, nothing breaks, and an honest pair finds together afterwards.
    """
    network, clock, ends = _ends()
    for step in range(24):
        if data and step == data[0] % 4:
            queue = network.queues[data[0] // 4 % 2][data[0] // 8 % 2]
            queue.append((1 - data[0] // 4 % 2, data[1:]))
            network.queued_bytes[data[0] // 4 % 2] += len(data) - 1
        for end in ends:
            assert end.poll() == [], "nobody has said anything"
    ends[0].send(1, b"all is well")
    for _ in range(24):
        clock.sleep(TLS_HANDSHAKE_SECONDS / 4.0)
        for end in ends:
            for found in end.poll():
                assert found == (0, b"all is well")
                return
    raise AssertionError("the pair does not find together")


def _handshakes() -> list[bytes]:
    """Sound heads with the bytes of a sound handshake behind them, for both sides."""
    network, _, ends = _ends()
    frames = [frame for _, frame in [*network.queues[1][0], *network.queues[1][1]]]
    ends[1].poll()
    frames += [frame for _, frame in [*network.queues[0][0], *network.queues[0][1]]]
    frames += [HEAD.pack(0, 1, 0), HEAD.pack(1, 0, 1) + b"\x16\x03\x01"]
    return [bytes([first]) + frame for frame in frames for first in (0, 6, 13)]


TARGETS: dict[str, Callable[[bytes], None]] = {
    "credential": credential,
    "envelope": envelope,
    "handshake": handshake,
}
SEEDS: dict[str, list[bytes]] = {
    "credential": [rank.credential(_CLAIM) for rank in _RANKS],
    "envelope": [
        seal(
            b"payload", "test", "hpke", _RECIPIENT.public_key(), _SENDER, lambda n: sha256(b"")[:n]
        )
    ],
    "handshake": _handshakes(),
}
