"""Task records of a run on disk: written by each rank, audited, settled when a rank is lost."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from test_audit import solve

from morsr_mpi.adapters import segment_file
from morsr_mpi.adapters.segment_file import MAGIC, SegmentFile, read_item_at, read_items, settle
from morsr_mpi.app.audit import audit_run
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.task_ledger import TaskLedger, TaskLedgers
from morsr_mpi.base.errors import InputError, TamperError


@pytest.fixture(scope="module", params=["ordered", "free", "off"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks") / "run"
    if request.param == "free":
        return solve(path, asynchrony="free", lag=2)
    return solve(path, security="off" if request.param == "off" else "sign")


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(original, tmp_path / "run"))
    for path in (copied / "ledger" / "tasks").iterdir():
        path.chmod(0o644)
    return copied


def line(run: Path) -> str:
    return next(text for text in audit_run(run, None).lines if text.startswith("task records"))


def unsealed(run: Path) -> None:
    """Cut the seal off, so that only the records themselves speak."""
    journal = run / "ledger" / "journal.morsr"
    data = journal.read_bytes()
    at, ends = 8, []
    while at < len(data):
        ends.append(at)
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    journal.write_bytes(data[: ends[-1]])


def test_every_task_has_its_record(run: Path) -> None:
    found = line(run)
    count, total = (word.strip(",") for word in found.split()[2:5:2])
    assert count == total
    assert int(total) > 0
    unsealed(run)
    assert line(run) == found


def segments(run: Path) -> list[Path]:
    return sorted((run / "ledger" / "tasks").iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: segments(run)[0].write_bytes(segments(run)[0].read_bytes()[:-1]), "inside"),
        (lambda run: segments(run)[0].write_bytes(b""), "not a segment"),
        (lambda run: segments(run)[0].write_bytes(b"x" * 100), "not a segment"),
        (lambda run: segments(run)[0].write_bytes(MAGIC), "item 0"),
        (lambda run: (run / "ledger" / "tasks" / "more").write_text("x"), "no segment of task"),
        (
            lambda run: shutil.copy(segments(run)[0], segments(run)[0].parent / "0-00000.morsr"),
            "of another run",
        ),
        (lambda run: shutil.copy(segments(run)[0], segments(run)[1]), "another's name"),
        (
            lambda run: segments(run)[0].write_bytes(
                MAGIC + b"\0\0\0\5" + segments(run)[0].read_bytes()[12:]
            ),
            "item 0|inside|cannot be read",
        ),
    ],
)  # fmt: skip
def test_what_was_changed_is_named_with_and_without_a_seal(
    run: Path, change: Callable[[Path], object], message: str
) -> None:
    change(run)
    with pytest.raises(TamperError):
        audit_run(run, None)
    unsealed(run)
    with pytest.raises(TamperError, match=message):
        audit_run(run, None)


def test_a_segment_that_is_gone_is_missed(run: Path) -> None:
    segments(run)[0].unlink()
    with pytest.raises(TamperError, match="cannot be read"):
        audit_run(run, None)


def test_items_are_found_again_by_their_position(run: Path) -> None:
    path = segments(run)[0]
    items = list(read_items(path))
    with path.open("rb") as file:
        assert all(read_item_at(file, position) == data for position, data in items)
        with pytest.raises(TamperError):
            read_item_at(file, 1 << 30)


def test_a_segment_that_is_complete_stays_and_an_unfinished_one_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "tasks" / "s.morsr"
    file = SegmentFile(path, lambda text: None)
    file.append([b"header"])
    file.append([b"record", b"end"])
    file.close()
    assert stat.S_IMODE(path.stat().st_mode) == segment_file.COMPLETE
    assert [data for _, data in read_items(path)] == [b"header", b"record", b"end"]
    assert settle(path, lambda item: False) == 0, "complete: not touched"
    path.chmod(0o644)
    whole = path.read_bytes()
    with path.open("ab") as late:  # a writer that is still alive somewhere
        late.write(b"\0\0\0\4reco")
        late.flush()
        assert settle(path, lambda item: item == b"end") == 8
        late.write(b"rd")
        late.flush()
    assert path.read_bytes() == whole
    path.chmod(0o644)
    assert settle(path, lambda item: False) == len(whole)
    assert not path.exists()


def test_a_full_disk_keeps_records_waiting_and_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, full, told = os.write, [True], []

    def write(handle: int, data: object) -> int:
        if full[0]:
            real(handle, bytes(memoryview(data))[:3])  # type: ignore[arg-type]
            raise OSError(28, "No space left on device")
        return real(handle, data)  # type: ignore[arg-type]

    monkeypatch.setattr(segment_file.os, "write", write)
    monkeypatch.setattr(segment_file, "JOURNAL_SYNC_SECONDS", 0.01)
    path = tmp_path / "s.morsr"
    file = SegmentFile(path, told.append)
    file.append([b"one", b"two"])
    while not told:
        pass
    full[0] = False
    file.append([b"three"])
    file.close()
    assert [data for _, data in read_items(path)] == [b"one", b"two", b"three"]
    assert len(told) == 1
    full[0] = True
    file = SegmentFile(tmp_path / "t.morsr", told.append)
    with pytest.raises(InputError, match="make room"):
        file.close()


def test_a_slow_disk_keeps_no_rank_from_the_others_after_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments of the old group are synced while a new one forms, and waited for at the end."""
    run, ready = RunDirectory(tmp_path), threading.Event()
    sync = os.fdatasync

    def slow(file: int) -> None:
        assert ready.wait(60.0)
        sync(file)

    monkeypatch.setattr(segment_file.os, "fdatasync", slow)
    path = run.tasks / "0-00000.morsr"
    path.parent.mkdir(parents=True)
    ledgers, ledger = TaskLedgers(lambda _: None), TaskLedger.__new__(TaskLedger)
    ledger._file = SegmentFile(path, lambda _: None)
    ledger._file.append([b"record"])
    ledgers._ledgers = [ledger]
    ledgers.break_off()  # would wait for the disk
    ready.set()
    ledgers.close()
    assert [item for _, item in read_items(path)] == [b"record"]
    assert stat.S_IMODE(path.stat().st_mode) == segment_file.COMPLETE
