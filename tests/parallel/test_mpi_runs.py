"""Whole toy runs over real MPI: the same bits for any number of ranks, and no hangs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import ToySearch

from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.base.errors import EXIT_INTERNAL, EXIT_STOPPED, EXIT_USAGE
from morsr_mpi.provenance.chain import verify_chain

pytestmark = pytest.mark.subprocess_mpi
PROGRAM = Path(__file__).resolve().parent / "toy_run.py"


def lines(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in re.findall(r"^\{.*\}$", text, re.MULTILINE)]
    return sorted(found, key=lambda line: line["rank"])


def complaints(text: str) -> list[str]:
    """Lines of ours on standard error; mpirun adds its own."""
    return [line for line in text.splitlines() if line.startswith("morsr: ")]


@pytest.fixture
def toy(mpi: Callable[..., Any]) -> Callable[..., Any]:
    def start(ranks: int, ft: bool = True, **options: object) -> Any:
        return mpi(ranks, [sys.executable, str(PROGRAM), json.dumps(options)], ft=ft, timeout=90)

    return start


def expected(**options: Any) -> str:
    """The state a sequential run ends in."""
    from toys import toy_result

    search = ToySearch(**options)
    while not search.finished:
        while len(search.flight) <= search.lag and search.plan()[1]:
            pass
        number, tasks = search.flight[0]
        search.commit(number, [toy_result(task) for task in tasks])
    return search.state_digest().hex()


@pytest.mark.parametrize(
    ("ranks", "options"),
    [
        (1, {}),
        (2, {}),
        (3, {"dedicated": True}),
        (4, {"security": "off"}),
        (7, {}),
        (2, {"lag": 2}),
    ],
)
def test_same_state_for_any_number_of_ranks(
    toy: Callable[..., Any], tmp_path: Path, ranks: int, options: dict[str, Any]
) -> None:
    journal = tmp_path / "journal.bin"
    done = toy(ranks, pulses=15, journal=str(journal), **options).check()
    found = lines(done.out)
    assert [line["rank"] for line in found] == list(range(ranks))
    assert {line["state"] for line in found} == {expected(pulses=15, lag=options.get("lag", 0))}
    chain = verify_chain(read_records(journal))
    assert {line["head"] for line in found} == {chain.point.head.hex()}
    assert len(chain.pulses()) == 15
    if options.get("dedicated"):
        assert found[0]["executed"] == 0
    # A loaded machine makes ranks slow, and what is slow is computed twice; one result counts.
    assert all(line["executed"] >= line["tasks"][line["rank"]] for line in found)
    assert all(line["tasks"] == found[0]["tasks"] for line in found)
    assert sum(found[0]["tasks"]) == sum(len(p.contributors) // 2 for p in chain.pulses())
    assert all(line["ft"] for line in found)


def test_stop_ends_all_ranks_in_one_state(toy: Callable[..., Any], tmp_path: Path) -> None:
    journal = tmp_path / "journal.bin"
    done = toy(3, pulses=100_000, stop_after=5, journal=str(journal))
    assert done.code == EXIT_STOPPED
    found = lines(done.out)
    assert len(found) == 3
    assert len({(line["state"], line["head"], line["committed"]) for line in found}) == 1
    assert {line["stopped"] for line in found} == {"test"}
    assert 5 < found[0]["committed"] < 100_000
    chain = verify_chain(read_records(journal))
    assert chain.records[-1].kind == "stop"


def test_without_fault_tolerance_it_says_so(toy: Callable[..., Any]) -> None:
    found = lines(toy(2, ft=False, pulses=2).check().out)
    assert [line["ft"] for line in found] == [False, False]


def test_ranks_with_different_problems_end_with_one_line(toy: Callable[..., Any]) -> None:
    done = toy(3, fault="problem")
    assert done.code == EXIT_USAGE
    (line,) = complaints(done.err)
    assert "problem of rank 2" in line


def test_ranks_with_different_states_end_with_one_line(toy: Callable[..., Any]) -> None:
    done = toy(3, fault="state")
    assert done.code == EXIT_INTERNAL
    (line,) = complaints(done.err)
    assert "initial state of rank 2" in line


def test_an_exception_on_one_rank_ends_all(toy: Callable[..., Any]) -> None:
    done = toy(3, fault="exception")
    assert done.code == EXIT_INTERNAL
    assert any("rank 2: ValueError" in line for line in complaints(done.err))
