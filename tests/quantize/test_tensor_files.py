"""Files of tensors: every format gives the same numbers, damaged and hostile ones one line."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_model import save_torch, weights

from morsr_mpi.adapters.safetensors_file import SafetensorsFile, write_safetensors
from morsr_mpi.adapters.tensor_file import TensorInfo, float_blocks, open_tensors, read_floats
from morsr_mpi.base.errors import InputError


def save_npz(path: Path, tensors: dict[str, Any]) -> None:
    np.savez_compressed(path, **tensors)


def save_hdf5(path: Path, tensors: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, array in tensors.items():
            file[name] = array


SAVERS = {
    "t.safetensors": lambda path, tensors: save_file(tensors, path),
    "t.npz": save_npz,
    "t.h5": save_hdf5,
    "t.pt": save_torch,
}


@pytest.mark.parametrize("name", SAVERS)
def test_every_format_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    tensors = weights()
    SAVERS[name](tmp_path / name, tensors)
    file = open_tensors(tmp_path / name)
    assert {key: info.shape for key, info in file.tensors.items()} == {
        key: array.shape for key, array in tensors.items()
    }
    for key, array in tensors.items():
        if array.dtype.kind == "f":
            assert np.array_equal(read_floats(file, key), array.astype(np.float64))
        whole = np.concatenate([np.atleast_1d(block) for block in file.blocks(key, 3)])
        assert whole.tobytes() == array.tobytes()
    with pytest.raises(InputError, match="holds no tensor"):
        read_floats(file, "nothing")
    file.close()


def test_column_major_arrays_and_transposed_tensors_keep_their_order(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(24.0).reshape(4, 6))
    for name in ("t.npz", "t.pt"):
        SAVERS[name](tmp_path / name, {"x": array})
        assert np.array_equal(read_floats(open_tensors(tmp_path / name), "x"), array)


def test_bfloat16_is_exact(tmp_path: Path) -> None:
    values = np.array([[1.5, -3.0], [0.0078125, 2.0**100]], dtype=np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    path = tmp_path / "b.safetensors"
    write_safetensors(path, {"x": TensorInfo("BF16", (2, 2))}, [("x", [bits])], {})
    assert np.array_equal(read_floats(open_tensors(path), "x"), values)


def test_what_is_written_reads_back_with_the_package(tmp_path: Path) -> None:
    tensors = weights()
    path = tmp_path / "w.safetensors"
    save_file(tensors, tmp_path / "in.safetensors")
    source = SafetensorsFile(tmp_path / "in.safetensors")
    data = ((name, source.blocks(name, 5)) for name in source.tensors)
    write_safetensors(path, source.tensors, data, {"a": "b"})
    again = load_file(path)
    assert all(np.array_equal(again[name], array) for name, array in tensors.items())
    assert SafetensorsFile(path).metadata == {"a": "b"}
    with pytest.raises(InputError, match="were announced"):
        write_safetensors(path, {"x": TensorInfo("F32", (2,))}, [("x", [np.zeros(1, "f4")])], {})
    assert np.array_equal(load_file(path)["ids"], tensors["ids"])  # the old file stands


def test_numbers_that_are_not_finite_are_named(tmp_path: Path) -> None:
    array = np.zeros((5, 4), dtype=np.float32)
    array[3, 2] = np.nan
    save_file({"w": array}, tmp_path / "n.safetensors")
    with pytest.raises(InputError, match=r"w\[3, 2\] is not finite"):
        list(float_blocks(open_tensors(tmp_path / "n.safetensors"), "w", 2))


def _entry(shape: list[int], begin: int, end: int, code: str = "F32") -> dict[str, Any]:
    return {"dtype": code, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"a": _entry([2], 0, 8), "b": _entry([2], 4, 12)}, 12),  # overlap
        ({"a": _entry([2], 0, 8)}, 4),  # truncated
        ({"a": _entry([3], 0, 8)}, 8),  # length that lies
        ({"a": _entry([2], 4, 12)}, 12),  # a hole
        ({"a": _entry([2], 8, 0)}, 8),
        ({"a": _entry([-2], 0, 8)}, 8),
        ({"a": _entry([2**62, 2**62], 0, 8)}, 8),
        ({"a": _entry([2], 0, 8, "F99")}, 8),
        ({"a": 5}, 8),
        ([], 8),
    ],
)
def test_malformed_safetensors_are_one_line(header: object, data: int, tmp_path: Path) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))
    with pytest.raises(InputError, match="no sound safetensors file") as caught:
        open_tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        b"short",
        struct.pack("<Q", 2) + b"{]" + bytes(8),
        struct.pack("<Q", 40) + b'{"a":' * 8,
    ],
)
def test_headers_that_lie_are_one_line(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(raw)
    with pytest.raises(InputError, match="no sound safetensors file"):
        open_tensors(path)


class Evil:
    """Runs a command where a pickle is believed."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def _archive(path: Path, pickled: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for number, found in enumerate((Evil(mark), {"w": Evil(mark)}, OrderedDict(w=Evil(mark)))):
        path = tmp_path / f"evil{number}.pt"
        for protocol in (0, 2, 4):
            _archive(path, pickle.dumps(found, protocol=protocol))
            with pytest.raises(InputError, match=r"names (posix|os)\.mkdir, which is not run"):
                open_tensors(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b"\x80\x02.",
        pickle.dumps([1, 2], protocol=2),
        pickle.dumps({"x": 1}, protocol=2)[:-3],
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ccollections\nOrderedDict\n(I1\ntR.",
        b"\x80\x02cbuiltins\ngetattr\n.",
        b"I1\nQ.",
    ],
)
def test_malformed_pickles_are_one_line(pickled: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    _archive(path, pickled)
    with pytest.raises(InputError):
        open_tensors(path)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    good = tmp_path / "g.pt"
    save_torch(good, {"w": np.zeros((3, 4), dtype=np.float32)})
    with zipfile.ZipFile(good) as archive:
        pickled = archive.read("archive/data.pkl")
    assert pickled.count(b"K\x03K\x04\x86") == 1
    path = tmp_path / "m.pt"
    _archive(path, pickled.replace(b"K\x03K\x04\x86", b"K\x04K\x04\x86"))
    with pytest.raises(InputError, match="beyond its storage"):
        open_tensors(path)


def test_old_torch_files_and_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    path.write_bytes(pickle.dumps({"w": 1}, protocol=2))
    with pytest.raises(InputError, match="before version"):
        open_tensors(path)
    np.savez(tmp_path / "o.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="Python objects"):
        open_tensors(tmp_path / "o.npz")


def test_hdf5_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (2, 2), "f8", external=[(str(tmp_path / "raw"), 0, 32)])
    with pytest.raises(InputError, match="another file"):
        open_tensors(path)


def test_missing_and_empty_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path, text in (
        (tmp_path / "none", "does not exist"),
        (tmp_path, "is a directory"),
        (tmp_path / "empty", "is empty"),
    ):
        with pytest.raises(InputError, match=text):
            open_tensors(path)
