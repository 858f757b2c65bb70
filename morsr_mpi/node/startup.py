"""Start of a run: all ranks exchange what they were started with, and their keys.

The first slot of each rank holds one HELLO, signed by the key it brings. All ranks see the
same HELLOs, so all come to the same verdict: errors found here are raised on every rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from morsr_mpi.base.digest import short
from morsr_mpi.base.errors import InternalError, MorsrError, ProtocolError, UsageError
from morsr_mpi.base.ports import SearchMachine, Signer
from morsr_mpi.node.settings import NodeSettings
from morsr_mpi.provenance.bodies import Epoch, Genesis
from morsr_mpi.provenance.chain import Chain, ChainPoint
from morsr_mpi.wire.frames import check_signature, decode_frame, encode_frame
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import Hello, decode_message, encode_message
from morsr_mpi.wire.slots import pack_slot, unpack_slot

#: Stands for the run id in signatures before there is one.
NO_RUN = b""


class StartMismatchError(UsageError):
    """Ranks were started with different things; every rank raises it, one needs to print it."""

    everywhere = True


class StateMismatchError(InternalError):
    """Ranks were given the same things and made different states of them."""

    everywhere = True


@dataclass(frozen=True)
class Roster:
    """Who takes part. run: id of this epoch of the run; record: its first journal record."""

    keys: tuple[bytes, ...]
    capacities: tuple[int, ...]
    chain: Chain
    record: bytes
    run: bytes


def hello_slot(
    settings: NodeSettings, signer: Signer, search: SearchMachine, at: ChainPoint
) -> bytes:
    """Return this rank's first slot. at: where its journal stands; rank 0's counts."""
    hello = Hello(
        software=settings.software,
        algorithm=settings.algorithm,
        problem=settings.problem,
        options=settings.options,
        security=signer.mode,
        settings=settings.common(),
        committed=search.committed,
        state=search.state_digest(),
        public_key=signer.public_key,
        capacity=settings.capacity,
        records=at.count,
        head=at.head,
        genesis=at.genesis,
    )
    payload = encode_message(hello)
    frame = encode_frame(MessageType.HELLO, settings.rank, 0, payload, NO_RUN, signer)
    return pack_slot([frame])


def open_roster(settings: NodeSettings, signer: Signer, slots: tuple[bytes, ...]) -> Roster:
    """Check the first slots of all ranks against each other.

    Raises UsageError or InternalError naming the ranks that differ from rank 0, ProtocolError
    for a slot that is no HELLO.
    """
    if len(slots) != settings.size:
        raise InternalError(f"{len(slots)} slots came from {settings.size} ranks")
    hellos = [_read(slot, rank, signer) for rank, slot in enumerate(slots)]
    _compare(hellos)
    first = hellos[0]
    keys = tuple(hello.public_key for hello in hellos)
    if signer.signature_bytes and len(set(keys)) != len(keys):
        raise InternalError("two ranks brought the same public key")
    chain = Chain(ChainPoint(first.records, first.head, first.genesis))
    if first.records == 0:
        record = chain.append(
            Genesis(
                first.software, first.algorithm, first.problem, first.options,
                first.security, settings.recorded(), keys,
            )
        )  # fmt: skip
    else:
        record = chain.append(
            Epoch(
                first.software, first.security, settings.recorded(), keys,
                first.committed, first.state,
            )
        )  # fmt: skip
    # A dedicated coordinator has no capacity, unless nobody else is there to compute.
    capacities = [hello.capacity for hello in hellos]
    if settings.dedicated and settings.size > 1:
        capacities[settings.coordinator(0)] = 0
    if not any(capacities):
        capacities = [1] * settings.size
    return Roster(keys, tuple(capacities), chain, record, chain.point.head)


def _read(slot: bytes, rank: int, signer: Signer) -> Hello:
    """Return the HELLO in a slot."""
    frames = unpack_slot(slot, rank)
    if len(frames) != 1:
        raise ProtocolError(f"rank {rank} sent no HELLO: start all ranks with the same software")
    frame = decode_frame(frames[0], rank)
    message = decode_message(frame.payload, rank)
    if not isinstance(message, Hello) or frame.kind != MessageType.HELLO or frame.sender != rank:
        raise ProtocolError(f"rank {rank} sent no HELLO: start all ranks with the same software")
    if bool(message.public_key) == bool(signer.signature_bytes):
        check_signature(frame, message.public_key, NO_RUN, signer)
    return message


def _compare(hellos: list[Hello]) -> None:
    """Raise for the first thing in which ranks differ from rank 0."""
    same_file = "start all ranks with the same problem file"
    same_options = "start all ranks with the same options"
    same_software = "install the same software on all hosts"
    checks: tuple[tuple[str, str, type[MorsrError], Callable[[Hello], object]], ...] = (
        ("software version", same_software, StartMismatchError, lambda h: h.software),
        ("algorithm version", same_software, StartMismatchError, lambda h: h.algorithm),
        ("problem", same_file, StartMismatchError, lambda h: short(h.problem)),
        ("options", same_options, StartMismatchError, lambda h: short(h.options)),
        ("--security", same_options, StartMismatchError, lambda h: h.security),
        ("settings", same_options, StartMismatchError, lambda h: h.settings.hex()),
        (
            "number of committed pulses",
            "resume all ranks from the same checkpoint",
            StartMismatchError,
            lambda h: h.committed,
        ),
        (
            "initial state",
            "the hosts compute differently; report this as a bug",
            StateMismatchError,
            lambda h: short(h.state),
        ),
    )
    for what, advice, error, value in checks:
        expected = value(hellos[0])
        other = [rank for rank, hello in enumerate(hellos) if value(hello) != expected]
        if other:
            shown = ", ".join(map(str, other[:8])) + (", …" if len(other) > 8 else "")
            raise error(
                f"the {what} of rank {shown} ({value(hellos[other[0]])}) differs from that of "
                f"rank 0 ({expected}): {advice}"
            )
