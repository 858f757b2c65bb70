"""What a run cost, rank by rank: for `/run` of result.h5, and in one line at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from morsr_mpi.app.accounting import CATEGORIES
from morsr_mpi.app.agree import Together
from morsr_mpi.app.crypto import CryptoCost
from morsr_mpi.app.loop import LoopStats, Outcome
from morsr_mpi.app.replicas import ENTRIES, Replicas
from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.errors import InternalError
from morsr_mpi.node.channel import Traffic


@dataclass(frozen=True)
class Account:
    """One rank's part of a run. Seconds of CPU by category, wall seconds of its loop and of it
    those with a task to compute; tasks, work units, units lost with tasks given up; rounds; tasks
    whose results were known.

    replicas: of the replicated store, in the order of `replicas.ENTRIES`; empty without one.
    crypto: CPU seconds of signing, verifying, TLS; signatures: made and verified. Both from the
    start of the job on, parts of `cpu` besides."""

    cpu: tuple[float, ...]
    wall: float
    busy: float
    tasks: int
    work: int
    wasted: int
    rounds: int
    known: int
    traffic: Mapping[str, Traffic]
    crypto: tuple[float, ...] = (0.0, 0.0, 0.0)
    signatures: tuple[int, ...] = (0, 0)
    replicas: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        stats: LoopStats,
        traffic: Mapping[str, Traffic],
        crypto: CryptoCost,
        replicas: tuple[int, ...] = (),
    ) -> Account:
        """Return the account of a loop that has ended."""
        cpu = tuple(float(stats.cpu.get(name, 0.0)) for name in CATEGORIES)
        return cls(
            cpu,
            stats.wall,
            stats.busy,
            stats.tasks,
            stats.work,
            stats.wasted,
            stats.rounds,
            stats.known,
            traffic,
            crypto.seconds(),
            crypto.counts(),
            replicas,
        )

    def to_bytes(self) -> bytes:
        """Canonical bytes; from_bytes is the inverse."""
        said = tuple((n, t.messages, t.plain, t.packed) for n, t in sorted(self.traffic.items()))
        numbers = (self.tasks, self.work, self.wasted, self.rounds, self.known)
        crypto = (self.crypto, self.signatures, self.replicas)
        return encode((self.cpu, self.wall, self.busy, numbers, said, crypto))

    @classmethod
    def from_bytes(cls, data: bytes) -> Account:
        """Raise InternalError for anything to_bytes did not write."""
        try:
            match decode(data):
                case (
                    tuple(cpu),
                    float(wall),
                    float(busy),
                    (int(tasks), int(work), int(wasted), int(rounds), int(known)),
                    tuple(said),
                    (tuple(seconds), tuple(counts), tuple(kept)),
                ):
                    traffic = {str(n): Traffic(m, plain, packed) for n, m, plain, packed in said}
                    numbers = (tasks, work, wasted, rounds, known)
                    return cls(cpu, wall, busy, *numbers, traffic, seconds, counts, kept)
        except CanonicalError:
            pass
        raise InternalError("malformed account of a rank")


def gather(
    together: Together,
    outcomes: Sequence[Outcome],
    crypto: CryptoCost,
    replicas: Replicas | None = None,
) -> list[Account]:
    """Return the accounts of all ranks: of this process's nodes, or of one node per process."""
    kept = replicas.account() if replicas is not None else ()
    own = [Account.of(found.stats, found.node.traffic, crypto, kept) for found in outcomes]
    if len(own) > 1:
        return own
    return [Account.from_bytes(data) for data in together.exchange(own[0].to_bytes())]


def run_entries(accounts: Sequence[Account]) -> dict[str, Any]:
    """Return entries of `/run` (docs/formats/result.md): arrays over ranks, or over types."""
    entries: dict[str, Any] = {
        f"cpu_{name}": [account.cpu[i] for account in accounts] for i, name in enumerate(CATEGORIES)
    }
    entries["search_seconds"] = [account.wall for account in accounts]
    entries["busy_seconds"] = [account.busy for account in accounts]
    entries["tasks"] = [account.tasks for account in accounts]
    entries["known_tasks"] = [account.known for account in accounts]
    entries["executed_work"] = [account.work for account in accounts]
    entries["wasted_work"] = [account.wasted for account in accounts]
    entries["rounds"] = [account.rounds for account in accounts]
    for i, name in enumerate(("signing", "verifying", "tls")):
        entries[f"crypto_{name}"] = [account.crypto[i] for account in accounts]
    for i, name in enumerate(("signatures", "verifications")):
        entries[name] = [account.signatures[i] for account in accounts]
    if all(len(account.replicas) == len(ENTRIES) for account in accounts):
        for i, name in enumerate(ENTRIES):
            entries[name] = [account.replicas[i] for account in accounts]
    said = _total(accounts)
    if not said:  # a single rank has nobody to tell
        return entries
    entries["sent_types"] = list(said)
    entries["sent_messages"] = [traffic.messages for traffic in said.values()]
    entries["sent_plain_bytes"] = [traffic.plain for traffic in said.values()]
    entries["sent_bytes"] = [traffic.packed for traffic in said.values()]
    return entries


def summary(entries: Mapping[str, Any]) -> str:
    """Return one line for people from entries of `/run`, "" when they are not there."""
    if not entries.get("search_seconds"):
        return ""
    available = sum(entries["search_seconds"])
    if not available > 0.0:
        return ""
    shares = [
        f"{name} {100.0 * sum(entries[f'cpu_{name}']) / available:.1f} %"
        for name in CATEGORIES
        if sum(entries[f"cpu_{name}"]) >= 0.0005 * available
    ]
    idle = 100.0 * (1.0 - sum(entries["busy_seconds"]) / available)
    text = f"processor time: {', '.join(shares)}; without a task {max(idle, 0.0):.1f} %"
    crypto = sum(sum(entries.get(f"crypto_{name}", ())) for name in ("signing", "verifying", "tls"))
    if crypto >= 0.0005 * available:
        text += f"; of it cryptography {100.0 * crypto / available:.1f} %"
    sent = sum(entries.get("sent_bytes", ()))
    plain = sum(entries.get("sent_plain_bytes", ()))
    if sent:
        text += f"; sent {sent / 1e6:.2f} MB, compressed {plain / sent:.1f} : 1"
    return text


def _total(accounts: Sequence[Account]) -> dict[str, Traffic]:
    """Traffic of all ranks by type, in the order of their names."""
    found: dict[str, Traffic] = {}
    for account in accounts:
        for name, said in account.traffic.items():
            known = found.get(name, Traffic())
            found[name] = Traffic(
                known.messages + said.messages,
                known.plain + said.plain,
                known.packed + said.packed,
            )
    return {name: found[name] for name in sorted(found)}
