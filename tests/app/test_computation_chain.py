"""One result and everything it depends on: found by its id, verified, refused when changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_replay import problem

import morsr_mpi
from morsr_mpi.adapters.segment_file import read_items
from morsr_mpi.adapters.task_index import open_index
from morsr_mpi.app.computation_chain import find_record
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.task_ledger import segments
from morsr_mpi.base.errors import TamperError, UsageError
from morsr_mpi.provenance.merkle import leaf_hash, verify_inclusion
from morsr_mpi.provenance.tasks import RECORD_FRONT, TaskRecord


@pytest.fixture(scope="module", params=["ordered", "free"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chain") / "run"
    more = {"asynchrony": "free", "lag": 1} if request.param == "free" else {}
    morsr_mpi.solve(problem(), run_dir=path, ranks=3, work=25_000, **more)
    return path


@pytest.fixture
def run(original: Path, tmp_path: Path) -> RunDirectory:
    copied = RunDirectory(shutil.copytree(original, tmp_path / "run"))
    for path in segments(copied):
        path.chmod(0o644)
    return copied


def records(run: RunDirectory) -> list[TaskRecord]:
    return [
        TaskRecord.parse(data)
        for path in segments(run)
        for _, data in read_items(path)
        if data[:3] == RECORD_FRONT
    ]


def test_every_record_is_found_and_verified(run: RunDirectory) -> None:
    found = records(run)
    for record in found:
        chain = morsr_mpi.verify_computation_chain(run.path, record.computation.hex())
        assert chain.record == record
        assert chain.certified
        assert not chain.trusted
        assert chain.dependencies == sum(r.commit < chain.depends for r in found)
        assert verify_inclusion(
            leaf_hash(record.encode()),
            _place(run, record),
            chain.root.count,
            chain.path,
            chain.root.root,
        )
    last = max(found, key=lambda r: r.commit)
    fingerprint = morsr_mpi.verify_computation_chain(run.path, last.computation[:8], None)
    assert fingerprint.record.computation == last.computation


def _place(run: RunDirectory, record: TaskRecord) -> int:
    """Where a record stands in its batch."""
    for path in segments(run):
        place = 0
        for _, data in list(read_items(path))[1:]:
            if data[:3] != RECORD_FRONT:
                place = 0
            elif TaskRecord.parse(data) == record:
                return place
            else:
                place += 1
    raise AssertionError


def test_a_damaged_dependency_is_found_from_its_successors(run: RunDirectory) -> None:
    found = records(run)
    first = min(found, key=lambda r: (r.commit, r.place))
    last = max(found, key=lambda r: r.commit)
    path, _ = find_record(run, first.computation)
    data = bytearray(path.read_bytes())
    at = bytes(data).index(first.computation)
    data[at + 60] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(TamperError):
        morsr_mpi.verify_computation_chain(run.path, last.computation)


def test_trust_and_ids_that_are_none(run: RunDirectory) -> None:
    record = records(run)[0]
    with pytest.raises(TamperError, match="another run"):
        morsr_mpi.verify_computation_chain(run.path, record.computation, "0" * 12)
    keys = str(run.keys / "start-000.txt")
    assert morsr_mpi.verify_computation_chain(run.path, record.computation, keys).trusted
    for wrong in ("xyz", "ab", b"short", "00" * 32):
        with pytest.raises(UsageError):
            morsr_mpi.verify_computation_chain(run.path, wrong)


def test_the_index_is_derived_and_believed_in_nothing(run: RunDirectory) -> None:
    every = records(run)
    index = open_index(run.index, segments(run))
    assert len(index) == len(every)
    assert run.index.exists()
    stored = run.index.read_bytes()
    # Damaged, of another state, or gone: made anew.
    for wrong in (b"", b"x" * 100, stored[:50], stored[:12] + b"\xff" * 40):
        run.index.write_bytes(wrong)
        assert len(open_index(run.index, segments(run))) == len(every)
        assert run.index.read_bytes() == stored
    more = segments(run)[0]
    more.write_bytes(more.read_bytes() + more.read_bytes()[8:])
    assert len(open_index(run.index, segments(run))) > len(every)


def test_an_index_that_points_elsewhere_gives_no_wrong_record(run: RunDirectory) -> None:
    every = records(run)
    open_index(run.index, segments(run))
    data = bytearray(run.index.read_bytes())
    width = -(-8 * len(every) // 64) * 64
    positions = len(data) - width
    first, second = data[positions : positions + 8], data[positions + 8 : positions + 16]
    data[positions : positions + 16] = second + first
    run.index.write_bytes(bytes(data))
    absent = 0
    for record in every:
        try:
            assert find_record(run, record.computation)[1] == record
        except (TamperError, UsageError):
            absent += 1
    assert absent > 0


def test_a_run_directory_that_cannot_be_written_is_looked_up_too(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("morsr_mpi.adapters.task_index._save", refuse)
    record = records(run)[0]
    assert find_record(run, record.computation)[1] == record
    assert not run.index.exists()
