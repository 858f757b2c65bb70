"""Problem files: what is written, what is accepted from others, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from morsr_mpi.adapters import hdf5_common
from morsr_mpi.adapters.hdf5_kind import kind_of_file
from morsr_mpi.adapters.hdf5_problem import load_problem, save_problem
from morsr_mpi.base.errors import EXIT_DATA, InputError
from morsr_mpi.objectives.problem import QuadraticProblem


def problem(n: int = 16, k: int = 2) -> QuadraticProblem:
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, n))
    return QuadraticProblem.create(a @ a.T + np.eye(n), rng.standard_normal((k, n)), 0.5)


def write_plain(path: Path, **change: Any) -> None:
    """Write a problem file as a user's own script would: h5py with its defaults."""
    parts: dict[str, Any] = {
        "filetype": "morsr-problem",
        "version": [1, 0],
        "Q": np.eye(16) * 2,
        "target": np.ones(16),
        "scale": 0.5,
    } | change
    with h5py.File(path, "w") as f:
        for name in ("filetype", "version"):
            if parts[name] is not None:
                f.attrs[name] = parts[name]
        for name in ("Q", "target", "scale"):
            if parts[name] is not None:
                f[f"quadratic/{name}"] = parts[name]


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_problem(path)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    assert caught.value.exit_code == EXIT_DATA
    return text


@pytest.mark.parametrize(("n", "k"), [(8, 1), (16, 2), (384, 3), (1024, 1)])
def test_round_trip(tmp_path: Path, n: int, k: int) -> None:
    path = tmp_path / "p.h5"
    p = problem(n, k)
    save_problem(path, p)
    q = load_problem(path)
    assert q.digest == p.digest
    assert not q.Q.flags.writeable
    assert os.listdir(tmp_path) == ["p.h5"]
    save_problem(path, problem(8, 1))
    assert load_problem(path).n == 8


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"target": np.ones((1, 16))},
        {"filetype": np.bytes_(b"morsr-problem")},
        {"version": np.array([1, 0], dtype=np.int8)},
        {"version": [1, 7]},
        {"Q": (np.eye(16) * 2).astype(">f4")},
        {"Q": np.eye(16, dtype=np.int64) * 2},
        {"scale": np.float32(0.5)},
    ],
    ids=repr,
)
def test_plain_h5py_files(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "p.h5"
    write_plain(path, **change)
    p = load_problem(path)
    assert p.digest == QuadraticProblem.create(np.eye(16) * 2, np.ones(16), 0.5).digest


def test_example_in_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "formats" / "problem.md"
    monkeypatch.chdir(tmp_path)
    exec(page.read_text().split("```python\n")[1].split("```")[0], {})
    assert load_problem(tmp_path / "problem.h5").n == 16


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"filetype": "morsr-result"}, "is a morsr-result file; a morsr-problem file is needed"),
        ({"filetype": None}, "filetype is missing"),
        ({"version": [2, 0]}, r"format version 2.0; morsr .* reads morsr-problem up to 1.x"),
        ({"version": None}, "no attribute version"),
        ({"version": [1, 0, 0]}, "no attribute version"),
        ({"version": 1.0}, "no attribute version"),
        ({"version": [0, 3]}, "impossible"),
        ({"Q": None}, "no dataset /quadratic/Q"),
        ({"target": None}, "no dataset /quadratic/target"),
        ({"scale": None}, "no dataset /quadratic/scale"),
        ({"Q": np.eye(16) + 1j}, "complex"),
        ({"Q": np.eye(16, dtype=np.longdouble)}, "float64 is needed"),
        ({"Q": np.eye(8)}, r"Q has shape \(8, 8\) and /quadratic/target \(16,\)"),
        ({"Q": np.ones(16)}, r"Q has shape \(16,\)"),
        ({"Q": np.triu(np.ones((16, 16)))}, r"not symmetric: Q\[0, 1\]"),
        ({"Q": np.full((16, 16), np.nan)}, r"Q\[0, 0\] is nan"),
        ({"Q": np.eye(12), "target": np.ones(12)}, "n = 12 is not"),
        ({"target": np.ones((2, 2, 16))}, "2 dimensions"),
        ({"target": 1.0}, "2 dimensions"),
        ({"target": np.full(16, 1e10)}, "too far out"),
        ({"target": "text"}, "dataset /quadratic/target"),
        ({"scale": 0.0}, "scale = 0.0"),
        ({"scale": [1.0]}, "scalar"),
        ({"scale": "1"}, "scalar"),
        ({"Q": h5py.Empty("f8")}, "Q is empty"),
    ],
    ids=lambda x: repr(x)[:40],
)
def test_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "p.h5"
    write_plain(path, **change)
    with pytest.raises(InputError, match=says):
        load_problem(path)
    assert refused(path).startswith(str(path))


@pytest.mark.parametrize(
    "term",
    [
        {"kind": "ball", "radius2": 10.0},
        {"kind": "box", "lower": -2.0, "upper": 1.5},
        {"kind": "rate", "lambda": 0.5, "shells": [1.0, 2.5, np.inf, 4.0]},
        {"kind": "rate", "lambda": 0.5, "coordinates": [[2.0, 1.0, 3.0]] * 8, "first": -1},
    ],
)
def test_tile_terms_come_back(tmp_path: Path, term: dict[str, object]) -> None:
    path = tmp_path / "p.h5"
    problem = QuadraticProblem.create(np.eye(8), np.zeros(8), 1.0, term)
    save_problem(path, problem)
    loaded = load_problem(path)
    assert loaded.term is not None
    assert problem.term is not None
    assert loaded.term.to_bytes() == problem.term.to_bytes()
    assert loaded.digest == problem.digest


def test_tile_terms_of_plain_h5py_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    write_plain(path)
    with h5py.File(path, "a") as f:
        group = f.create_group("tile_term")
        group.attrs["kind"] = np.bytes_("rate")
        group.attrs["lambda"] = np.float32(0.5)
        group.attrs["first"] = -1
        group["coordinates"] = [3, 1, 2]
    term = load_problem(path).term
    assert term is not None
    assert term.kind == "rate"
    assert term.values(np.zeros(8, dtype=np.int32)) == 4.0


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({}, "no text attribute kind"),
        ({"kind": "ball"}, "tile term ball needs the parameter radius2"),
        ({"kind": "ball", "radius2": -1.0}, "tile term ball: radius2 = -1.0"),
        ({"kind": "ball", "radius2": [1.0, 2.0]}, "tile term ball: radius2"),
        ({"kind": "cube"}, "unknown tile term 'cube'"),
        ({"kind": "rate", "lambda": 1.0, "shells": "x"}, "tile term rate: shells"),
    ],
)
def test_bad_tile_terms_are_named(tmp_path: Path, attributes: dict[str, object], says: str) -> None:
    path = tmp_path / "p.h5"
    write_plain(path)
    with h5py.File(path, "a") as f:
        f.create_group("tile_term").attrs.update(attributes)
    assert says in refused(path)


def test_group_where_a_dataset_should_be(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    write_plain(path, Q=None)
    with h5py.File(path, "a") as f:
        f.create_group("quadratic/Q")
    assert "no dataset /quadratic/Q" in refused(path)


def test_dataset_never_written(tmp_path: Path) -> None:
    """HDF5 would read zeros: a matrix of zeros is not what anyone meant."""
    path = tmp_path / "p.h5"
    for options in ({}, {"chunks": (4, 16)}):
        write_plain(path, Q=None)
        with h5py.File(path, "a") as f:
            made = f.create_dataset("quadratic/Q", (16, 16), "f8", **options)
            if options:
                made[:4] = 1.0
        assert "never written" in refused(path)


def test_huge_shape_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    write_plain(path, Q=None, target=None)
    with h5py.File(path, "a") as f:
        f.create_dataset("quadratic/Q", (2**40, 2**40), "f8", chunks=(1024, 1024))
        f.create_dataset("quadratic/target", (2**40,), "f8", chunks=(1024,))
    assert "never written" in refused(path)


def test_not_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    assert "does not exist" in refused(path)
    path.write_bytes(b"")
    assert "is empty" in refused(path)
    path.write_text("n,k\n8,1\n" * 100)
    assert "is not an HDF5 file" in refused(path)
    assert "is a directory" in refused(tmp_path)


@pytest.mark.parametrize("writer", [write_plain, lambda path: save_problem(path, problem())])
def test_truncated(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    path = tmp_path / "p.h5"
    writer(path)
    whole = path.read_bytes()
    for length in (8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        text = refused(path)
        if length > 100:
            assert f"is truncated ({length} bytes are there)" in text


def test_every_damaged_byte_is_seen(tmp_path: Path) -> None:
    """Our own files carry checksums everywhere: damage is refused or changes nothing."""
    path = tmp_path / "p.h5"
    p = problem(8, 1)
    save_problem(path, p)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            assert load_problem(path).digest == p.digest
        except InputError:
            refused(path)


@pytest.mark.parametrize("writer", [write_plain, lambda path: save_problem(path, problem())])
def test_damaged_text_heap(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    """HDF5 itself crashes or never returns on some of these bytes."""
    path = tmp_path / "p.h5"
    writer(path)
    whole = path.read_bytes()
    heap = whole.index(b"GCOL")
    for at, value in ((8, 0x01), (14, 0x7F), (24, 0xFF), (29, 0x10), (31, 0x80)):
        bad = bytearray(whole)
        bad[heap + at] = value
        path.write_bytes(bad)
        assert "its texts cannot be read" in refused(path)
        with pytest.raises(InputError, match="its texts cannot be read"):
            kind_of_file(path)  # asked first of checkpoints, which may be sealed


def test_locked_file_names_the_variable(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    write_plain(path)
    code = (
        "import sys\nfrom morsr_mpi.adapters.hdf5_problem import load_problem\n"
        "from morsr_mpi.base.errors import InputError\n"
        "try:\n    load_problem(sys.argv[1])\n"
        "except InputError as exc:\n    print(exc)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "HDF5_USE_FILE_LOCKING"}
    with h5py.File(path, "a", locking=True):
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert "HDF5_USE_FILE_LOCKING=FALSE" in done.stdout
    assert done.stdout.count("\n") == 1


def test_write_errors_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*gone/p.h5: the directory .* not exist"):
        save_problem(tmp_path / "gone" / "p.h5", problem())
    (tmp_path / "dir").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        save_problem(tmp_path / "dir", problem())
    assert os.listdir(tmp_path) == ["dir"]


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.h5"
    old = problem(8, 1)
    save_problem(path, old)

    def lose(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(hdf5_common.os, "replace", lose)
        with pytest.raises(InputError, match="No space left on device"):
            save_problem(path, problem())
    assert load_problem(path).digest == old.digest
    assert os.listdir(tmp_path) == ["p.h5"]


def test_what_does_not_read_back_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.h5"
    write = hdf5_common.write_array

    def lie(group: Any, name: str, array: Any, stored: str) -> None:
        write(group, name, array + 1.0 if name == "target" else array, stored)

    monkeypatch.setattr(hdf5_common, "write_array", lie)
    with pytest.raises(InputError, match="did not read back as written"):
        save_problem(path, problem())
    assert os.listdir(tmp_path) == []
