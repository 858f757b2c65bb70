"""Forges a run directory as a whole: new keys, all votes cast again, all records signed again.

What comes out is consistent in itself; only whoever knows the run from elsewhere can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from morsr_mpi.adapters.hdf5_result import load_result, save_result
from morsr_mpi.adapters.journal_file import MAGIC, read_records
from morsr_mpi.adapters.segment_file import MAGIC as SEGMENT_MAGIC
from morsr_mpi.adapters.segment_file import read_items
from morsr_mpi.app.audit import seal_entries
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.task_ledger import segment_name
from morsr_mpi.base.digest import sha256
from morsr_mpi.consensus.certificate import Certificate
from morsr_mpi.consensus.votes import Subject, Vote
from morsr_mpi.node.ballot import Commit, PulseRange
from morsr_mpi.provenance.bodies import Body, Certified, Genesis, Pulse, Seal, fingerprint
from morsr_mpi.provenance.chain import Chain, verify_chain
from morsr_mpi.provenance.steps import Step
from morsr_mpi.provenance.tasks import RECORD_FRONT, BatchRoot, SegmentHeader, SegmentWriter
from morsr_mpi.security.ed25519 import Ed25519Signer


def framed(magic: bytes, items: list[bytes]) -> bytes:
    return magic + b"".join(len(item).to_bytes(4, "big") + item for item in items)


def forge(path: Path, change: Callable[[Body], Body] = lambda body: body) -> None:
    """Write journal and segments of a run that was never interrupted again, with keys of ours."""
    run = RunDirectory(path)
    chain = verify_chain(read_records(run.journal))
    genesis = chain.bodies[0]
    assert isinstance(genesis, Genesis)
    signers = [Ed25519Signer(bytes([i + 1]) * 32) for i in range(len(genesis.public_keys))]
    keys = tuple(signer.public_key for signer in signers)
    linked = Chain()
    records: list[bytes] = []
    waiting: list[Commit] = []
    first, previous = 0, b""
    for old in chain.bodies:
        body = change(old)
        if isinstance(body, Genesis):
            body = Genesis(*body.body()[:-1], keys)  # type: ignore[arg-type]
        elif isinstance(body, Pulse | Step):
            waiting.append(body)
        elif isinstance(body, Certified):
            was = Certificate.decode(body.certificate)
            value = PulseRange.of(first, waiting, previous).encode()
            s = was.subject
            subject = Subject(s.kind, s.members, s.ballot, s.height, sha256(value))
            message = subject.signed_bytes(sha256(records[0]))
            votes = [Vote(subject, r, signer.sign(message)) for r, signer in enumerate(signers)]
            certificate = Certificate.of(was.members, votes)
            previous, first, waiting = certificate.encode(), first + len(waiting), []
            body = Certified(previous)
        elif isinstance(body, Seal):
            segments(run, sha256(records[0]), signers)
            result = load_result(run.result)
            result.fingerprint = fingerprint(sha256(records[0]))
            save_result(run.result, result, {})
            data = run.result.read_bytes()
            files = (*seal_entries(run), ("result.h5", len(data), sha256(data)))
            bare = Seal(body.committed, body.state, files)
            signature = signers[0].sign(bare.signed_bytes(linked.point.head))
            body = Seal(bare.committed, bare.state, bare.files, ((0, signature),))
        records.append(linked.append(body))
    run.journal.write_bytes(framed(MAGIC, records))
    lines = [f"{rank} {key.hex()}\n" for rank, key in enumerate(keys)]
    (run.keys / "start-000.txt").write_text("".join(lines))


def segments(run: RunDirectory, genesis: bytes, signers: list[Ed25519Signer]) -> None:
    """Sign all task records again, under another genesis."""
    for path in list(run.tasks.iterdir()):
        items = [item for _, item in read_items(path)]
        was = SegmentHeader.parse(items[0])
        header = SegmentHeader(genesis, was.rank, was.problem, was.algorithm)
        writer = SegmentWriter(header, signers[was.rank].sign)
        out, batch = [header.encode()], list[bytes]()
        for item in items[1:]:
            if item[:3] == RECORD_FRONT:
                batch.append(item)
                continue
            root = BatchRoot.parse(item)
            out += writer.batch(root.first, root.end, batch, root.time)
            batch = []
        path.unlink()
        (run.tasks / segment_name(genesis, was.rank)).write_bytes(framed(SEGMENT_MAGIC, out))
