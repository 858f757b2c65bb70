"""Evidence judged offline: a signed result proves something by contradicting the agreed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from morsr_mpi.app.audit_evidence import audit_evidence
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import TamperError
from morsr_mpi.base.version import ALGORITHM_VERSION, __version__
from morsr_mpi.node.wrong_result import WrongResult
from morsr_mpi.provenance.bodies import Genesis, Pulse
from morsr_mpi.provenance.chain import Chain, VerifiedChain, verify_chain
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.wire.frames import encode_frame
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import pack_header, seal_message
from morsr_mpi.wire.pulse_messages import Results

SIGNERS = [Ed25519Signer(bytes([i + 1]) * 32) for i in range(4)]
HONEST, STATE = b"honest", sha256(b"state")


def ledger() -> VerifiedChain:
    """Two pulses of one task each, both with the honest result."""
    chain = Chain()
    keys = tuple(signer.public_key for signer in SIGNERS)
    settings = encode((0, ()))
    none = sha256(b"")
    genesis = Genesis(__version__, ALGORITHM_VERSION, none, none, "sign", settings, keys)
    records = [chain.append(genesis)]
    for number in range(2):
        body = Pulse(0, number, sha256(b"task"), sha256(HONEST), b"\0\1", STATE)
        records.append(chain.append(body))
    return verify_chain(records)


def evidence(
    run: bytes, result: bytes, pulse: int, state: bytes = STATE, rank: int = 2, key: int = 2
) -> bytes:
    """What a rank says it found for the task of a pulse, in a round it entered before it."""
    said = seal_message(Results(pulse, (0,), (result,)))
    payload = pack_header(pulse, state, (said,))
    frame = encode_frame(MessageType.ROUND, rank, 7, payload, run, SIGNERS[key])
    return WrongResult(frame, pulse, 0).encode()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    (tmp_path / "evidence").mkdir()
    return RunDirectory(tmp_path)


def judged(run: RunDirectory, data: bytes, name: str) -> tuple[int, int]:
    (run.path / "evidence" / name).write_bytes(data)
    found = audit_evidence(run, ledger())
    return found.proven, found.open


def test_what_contradicts_the_agreed_result_is_proven(run: RunDirectory) -> None:
    chain = ledger()
    head = chain.records[0].digest
    assert audit_evidence(run, chain).line == "evidence: none"
    assert judged(run, evidence(head, b"lie", 1), "wrong-result-2-1-0.bin") == (1, 0)
    assert judged(run, evidence(head, b"lie", 0), "wrong-result-2-0-0.bin") == (2, 0)
    # The result that all agreed on, and tasks that the journal does not have, accuse nobody.
    assert judged(run, evidence(head, HONEST, 1), "wrong-result-2-1-0.bin") == (1, 1)
    assert judged(run, evidence(head, b"lie", 9), "wrong-result-2-9-0.bin") == (1, 2)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"", "x.bin", "neither"),
        (evidence(sha256(b"another run"), b"lie", 1), "wrong-result-2-1-0.bin", "not signed"),
        (evidence(b"", b"lie", 1, rank=3, key=2), "wrong-result-3-1-0.bin", "not signed"),
    ],
)
def test_what_nobody_of_the_run_has_signed_is_no_evidence(
    run: RunDirectory, data: bytes, name: str, message: str
) -> None:
    with pytest.raises(TamperError, match=message):
        judged(run, data, name)


def test_every_changed_bit_and_another_name_are_found(run: RunDirectory) -> None:
    data = evidence(ledger().records[0].digest, b"lie", 1)
    for bit in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TamperError, match=r"wrong-result-2-1-0\.bin"):
            judged(run, bytes(wrong), "wrong-result-2-1-0.bin")
    (run.path / "evidence" / "wrong-result-2-1-0.bin").unlink()
    with pytest.raises(TamperError, match="another name"):
        judged(run, data, "wrong-result-1-1-0.bin")
