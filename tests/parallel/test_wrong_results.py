"""Ranks that compute wrongly in real runs: they are convicted, and the answer is the honest one."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from independent_verifier import verify
from parallel_problem import make_problem, solution

from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.app.audit_evidence import audit_evidence
from morsr_mpi.app.replay import Replay, Request
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.sharing import Share
from morsr_mpi.base.errors import TamperError
from morsr_mpi.provenance.bodies import Rollback
from morsr_mpi.provenance.chain import verify_chain

pytestmark = pytest.mark.subprocess_mpi
PROGRAM = Path(__file__).resolve().parent / "lying_rank.py"
WORK = ["--work", "700_000"]


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_problem(tmp_path_factory.mktemp("liars") / "problem.h5", 64, 100.0, seed=11)


@pytest.fixture(scope="module")
def expected(problem: Path, morsr: Callable[..., Any]) -> list[bytes]:
    run = problem.parent / "honest"
    morsr(["solve", problem, "--run-dir", run, *WORK]).check()
    return solution(run)


@pytest.fixture
def lying_run(mpi: Callable[..., Any], problem: Path, tmp_path: Path) -> Callable[..., Any]:
    def start(ranks: int, liars: dict[str, str], *options: str, since: int = 2) -> Any:
        words = [sys.executable, str(PROGRAM), json.dumps(liars), str(since)]
        words += ["solve", str(problem), "--run-dir", str(tmp_path / "run"), *WORK, *options]
        return mpi(ranks, [*words, "--json"], timeout=180)

    return start


def check(done: Any, run: Path, expected: list[bytes], liars: set[int]) -> dict[str, Any]:
    """The run ended well in the honest bits, with the liars named and proven."""
    done.check()
    found = json.loads(done.out)
    assert solution(run) == expected
    convicted: list[int] = []
    for rank in liars:
        wrong = any(f"rank {rank} computed wrongly" in line for line in found["failures"])
        # Who notices that its own result is none gives up before the others have a verdict.
        assert wrong or any(f"rank {rank} died" in line for line in found["failures"])
        assert not wrong or list((run / "evidence").glob("wrong-result-*.bin"))
        convicted += [rank] if wrong else []
    bodies = verify_chain(read_records(run / "ledger" / "journal.morsr")).bodies
    back = [body for body in bodies if isinstance(body, Rollback)]
    convicts = {
        int.from_bytes(body.ranks[i : i + 2], "big")
        for body in back
        for i in range(0, len(body.ranks), 2)
    }
    assert set(convicted) <= convicts <= liars  # one may die before all have heard the verdict
    return dict(found)


@pytest.mark.parametrize(
    ("kind", "liar", "options"),
    [("exhausted", 2, ["--recheck", "1"]), ("exhausted", 0, ["--redundancy", "2"])],
)
def test_a_liar_of_four(
    kind: str,
    liar: int,
    options: list[str],
    lying_run: Callable[..., Any],
    expected: list[bytes],
    tmp_path: Path,
    morsr: Callable[..., Any],
) -> None:
    run = tmp_path / "run"
    done = lying_run(4, {str(liar): kind}, *options)
    check(done, run, expected, {liar})
    said = morsr(["audit", run]).check().out
    files = sorted(run.glob("evidence/*.bin"))
    # What a liar computed from its own lies contradicts nothing that others agreed on.
    counts = re.search(r"evidence: (\d+) proven, signed by whom it accuses(?:, (\d+))?", said)
    assert counts is not None or not files
    assert sum(int(n or 0) for n in (counts.groups() if counts else ())) == len(files)
    verify(run)
    assert Replay(run, Request(sample=None), Share(None)).run().solution
    if files:  # one bit less right: the seal finds it, and without a seal the judge does
        check_evidence(run, files[0], liar)


def check_evidence(run: Path, path: Path, liar: int) -> None:
    """What is changed, renamed or of another run is no evidence."""
    directory, chain = RunDirectory(run), verify_chain(read_records(RunDirectory(run).journal))
    data = path.read_bytes()
    path.chmod(0o644)
    for bit in Random(liar).sample(range(8 * len(data)), 60):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(wrong))
        with pytest.raises(TamperError, match=path.name):
            audit_evidence(directory, chain)
    path.write_bytes(data)
    audit_evidence(directory, chain)
    other = path.rename(path.with_name("wrong-result-1-0-0.bin"))
    with pytest.raises(TamperError, match="another name"):
        audit_evidence(directory, chain)
    other.rename(path)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["flip", "garbage", "exhausted", "objective", "worse"])
@pytest.mark.parametrize("options", [["--recheck", "1"], ["--redundancy", "2"]])
@pytest.mark.parametrize("liar", [0, 3])
def test_liars_of_every_kind(
    kind: str,
    options: list[str],
    liar: int,
    lying_run: Callable[..., Any],
    expected: list[bytes],
    tmp_path: Path,
    morsr: Callable[..., Any],
) -> None:
    done = lying_run(4, {str(liar): kind}, *options, "--lag", "0")
    check(done, tmp_path / "run", expected, {liar})
    morsr(["audit", tmp_path / "run"]).check()


@pytest.mark.long
@pytest.mark.parametrize("options", [["--recheck", "1"], ["--redundancy", "3"]])
def test_two_liars_of_seven(
    options: list[str], lying_run: Callable[..., Any], expected: list[bytes], tmp_path: Path
) -> None:
    done = lying_run(7, {"1": "exhausted", "5": "flip"}, *options)
    check(done, tmp_path / "run", expected, {1, 5})


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two processors")
def test_honest_ranks_with_rechecks_give_the_same(
    lying_run: Callable[..., Any], expected: list[bytes], tmp_path: Path
) -> None:
    done = lying_run(3, {}, "--recheck", "0.5", "--redundancy", "2")
    found = check(done, tmp_path / "run", expected, set())
    assert found["failures"] == []
