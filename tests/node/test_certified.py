"""Certified pulses: journals whose every pulse stands under a certificate; liars and silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lying import lying
from toys import ToyExplorer, ToySearch, toy_settings

from morsr_mpi.adapters.clock import ManualClock
from morsr_mpi.adapters.journal_file import MemoryJournal
from morsr_mpi.app.loop import Outcome, run_in_process
from morsr_mpi.base.errors import TamperError
from morsr_mpi.base.ports import Signer
from morsr_mpi.node.certified import Certification, verify_certificates
from morsr_mpi.node.core import Node
from morsr_mpi.provenance.bodies import Certified, Pulse
from morsr_mpi.provenance.chain import Chain, verify_chain
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.security.unsigned import UnsignedSigner
from morsr_mpi.storage.memory_store import MemoryStore


def run(
    size: int, pulses: int = 30, security: str = "sign", **changes: Any
) -> tuple[list[Outcome], MemoryJournal, Signer]:
    """A run of toys in this process; returns outcomes, rank 0's journal, a signer."""
    authority = TwinAuthority(b"certified")
    signers: list[Signer] = [
        authority.signer(rank) if security == "sign" else UnsignedSigner() for rank in range(size)
    ]
    lag = changes.pop("lag", 0)
    liars: dict[int, str] = changes.pop("liars", {})
    writer = changes.pop("writer", 0)
    nodes = [
        (lying(liars[rank]) if rank in liars else Node)(
            toy_settings(rank, size, lag=lag, **changes),
            ToySearch(pulses, sizes=(3, 40), lag=lag),
            signers[rank],
            MemoryStore(),
        )
        for rank in range(size)
    ]
    journal = MemoryJournal()
    outcomes = run_in_process(
        nodes,
        [ToyExplorer()] * size,
        journals=[journal if rank == writer else None for rank in range(size)],
        clock=ManualClock(1e-4),
    )
    return outcomes, journal, signers[0]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("security", ["sign", "off"])
def test_every_pulse_of_a_finished_run_is_certified(size: int, security: str) -> None:
    outcomes, journal, signer = run(size, security=security)
    chain = verify_chain(journal.records())
    found = verify_certificates(chain, lambda mode: signer)
    assert found.certified == 30
    assert found.uncertified == 0
    assert found.certificates >= 1
    assert len({outcome.node.chain.point for outcome in outcomes}) == 1


@pytest.mark.parametrize("lag", [1, 3])
def test_with_a_lag_too(lag: int) -> None:
    _, journal, signer = run(4, lag=lag)
    assert verify_certificates(verify_chain(journal.records()), lambda mode: signer).certified == 30


def rewritten(journal: MemoryJournal, change: Callable[[Any], Any]) -> list[bytes]:
    """The journal with each body changed and linked anew, as a forger would."""
    chain, records = Chain(), []
    for body in verify_chain(journal.records()).bodies:
        changed = change(body)
        if changed is not None:
            records.append(chain.append(changed))
    return records


def test_a_forged_record_does_not_fit_its_certificate() -> None:
    _, journal, signer = run(4)

    def other_state(body: Any) -> Any:
        if isinstance(body, Pulse) and body.pulse == 7:
            return Pulse(*body.body()[:5], state=bytes(32))  # type: ignore[arg-type]
        return body

    chain = verify_chain(rewritten(journal, other_state))
    with pytest.raises(TamperError, match="not one of the pulses before it"):
        verify_certificates(chain, lambda mode: signer)


def test_a_certificate_without_its_votes_is_found() -> None:
    _, journal, signer = run(4)

    def forged(body: Any) -> Any:
        if isinstance(body, Certified):
            data = bytearray(body.certificate)
            data[-1] ^= 1
            return Certified(bytes(data))
        return body

    chain = verify_chain(rewritten(journal, forged))
    with pytest.raises(TamperError, match="votes of a quorum"):
        verify_certificates(chain, lambda mode: signer)


def test_pulses_without_a_certificate_are_counted() -> None:
    _, journal, signer = run(2)
    records = rewritten(journal, lambda body: None if isinstance(body, Certified) else body)
    found = verify_certificates(verify_chain(records), lambda mode: signer)
    assert found == Certification(0, 0, 30)


KINDS = [
    "silent coordinator", "withholds votes", "equivocates", "votes twice", "old votes",
    "forged votes",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "liars"), [(4, [0]), (7, [0, 1]), (4, [3])])
def test_liars_change_nothing_of_the_outcome(kind: str, size: int, liars: list[int]) -> None:
    honest, _, _ = run(size)
    outcomes, journal, signer = run(size, liars=dict.fromkeys(liars, kind), writer=2)
    expected = honest[0].search.state_digest()
    assert {outcome.search.state_digest() for outcome in outcomes} == {expected}
    assert verify_certificates(verify_chain(journal.records()), lambda mode: signer).certified == 30
    assert len({outcome.node.chain.point for outcome in outcomes}) == 1
