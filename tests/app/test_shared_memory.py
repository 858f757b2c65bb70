"""Memory that ranks of a node share: checked, bounded, never left behind, never missed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from morsr_mpi.adapters import shared_space
from morsr_mpi.adapters.clock import SystemClock
from morsr_mpi.adapters.memory import MemoryNetwork
from morsr_mpi.adapters.shared_factors import SharedFactors
from morsr_mpi.adapters.shared_file import map_shared, write_shared
from morsr_mpi.adapters.shared_space import SharedSpace, remove_stale
from morsr_mpi.app import node_data
from morsr_mpi.app.agree import CommonError, Together
from morsr_mpi.app.node_data import NodeData
from morsr_mpi.base.errors import InputError, InternalError
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.factor import Factor
from morsr_mpi.search.orders import DIAGONAL, NATURAL, OrderName
from morsr_mpi.search.prepare import prepare


def problem_of(n: int, seed: int = 1) -> QuadraticProblem:
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    Q = (q * np.geomspace(1.0, 20.0, n)) @ q.T
    return QuadraticProblem.create((Q + Q.T) / 2, rng.uniform(-4, 4, (2, n)), 1.0)


ARRAYS = [
    np.arange(300_000, dtype=np.float64).reshape(300, 1000),
    np.array([], dtype=np.float32),
    np.arange(7, dtype=np.int32),
]


def test_arrays_come_back_read_only(tmp_path: Path) -> None:
    digest = write_shared(tmp_path / "a", ("tree", 1), list(ARRAYS))
    shared = map_shared(tmp_path / "a", digest)
    (tmp_path / "a").unlink()  # maps outlive the name
    assert shared.tree == ("tree", 1)
    for one, two in zip(shared.arrays, ARRAYS, strict=True):
        assert one.dtype == two.dtype
        assert np.array_equal(one, two)
        assert not one.flags.writeable


@pytest.mark.parametrize("at", [5, 30, 5000, 2_000_000])
def test_a_changed_byte_is_found_when_mapping_and_later(tmp_path: Path, at: int) -> None:
    path = tmp_path / "a"
    digest = write_shared(path, (), list(ARRAYS))
    shared = map_shared(path, digest)
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ 4]))
    with pytest.raises(InternalError):
        map_shared(path, digest)
    if at > 4096:  # the head is not looked at again
        with pytest.raises(InternalError, match="has changed"):
            list(shared.check())


def test_what_has_no_room_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        write_shared(tmp_path / "a", (), list(ARRAYS))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_goes_with_its_last_rank(tmp_path: Path) -> None:
    one = SharedSpace.create(tmp_path)
    two = SharedSpace.join(one.path)
    assert remove_stale(tmp_path) == 0
    one.close()
    assert two.path.exists()
    two.close()
    two.close()
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_the_dead_are_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from morsr_mpi.adapters.shared_space import SharedSpace\n"
        "space = SharedSpace.create(Path(sys.argv[1]))\n"
        "(space.path / 'data-0').write_bytes(b'x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    alive = SharedSpace.create(tmp_path)
    (tmp_path / "morsr-notes").mkdir()
    unfinished = tmp_path / f"morsr-{os.getuid()}-{'0' * 16}"
    unfinished.mkdir()
    assert len(list(tmp_path.iterdir())) == 4
    assert remove_stale(tmp_path) == 1, "the one whose process was killed"
    assert unfinished.exists(), "it may be in the making"
    monkeypatch.setattr(shared_space, "YOUNG_SECONDS", -1.0)
    assert remove_stale(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["morsr-notes", alive.path.name])
    alive.close()


def test_factors_are_made_once_and_bounded(tmp_path: Path) -> None:
    part = prepare(problem_of(32)).parts[0]
    made: list[OrderName] = []

    def maker(name: OrderName) -> Callable[[], Factor]:
        def make() -> Factor:
            made.append(name)
            return part.rank

        return make

    size = part.rank.nbytes
    one, two = (SharedFactors(tmp_path, 0, size, limit=3 * size) for _ in range(2))
    first = one.get(DIAGONAL, maker(DIAGONAL))
    second = two.get(DIAGONAL, maker(DIAGONAL))
    assert first is not None
    assert second is not None
    assert np.array_equal(first.w, second.w)
    assert not second.w.flags.writeable
    assert made == [DIAGONAL]
    for seed in range(4):
        name = OrderName("random", seed)
        assert two.get(name, maker(name)) is not None
        assert two.get(name, maker(name)) is not None
    assert len(made) == 5
    kept = [p for p in tmp_path.glob("factor-*") if not p.suffix]
    assert sum(p.stat().st_size for p in kept) <= 3 * size
    assert one.get(NATURAL, maker(NATURAL)) is not None
    assert one.get(DIAGONAL, maker(DIAGONAL)) is not None
    assert made.count(DIAGONAL) == 2, "it had to go in between"


def test_a_rank_does_not_wait_for_one_that_is_at_it(tmp_path: Path) -> None:
    part = prepare(problem_of(16)).parts[0]
    one, two = (SharedFactors(tmp_path, 0, 1 << 30) for _ in range(2))
    inside, go = threading.Event(), threading.Event()

    def slow() -> Factor:
        inside.set()
        assert go.wait(20)
        return part.rank

    thread = threading.Thread(target=lambda: one.get(DIAGONAL, slow))
    thread.start()
    assert inside.wait(20)
    begin = time.monotonic()
    assert two.get(DIAGONAL, slow) is None
    assert two.get(NATURAL, slow) is None, "large ones are made one at a time"
    assert time.monotonic() - begin < 10
    go.set()
    thread.join(20)
    found = two.get(DIAGONAL, slow)
    assert found is not None
    assert np.array_equal(found.w, part.rank.w)


def on_ranks(size: int, step: Callable[[NodeData], object]) -> list[object]:
    """Run a step on each rank in a thread of its own; return values or exceptions."""
    network = MemoryNetwork(size)
    results: list[object] = [None] * size

    def run(rank: int) -> None:
        try:
            data = NodeData(30.0, 0.0)
            data.once = True
            data.meet(Together(network.transport(rank), SystemClock()))
            try:
                results[rank] = step(data)
            finally:
                data.close()
        except Exception as exc:
            results[rank] = exc

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.fixture
def shared_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MORSR_SHARED_DIR", str(tmp_path))
    monkeypatch.setattr(node_data, "SMALLEST_BYTES", 1)
    return tmp_path


def describe(exc: Exception) -> str:
    return repr(exc)


def whole(loads: list[int]) -> Callable[[NodeData], object]:
    """Load and prepare; return what shows that all is the same, and how much is shared."""

    def step(data: NodeData) -> object:
        def load() -> QuadraticProblem:
            loads.append(1)
            return problem_of(40)

        problem = data.problem(load, None, describe)
        prepared = data.prepared(problem, None, describe)
        data.begin_check()
        data.check_step(1000)
        part = prepared.parts[0]
        factor = None
        while factor is None:
            factor = part.factor(DIAGONAL)
        bits = (problem.digest, part.proof.w.tobytes(), factor.w.tobytes(), part.tolerance)
        return bits, data.nbytes, tuple(data.notes)

    return step


def test_ranks_of_a_node_hold_one_copy_and_the_same_bits(shared_dir: Path) -> None:
    loads: list[int] = []
    together = on_ranks(3, whole(loads))
    assert len(loads) == 1
    alone = on_ranks(1, whole([]))
    assert {found[0] for found in together} == {alone[0][0]}  # type: ignore[index]
    assert all(found[1] > 8 * 40 * 40 for found in together)  # type: ignore[index]
    assert alone[0][1:] == (0, ())  # type: ignore[index]
    assert list(shared_dir.iterdir()) == []


def test_a_patrol_finds_memory_that_has_changed(shared_dir: Path) -> None:
    def step(data: NodeData) -> object:
        problem = data.problem(lambda: problem_of(400), None, describe)
        assert problem.n == 400
        data.patrol(0.0)  # not due yet
        wrong = bytearray(data._maps[0]._digests[0])
        wrong[-1] ^= 1  # of the last megabyte: stands for a bit of memory
        data._maps[0]._digests[0] = bytes(wrong)
        data.patrol(1.0)
        data.patrol(31.0)
        return "not found"

    for error in on_ranks(2, step):
        assert isinstance(error, InternalError)
        assert "has changed" in str(error)


def test_without_room_each_rank_has_its_own_and_it_is_said(
    shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    loads: list[int] = []
    found = on_ranks(2, whole(loads))
    assert len(loads) == 2
    for bits, shared, notes in found:  # type: ignore[misc]
        assert bits == found[0][0]  # type: ignore[index]
        assert shared == 0
        assert "No space left" in notes[0]
    assert list(shared_dir.iterdir()) == []


def test_a_rank_that_cannot_map_makes_all_of_its_node_do_without(
    shared_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = map_shared
    asked: list[Path] = []

    def sometimes(path: Path, digest: bytes) -> object:
        asked.append(path)
        if len(asked) == 2:
            raise OSError(13, "Permission denied")
        return real(path, digest)

    monkeypatch.setattr(node_data, "map_shared", sometimes)
    loads: list[int] = []
    found = on_ranks(2, whole(loads))
    assert found[0][0] == found[1][0]  # type: ignore[index]
    assert len(loads) == 2
    assert list(shared_dir.iterdir()) == []


def test_a_problem_that_cannot_be_loaded_is_one_error_on_all(shared_dir: Path) -> None:
    def bad() -> QuadraticProblem:
        raise InputError("no such problem")

    for error in on_ranks(2, lambda data: data.problem(bad, None, describe)):
        assert isinstance(error, CommonError)
        assert (error.message, error.rank) == ("no such problem", 0)


def test_ranks_with_other_problems_share_nothing(shared_dir: Path) -> None:
    def step(data: NodeData) -> object:
        problem = problem_of(24, seed=data.rank)
        return data.prepared(problem, None, describe).problem.digest == problem.digest, data.nbytes

    assert on_ranks(2, step) == [(True, 0), (True, 0)]
