"""Checking the certificates of a journal, offline: from its records and the keys in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from morsr_mpi.base.canonical import decode
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import TamperError
from morsr_mpi.base.ports import Signer
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.membership import Membership
from morsr_mpi.consensus.votes import VoteKind
from morsr_mpi.node.ballot import Commit, PulseRange
from morsr_mpi.provenance.bodies import Body, Certified, Epoch, Genesis, Pulse, Rollback
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
    for body, covered in _walk(chain, signer_of, 0):
        match body:
            case Pulse() | Step():
                found.uncertified += 1
            case Certified():
                found.certificates += 1
                found.certified += len(covered)
                found.uncertified -= len(covered)
    return found


def certified_pulses(
    chain: VerifiedChain, signer_of: Callable[[str], Signer], since: int
) -> set[int]:
    """Return the pulses whose record that counts is under a certificate.

    since: signatures are checked of certificates for pulses from this one on. Raises TamperError.
    """
    sure: set[int] = set()
    for body, covered in _walk(chain, signer_of, since):
        match body:
            case Pulse() | Step():
                sure.discard(body.pulse)
            case Rollback():
                sure = {pulse for pulse in sure if pulse < body.committed}
            case Certified():
                sure.update(commit.pulse for commit in covered)
    return sure


def _walk(
    chain: VerifiedChain, signer_of: Callable[[str], Signer], since: int
) -> Iterator[tuple[Body, list[Commit]]]:
    """Give every record's body, with the commits that it certifies; raises TamperError.

    since: signatures are checked of certificates for pulses from this one on.
    """
    job: _Job | None = None
    for position, (record, body) in enumerate(zip(chain.records, chain.bodies, strict=True)):
        covered: list[Commit] = []
        match body:
            case Genesis() | Epoch():
                first = body.committed if isinstance(body, Epoch) else 0
                keys = dict(enumerate(body.public_keys))
                job = _Job(record.digest, signer_of(body.security), keys, first, [])
            case Pulse() | Step():
                assert job is not None
                job.waiting.append(body)
            case Certified():
                assert job is not None
                _check(position, job, body, signatures=job.first + len(job.waiting) > since)
                covered, job.waiting = job.waiting, []
                job.first += len(covered)
        yield body, covered


def _check(position: int, job: _Job, body: Certified, *, signatures: bool) -> None:
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
