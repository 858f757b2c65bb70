"""Checking the certificates of a journal, offline: from its records and the keys in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from morsr_mpi.base.canonical import decode
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import TamperError
from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.votes import VoteKind
from morsr_mpi.node.ballot import Commit, PulseRange
from morsr_mpi.provenance.bodies import Certified, Epoch, Genesis, Pulse, Rollback
from morsr_mpi.provenance.chain import VerifiedChain
from morsr_mpi.provenance.steps import Step


@dataclass
class Certification:
    """certificates: how many; certified, uncertified: pulse records under one, and without.

    Without one are the pulses of runs before certificates, and the last before a crash.
    """

    certificates: int = 0
    certified: int = 0
    uncertified: int = 0


@dataclass
class _Job:
    """Where one job's records stand: its id, keys, pulses since the last certificate."""

    run: bytes
    signer: Signer
    keys: dict[int, bytes]
    first: int
    waiting: list[Commit]
    previous: Certificate | None = None


def verify_certificates(chain: VerifiedChain, signer_of: Callable[[str], Signer]) -> Certification:
    """Check every certificate of a chain that `verify_chain` found sound.

    signer_of: any signer of a security mode. Raises TamperError naming the first record that
    is wrong.
    """
    found = Certification()
    job: _Job | None = None
    for position, (record, body) in enumerate(zip(chain.records, chain.bodies, strict=True)):
        match body:
            case Genesis() | Epoch():
                found.uncertified += len(job.waiting) if job else 0
                first = body.committed if isinstance(body, Epoch) else 0
                keys = dict(enumerate(body.public_keys))
                job = _Job(record.digest, signer_of(body.security), keys, first, [])
            case Pulse() | Step():
                assert job is not None
                job.waiting.append(body)
            case Certified():
                assert job is not None
                _check(position, job, body)
                found.certificates += 1
                found.certified += len(job.waiting)
                job.first += len(job.waiting)
                job.waiting = []
    found.uncertified += len(job.waiting) if job else 0
    return found


def certified_pulses(
    chain: VerifiedChain, signer_of: Callable[[str], Signer], since: int
) -> set[int]:
    """Return the pulses whose record that counts is under a certificate.

    since: signatures are checked of certificates for pulses from this one on. Raises TamperError.
    """
    sure: set[int] = set()
    job: _Job | None = None
    for position, (record, body) in enumerate(zip(chain.records, chain.bodies, strict=True)):
        match body:
            case Genesis() | Epoch():
                first = body.committed if isinstance(body, Epoch) else 0
                keys = dict(enumerate(body.public_keys))
                job = _Job(record.digest, signer_of(body.security), keys, first, [])
            case Pulse() | Step() if job is not None:
                job.waiting.append(body)
                sure.discard(body.pulse)
            case Rollback():
                sure = {pulse for pulse in sure if pulse < body.committed}
            case Certified() if job is not None:
                _check(position, job, body, signatures=job.first + len(job.waiting) > since)
                sure.update(commit.pulse for commit in job.waiting)
                job.first += len(job.waiting)
                job.waiting = []
    return sure


def _check(position: int, job: _Job, body: Certified, *, signatures: bool = True) -> None:
    try:
        certificate = Certificate.parse(decode(body.certificate))
    except ValueError as error:
        raise TamperError(f"journal record {position} holds no certificate: {error}") from None
    before = job.previous
    follows = before is not None and certificate.subject.height == before.subject.height + 1
    previous = before.encode() if before is not None and follows else b""
    value = PulseRange.of(job.first, job.waiting, previous).encode()
    if certificate.subject.digest != sha256(value):
        raise TamperError(
            f"journal record {position}: the certificate is not one of the pulses before it"
        )
    members = certificate.members == Membership.of(len(job.keys))
    votes = (VoteKind.COMMIT, job.run, job.keys, job.signer)
    if not members or (signatures and not certificate.valid(*votes)):
        raise TamperError(
            f"journal record {position}: the certificate lacks valid votes of a quorum"
        )
    job.previous = certificate
