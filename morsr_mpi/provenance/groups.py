"""The journal by groups: each start of a run, or regrouping in it, with the pulses it recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import unpack

from morsr_mpi.base.canonical import CanonicalError, decode
from morsr_mpi.base.errors import TamperError
from morsr_mpi.provenance.bodies import Certified, Epoch, Genesis, Pulse, Regroup, Seal, Stop
from morsr_mpi.provenance.chain import VerifiedChain
from morsr_mpi.provenance.steps import Step


@dataclass
class RunGroup:
    """Ranks that worked together under one genesis or epoch record.

    run: digest of that record, position: where it stands; keys: of its ranks; committed: pulses
    it started from; lag, agreed, free: as recorded; state: digest of S it started from, empty at
    the genesis; pulses: what it recorded, by number; certified: those under a certificate;
    complete: whether it ended in order, by a stop or a seal.
    """

    run: bytes
    position: int
    security: str
    keys: tuple[bytes, ...]
    members: tuple[int, ...]
    committed: int
    lag: int
    agreed: tuple[object, ...] = ()
    free: bool = False
    state: bytes = b""
    pulses: dict[int, Pulse | Step] = field(default_factory=dict)
    certified: set[int] = field(default_factory=set)
    complete: bool = False

    @property
    def end(self) -> int:
        """Number of the pulse after the last recorded one."""
        return 1 + max(self.pulses, default=self.committed - 1)


def groups_of(chain: VerifiedChain) -> list[RunGroup]:
    """Return the groups of a sound chain in their order."""
    found: list[RunGroup] = []
    members: tuple[int, ...] | None = None
    for record, body in zip(chain.records, chain.bodies, strict=True):
        match body:
            case Regroup():
                members = unpack(f">{len(body.ranks) // 2}H", body.ranks)
            case Genesis() | Epoch():
                keys = body.public_keys
                known = members if members and len(members) == len(keys) else None
                found.append(
                    RunGroup(
                        record.digest,
                        record.index,
                        body.security,
                        keys,
                        known or tuple(range(len(keys))),
                        body.committed if isinstance(body, Epoch) else 0,
                        *_settings(body.settings, record.index),
                        body.state if isinstance(body, Epoch) else b"",
                    )
                )
                members = None
            case Pulse() | Step():
                found[-1].pulses[body.pulse] = body
            case Certified():
                found[-1].certified.update(found[-1].pulses)
            case Stop() | Seal():
                found[-1].complete = True
    return found


def _settings(settings: bytes, position: int) -> tuple[int, tuple[object, ...], bool]:
    """Lag, what was agreed on besides, and whether commits were free."""
    try:
        match decode(settings):
            case (int(lag), tuple(agreed), *more) if lag >= 0:
                return int(lag), agreed, more == ["free"]
            case (int(lag), *_) if lag >= 0:
                return int(lag), (), False
    except CanonicalError:
        pass
    raise TamperError(f"journal record {position} has malformed settings")
