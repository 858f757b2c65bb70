"""inspect on task records and caches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest
from test_replay import problem

import morsr_mpi
from morsr_mpi.app.inspect_ledger import inspect_cache, inspect_records, inspect_task, is_cache
from morsr_mpi.app.inspect_run import inspect_run
from morsr_mpi.base.errors import InputError, UsageError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspect")
    for name in ("first", "second"):
        morsr_mpi.solve(problem(), run_dir=path / name, ranks=2, work=20_000, cache=path / "cache")
    return path


def test_records_by_rank_and_by_pulse(place: Path, morsr: Callable[..., Any]) -> None:
    lines = dict(inspect_records(place / "first", None).lines)
    total = sum(int(text.split()[0]) for text in lines.values())
    run = inspect_run(place / "first", check=True)
    assert not run.wrong
    said = dict(run.lines)
    assert said["task records"].startswith(f"{total} of {total}, ")
    assert "known results" not in said
    assert dict(inspect_run(place / "second", check=False).lines)["known results"].endswith(
        "100.0 %"
    )
    label, text = inspect_records(place / "first", 0).lines[0]
    assert label.startswith("group 0, rank ")
    one = inspect_task(place / "first", text.split()[0], check=True)
    assert dict(one.lines)["commit"].startswith("0, place ")
    assert "under a certificate" in dict(one.lines)["verified"]
    assert "records in" in morsr(["inspect", place / "first", "--records"]).check().out
    done = morsr(["inspect", place / "first", "--task", text.split()[0], "--check"]).check()
    assert "Merkle proof" in done.out
    with pytest.raises(InputError, match="of pulse 999"):
        inspect_records(place / "first", 999)
    with pytest.raises(UsageError, match="no task record"):
        inspect_task(place / "first", "00" * 32, check=False)
    with pytest.raises(InputError, match="hexadecimal"):
        inspect_task(place / "first", "xyz", check=False)


def test_a_cache_and_its_damage(place: Path, morsr: Callable[..., Any]) -> None:
    cache = place / "cache"
    assert is_cache(cache)
    found = inspect_cache(cache, check=True)
    assert not found.wrong
    assert int(dict(found.lines)["results"].split(",")[0]) > 4
    assert morsr(["inspect", cache]).check().out.startswith("result cache")
    with lmdb.open(str(cache), max_dbs=3) as env:
        results = env.open_db(b"results")
        with env.begin(write=True) as transaction:
            key, entry = next(iter(transaction.cursor(db=results)))
            transaction.put(key, entry[:-1] + bytes([entry[-1] ^ 1]), db=results)
    assert "1 damaged" in inspect_cache(cache, check=True).wrong[0]
