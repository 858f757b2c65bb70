"""Who may take part in a run: identities shown and judged before anything else (paper 10.1).

All ranks exchange a nonce, then credentials over all nonces. Every rank judges the same bytes at
the same time (the median of all clocks), so all come to the same verdict without a vote: ranks that
fail are left out, the others renumber themselves and go on. A rank that was left out learns why.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from morsr_mpi.adapters import key_files
from morsr_mpi.adapters.clock import CpuCost
from morsr_mpi.adapters.tls_links import TlsLinks
from morsr_mpi.adapters.tls_pairs import Refused
from morsr_mpi.adapters.tls_session import TlsFiles
from morsr_mpi.adapters.tls_transport import SEALED_SLOT_BYTES, TlsTransport
from morsr_mpi.adapters.x509_authority import run_certificate
from morsr_mpi.adapters.x509_verify import X509Identity
from morsr_mpi.app.agree import CommonError, Together
from morsr_mpi.app.world import World
from morsr_mpi.base.canonical import CanonicalError, decode, encode
from morsr_mpi.base.config import CLOCK_SKEW_SECONDS, SLOT_BYTES
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import EXIT_OK, AuthenticationError, MorsrError, UsageError
from morsr_mpi.base.ports import Links, Signer, Transport
from morsr_mpi.security.admissions import AdmissionRecord
from morsr_mpi.security.ed25519 import SEED_BYTES, Ed25519Signer
from morsr_mpi.security.identity import Claim, Credential
from morsr_mpi.security.unsigned import UnsignedSigner

_NONCE_BYTES = 32


@dataclass(frozen=True)
class Left:
    """A rank that was left out at the start, by its number in the MPI world, and why."""

    rank: int
    reason: str

    def __str__(self) -> str:
        return f"rank {self.rank} was left out at the start: {self.reason}"


@dataclass
class Admission:
    """What a run goes on with. world: the ranks admitted, renumbered; left: the others.

    established: whether identities were proven by certificates of a CA; record: what proved
    them, for an audit later on (`security.admissions`).
    """

    world: World
    security: str
    established: bool = False
    left: tuple[Left, ...] = ()
    credentials: tuple[bytes, ...] = ()
    record: bytes = b""
    _seed: bytes = field(default=b"", repr=False)
    _files: TlsFiles | None = field(default=None, repr=False)
    _leaves: tuple[bytes, ...] = ()

    def signer(self) -> Signer:
        """Return what signs this rank's frames and records."""
        if self.security == "off":
            return UnsignedSigner()
        return Ed25519Signer(self._seed or os.urandom(SEED_BYTES))

    def transport(self, refused: Refused | None = None, cost: CpuCost | None = None) -> Transport:
        """Return a new transport over the admitted ranks, inside TLS where that is asked for.

        refused: told of what TLS refuses, and why; cost: of TLS.
        """
        if self._files is None:
            return self.world.transport(SLOT_BYTES)
        inner = self.world.transport(SEALED_SLOT_BYTES)
        return TlsTransport(inner, self._files, self._judge, refused=refused, cost=cost)

    def links(self, refused: Refused | None = None, cost: CpuCost | None = None) -> Links:
        """Return links over the admitted ranks, inside TLS where that is asked for."""
        links = self.world.links()
        if self._files is None:
            return links
        return TlsLinks(links, self._files, self._judge, refused, cost)

    def _judge(self, rank: int, leaf: bytes) -> None:
        """A TLS session is with exactly the certificate that its rank was admitted with."""
        if leaf != self._leaves[rank]:
            raise AuthenticationError("another certificate than it was admitted with")


def admit(world: World, security: str, keys: Path | None, run: str) -> Admission:
    """Show and judge identities as `--security` and `--keys` ask for; all ranks call it.

    Raises CommonError on all ranks when no rank is left, and on a rank that is left out.
    """
    if security == "off" or (security == "sign" and keys is None):
        return Admission(world, security)
    together = Together(world.transport(SLOT_BYTES), world.clock)
    try:
        return _Admitting(world, together, security, keys, run).run()
    finally:
        together.close()


class _Admitting:
    """The two exchanges of an admission, on one rank."""

    def __init__(
        self, world: World, together: Together, security: str, keys: Path | None, run: str
    ) -> None:
        self.world = world
        self.together = together
        self.security = security
        self.keys = keys
        self.run_name = run
        self.host = os.uname().nodename
        self.seed = os.urandom(SEED_BYTES)
        self.identity: X509Identity | None = None
        self.record = b""

    def run(self) -> Admission:
        """Exchange, judge, renumber."""
        keys = self.keys
        if keys is not None:
            self.identity = self.together.agree(
                lambda: key_files.load_identity(keys, self.world.rank, self.host), str
            )
        hellos = self._exchange((self.security, time.time(), os.urandom(_NONCE_BYTES)))
        verdicts = self._common(hellos)
        context = sha256(encode((self.security, *(hello[2] for hello in hellos))))
        shown = self._exchange(self._show(context))
        now = sorted(float(str(hello[1])) for hello in hellos)[len(hellos) // 2]
        for rank, fields in enumerate(shown):
            if not verdicts[rank]:
                verdicts[rank] = self._verdict(rank, fields, context, now)
        self._close_if_nobody(verdicts)
        admitted = [rank for rank, verdict in enumerate(verdicts) if not verdict]
        self.record = AdmissionRecord(
            self.run_name, context, now, tuple((rank, *shown[rank]) for rank in admitted)
        ).encode()
        return self._admitted(verdicts, [fields[2] for fields in shown])

    def _exchange(self, fields: tuple[object, ...]) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for rank, data in enumerate(self.together.exchange(encode(fields))):
            try:
                item = decode(data)
            except CanonicalError:
                item = None
            if type(item) is not tuple or len(item) != len(fields):
                raise CommonError(
                    UsageError.exit_code,
                    f"rank {rank} was started with other --security or --keys: give all ranks "
                    "the same options",
                    0,
                )
            found.append(item)
        return found

    def _common(self, hellos: list[tuple[object, ...]]) -> list[str]:
        """Check the first exchange; a reason per rank, empty where there is none."""
        times = [hello[1] for hello in hellos]
        middle = sorted(t for t in times if isinstance(t, float))
        verdicts = []
        for security, clock, nonce in hellos:
            if security != self.security:
                raise CommonError(
                    UsageError.exit_code, "ranks were started with different --security", 0
                )
            if type(clock) is not float or type(nonce) is not bytes or len(nonce) != _NONCE_BYTES:
                raise CommonError(AuthenticationError.exit_code, "malformed admission", 0)
            off = abs(clock - middle[len(middle) // 2])
            verdicts.append(
                f"its clock differs by {off:.0f} s from the others'"
                if off > CLOCK_SKEW_SECONDS
                else ""
            )
        return verdicts

    def _show(self, context: bytes) -> tuple[object, ...]:
        """This rank's host, key and credential."""
        public = Ed25519Signer(self.seed).public_key
        if self.identity is None:
            certificate, key = run_certificate(self.world.rank, time.time())
            self.identity = X509Identity.alone(certificate, key)
        claim = Claim(self.run_name, self.world.rank, self.host, public, context)
        return (self.host, public, self.identity.credential(claim))

    def _verdict(self, rank: int, fields: tuple[object, ...], context: bytes, now: float) -> str:
        host, public, credential = fields
        if not (isinstance(host, str) and isinstance(public, bytes)):
            return "malformed credential"
        if not isinstance(credential, bytes):
            return "malformed credential"
        assert self.identity is not None
        claim = Claim(self.run_name, rank, host, public, context)
        identity = self.identity
        try:
            if self.keys is None:  # nobody to trust: the rank's own certificate is its root
                identity = X509Identity.trusting(Credential.from_bytes(credential), self.identity)
            identity.judge(claim, credential, now)
        except MorsrError as error:
            return str(error)
        return ""

    def _close_if_nobody(self, verdicts: list[str]) -> None:
        if all(verdicts):
            raise CommonError(
                AuthenticationError.exit_code,
                f"no rank could prove who it is; rank 0: {verdicts[0]}",
                0,
            )

    def _admitted(self, verdicts: list[str], credentials: list[object]) -> Admission:
        left = tuple(Left(rank, reason) for rank, reason in enumerate(verdicts) if reason)
        mine = verdicts[self.world.rank]
        if mine:
            raise CommonError(
                EXIT_OK,
                f"rank {self.world.rank} on host {self.host} takes no part: {mine}",
                self.world.rank,
            )
        ranks = [rank for rank, reason in enumerate(verdicts) if not reason]
        shown = [data for data in credentials if isinstance(data, bytes)]
        kept = tuple(shown[rank] for rank in ranks)
        leaves = tuple(Credential.from_bytes(data).chain[0] for data in kept)
        world = self.world.keep(ranks) if left else self.world
        return Admission(
            world,
            self.security,
            established=self.keys is not None,
            left=left,
            credentials=kept,
            record=self.record,
            _seed=self.seed,
            _files=self._files(leaves) if self.security == "tls" else None,
            _leaves=leaves,
        )

    def _files(self, leaves: tuple[bytes, ...]) -> TlsFiles:
        assert self.identity is not None
        return self.identity.tls_files(None if self.keys is not None else leaves)
