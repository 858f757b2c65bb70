"""Each port's contract, held to by the in-memory twin and the real one alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from transport_contract import check_transport, drive_in_memory

from morsr_mpi.adapters.clock import ManualClock, SystemClock
from morsr_mpi.adapters.directory_store import DirectoryStore
from morsr_mpi.adapters.journal_file import FileJournal, MemoryJournal, read_records, recover
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.errors import InternalError, TamperError
from morsr_mpi.base.ports import Clock, Journal, Signer, Store
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.security.twin import TwinAuthority
from morsr_mpi.security.unsigned import UnsignedSigner
from morsr_mpi.storage.memory_store import MemoryStore


@pytest.mark.parametrize("size", [1, 2, 5])
def test_transport_in_memory(size: int) -> None:
    drive_in_memory(size, check_transport)


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore(1000) if request.param == "memory" else DirectoryStore(tmp_path, 1000)


def test_store_gives_back_what_was_put(store: Store) -> None:
    for data in (b"", b"a", b"b" * 999):
        address = store.put(data)
        assert address == sha256(data)
        assert store.get(address) == data
        assert address in store
        assert store.put(data) == address
    assert store.get(sha256(b"never")) is None
    assert sha256(b"never") not in store
    with pytest.raises(InternalError):
        store.get(b"short")


def test_store_stays_within_its_bound(store: Store) -> None:
    addresses = [store.put(bytes([i]) * 300) for i in range(9)]
    assert store.stored_bytes <= 1000
    assert [store.get(a) is not None for a in addresses] == [False] * 6 + [True] * 3
    too_big = store.put(b"x" * 1001)
    assert store.get(too_big) is None


def test_store_keeps_what_is_used(store: Store) -> None:
    first, second, third = (store.put(bytes([i]) * 300) for i in range(3))
    assert store.get(first)
    store.put(b"new" * 100)
    assert (first in store, second in store, third in store) == (True, False, True)


def test_directory_store_survives_and_drops_damage(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    good, bad = store.put(b"good"), store.put(b"bad")
    name = bad.hex()
    (tmp_path / name[:2] / name[2:]).write_bytes(b"BAD")
    (tmp_path / name[:2] / "half.123.tmp").write_bytes(b"torn")
    again = DirectoryStore(tmp_path)
    assert again.get(good) == b"good"
    assert again.get(bad) is None
    assert bad not in again
    assert again.stored_bytes == 4


AUTHORITY = TwinAuthority(b"test")
SIGNERS: list[Callable[[int], Signer]] = [
    lambda i: Ed25519Signer(bytes([i]) * 32),
    AUTHORITY.signer,
]


@pytest.mark.parametrize("make", SIGNERS)
def test_signer(make: Callable[[int], Signer]) -> None:
    one, two = make(1), make(2)
    assert one.mode == "sign"
    assert one.public_key != two.public_key
    assert make(1).public_key == one.public_key
    signature = one.sign(b"data")
    assert len(signature) == one.signature_bytes
    assert two.verify(one.public_key, b"data", signature)
    assert not two.verify(one.public_key, b"dato", signature)
    assert not two.verify(two.public_key, b"data", signature)
    assert not two.verify(one.public_key, b"data", signature[:-1])
    assert not two.verify(one.public_key, b"data", b"")
    assert not two.verify(b"no key", b"data", signature)


def test_unsigned_accepts_only_the_empty_signature() -> None:
    signer = UnsignedSigner()
    assert (signer.mode, signer.public_key, signer.sign(b"x")) == ("off", b"", b"")
    assert signer.verify(b"", b"x", b"")
    assert not signer.verify(b"", b"x", b"sig")


def test_seed_of_a_wrong_length_is_refused() -> None:
    with pytest.raises(InternalError):
        Ed25519Signer(b"short")


@pytest.fixture(params=["memory", "file"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return MemoryJournal() if request.param == "memory" else FileJournal(tmp_path / "journal.bin")


def test_journal_keeps_records_in_order(journal: Journal) -> None:
    records = [b"one", b"\0" * 5, b"x" * 70_000]
    for record in records:
        journal.append(record)
    journal.flush()
    assert journal.records() == records
    with pytest.raises(InternalError):
        journal.append(b"")
    journal.close()


def test_journal_file_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    for text in (b"one", b"two"):
        journal = FileJournal(path)
        journal.append(text)
        journal.close()
    assert read_records(path) == [b"one", b"two"]


def test_torn_tail_is_found_and_cut_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    journal = FileJournal(path)
    journal.append(b"one")
    journal.append(b"twotwo")
    journal.close()
    whole = path.read_bytes()
    for cut in range(len(whole) - 9, len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(TamperError, match="inside record 1"):
            FileJournal(path)
        assert recover(path) == cut - (len(whole) - 10)
        assert read_records(path) == [b"one"]
    path.write_bytes(b"something else")
    with pytest.raises(TamperError, match="not a journal"):
        recover(path)


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
def test_clock_goes_forward(clock: Clock) -> None:
    before, used = clock.now(), clock.cpu()
    clock.sleep(0.002)
    clock.sleep(0.0)
    assert clock.now() >= before + 0.002
    assert clock.cpu() >= used
