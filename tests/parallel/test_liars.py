"""Liars among real MPI ranks: the run goes on to the same bits, with evidence, exit code 0."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_mpi_runs import PROGRAM, expected, lines

from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.node.certified import verify_certificates
from morsr_mpi.provenance.chain import verify_chain
from morsr_mpi.security.ed25519 import Ed25519Signer

pytestmark = pytest.mark.subprocess_mpi
SMALL = {"pulses": 16, "sizes": (3, 700, 20_000)}
#: How it lies, and whether that proves something against it.
KINDS = {
    "equivocates": True,
    "votes twice": True,
    "silent coordinator": False,
    "withholds votes": False,
    "old votes": False,
    "forged votes": False,
}


@pytest.fixture
def toy(mpi: Callable[..., Any]) -> Callable[..., Any]:
    def start(ranks: int, **options: object) -> Any:
        return mpi(ranks, [sys.executable, str(PROGRAM), json.dumps(options)], timeout=120)

    return start


def check(run: Any, liars: dict[str, str], journal: Path) -> None:
    found = lines(run.check().out)
    assert {line["state"] for line in found} == {expected(**SMALL)}
    assert len({line["head"] for line in found}) == 1
    chain = verify_chain(read_records(journal))
    counted = verify_certificates(chain, lambda mode: Ed25519Signer(bytes(32)))
    assert (counted.certified, counted.uncertified) == (16, 0)
    accused = {name.split("-")[2] for line in found for name in line["evidence"]}
    guilty = {rank for rank, kind in liars.items() if KINDS[kind]}
    assert accused == guilty
    for line in found:
        if str(line["rank"]) not in liars:
            assert {name.split("-")[2] for name in line["evidence"]} == guilty


@pytest.mark.parametrize("kind", ["equivocates", "silent coordinator"])
def test_a_lying_coordinator_of_four(
    kind: str,
    toy: Callable[..., Any],
    tmp_path: Path,
) -> None:
    liars = {"0": kind}
    run = toy(4, **SMALL, liars=liars, journal=str(tmp_path / "j"))
    check(run, liars, tmp_path / "j")
    if kind == "silent coordinator":
        assert all(line["view"] >= 1 for line in lines(run.out))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "who"), [(4, "0"), (4, "3"), (7, "02"), (7, "05")])
def test_liars_of_every_kind(
    kind: str,
    size: int,
    who: str,
    toy: Callable[..., Any],
    tmp_path: Path,
) -> None:
    liars = dict.fromkeys(who, kind)
    run = toy(size, **SMALL, liars=liars, journal=str(tmp_path / "j"))
    found = lines(run.check().out)
    assert {line["state"] for line in found} == {expected(**SMALL)}
    if KINDS[kind] and kind == "votes twice":
        check(run, liars, tmp_path / "j")
