"""Every bit of a small run is vouched for, and every part that is not its own is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import morsr_mpi
from morsr_mpi.adapters.journal_file import read_records
from morsr_mpi.adapters.segment_file import read_items
from morsr_mpi.app.audit import Audit, _seal, audit_run
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.base.errors import TamperError
from morsr_mpi.provenance.bodies import Seal
from morsr_mpi.provenance.chain import verify_chain


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bits") / "run"
    q = np.eye(8) * 2.0 + 1.0
    morsr_mpi.solve(q, np.full(8, 0.3), run_dir=path, ranks=2, work=1)
    return path


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound run of another problem."""
    path = tmp_path_factory.mktemp("bits") / "foreign"
    morsr_mpi.solve(np.eye(8) * 3.0, np.full(8, 0.4), run_dir=path, ranks=2, work=1)
    return path


@pytest.fixture
def run(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "run"))


def undetected(path: Path, look: Callable[[], object], bits: range | list[int]) -> list[int]:
    """Return the bits of a file whose change nobody notices; the file is as before afterwards."""
    path.chmod(0o644)
    data = path.read_bytes()
    missed = []
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            for value in (data[bit // 8] ^ 1 << bit % 8, data[bit // 8]):
                file.seek(bit // 8)
                file.write(bytes([value]))
                if value != data[bit // 8]:
                    try:
                        look()
                        missed.append(bit)
                    except TamperError:
                        pass
    assert path.read_bytes() == data
    return missed


def sealed_files(run: Path) -> list[str]:
    seal = verify_chain(read_records(RunDirectory(run).journal)).bodies[-1]
    assert isinstance(seal, Seal)
    return [name for name, _, _ in seal.files]


def seal_holds(run: Path) -> Callable[[], None]:
    """The seal against the files, once the journal is known to be sound."""
    directory = RunDirectory(run)
    chain = verify_chain(read_records(directory.journal))
    return lambda: _seal(Audit(), directory, chain)


def test_every_bit_of_the_journal_and_of_the_records_is_vouched_for(run: Path) -> None:
    journal = RunDirectory(run).journal
    bits = range(8 * journal.stat().st_size)
    assert undetected(journal, lambda: audit_run(run, None), bits) == []
    audit_run(run, None)
    names = sealed_files(run)
    assert any(name.startswith("ledger/tasks/") for name in names)
    for name in names:
        if name != "result.h5":
            whole = range(8 * (run / name).stat().st_size)
            assert undetected(run / name, seal_holds(run), whole) == []


def test_bits_of_the_result_are_vouched_for(run: Path) -> None:
    result = run / "result.h5"
    bits = Random(1).sample(range(8 * result.stat().st_size), 4000)
    assert undetected(result, seal_holds(run), bits) == []


@pytest.mark.long
def test_every_bit_of_the_result_is_vouched_for(run: Path) -> None:
    result = run / "result.h5"
    assert undetected(result, seal_holds(run), range(8 * result.stat().st_size)) == []


@pytest.mark.long
def test_bits_of_a_large_run_are_vouched_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    a = rng.standard_normal((64, 64))
    path = tmp_path / "run"
    targets = rng.uniform(-3, 3, (8, 64))
    morsr_mpi.solve(a @ a.T + np.eye(64), targets, run_dir=path, ranks=3, work=400_000)
    look = seal_holds(path)
    for name in sealed_files(path):
        bits = Random(name).sample(range(8 * (path / name).stat().st_size), 1000)
        assert undetected(path / name, look, bits) == []
    journal = RunDirectory(path).journal
    bits = Random(7).sample(range(8 * journal.stat().st_size), 1000)
    assert undetected(journal, lambda: audit_run(path, None), bits) == []


# --- parts that are missing, cut, out of order, or of another run ----------------------------


def segment(run: Path) -> Path:
    return next(run.glob("ledger/tasks/*.morsr"))


def cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-5])


def reordered(run: Path) -> None:
    """The records of a segment in another order."""
    path = segment(run)
    data = path.read_bytes()
    items = [item for _, item in read_items(path)]
    first = data.index(items[0])
    framed = [len(item).to_bytes(4, "big") + item for item in [items[0], *items[:0:-1]]]
    path.chmod(0o644)
    path.write_bytes(data[: first - 4] + b"".join(framed))


def unsealed(run: Path) -> None:
    """Without its seal, as a run that can go on: what stands in the segments has to hold alone."""
    journal = RunDirectory(run).journal
    last = read_records(journal)[-1]
    journal.write_bytes(journal.read_bytes()[: -len(last) - 4])


def other(name: str) -> Callable[[Path, Path], None]:
    def change(run: Path, foreign: Path) -> None:
        source = next(foreign.glob(name))
        target = next(run.glob(name))
        target.unlink()
        shutil.copy(source, target.with_name(source.name))

    return change


CHANGES: list[tuple[str, Callable[[Path, Path], Any], str]] = [
    ("segment missing", lambda run, _: segment(run).unlink(), "cannot be read"),
    ("segment cut", lambda run, _: cut(segment(run)), "not the file that was sealed"),
    ("segment reordered", lambda run, _: reordered(run), "not the file that was sealed"),
    ("segment of another run", other("ledger/tasks/*.morsr"), "cannot be read"),
    ("result cut", lambda run, _: cut(run / "result.h5"), "not the file that was sealed"),
    ("result of another run", other("result.h5"), "not the file that was sealed"),
    ("journal of another run", other("ledger/journal.morsr"), "cannot be read"),
    ("journal cut", lambda run, _: cut(RunDirectory(run).journal), "journal"),
    ("problem of another run", other("problem.h5"), "not the problem that journal record 0"),
    ("keys of another run", other("keys/start-000.txt"), "the keys do not match"),
]
UNSEALED = [
    ("segment cut", lambda run, _: cut(segment(run)), "ledger/tasks"),
    ("segment reordered", lambda run, _: reordered(run), "ledger/tasks"),
    ("segment of another run", other("ledger/tasks/*.morsr"), "another run"),
    ("result of another run", other("result.h5"), "different values of problem digest"),
]


@pytest.mark.parametrize(
    ("change", "message"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_what_is_not_the_runs_is_named(
    change: Callable[[Path, Path], Any], message: str, run: Path, foreign: Path
) -> None:
    change(run, foreign)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(TamperError, match=message) as found:
        audit_run(run, None)
    assert found.value.exit_code == 66
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before, "nothing repaired"


@pytest.mark.parametrize(
    ("change", "message"), [c[1:] for c in UNSEALED], ids=[c[0] for c in UNSEALED]
)
def test_without_a_seal_too(
    change: Callable[[Path, Path], Any], message: str, run: Path, foreign: Path
) -> None:
    unsealed(run)
    audit_run(run, None)
    change(run, foreign)
    with pytest.raises(TamperError, match=message):
        audit_run(run, None)
