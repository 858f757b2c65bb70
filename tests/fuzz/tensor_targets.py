"""Files of tensors, whatever is in them: refused by one line, or read without harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from morsr_mpi.adapters.npz_tensors import NpzFile
from morsr_mpi.adapters.safetensors_file import SafetensorsFile
from morsr_mpi.adapters.tensor_file import TensorFile
from morsr_mpi.adapters.torch_tensors import TorchFile
from morsr_mpi.base.errors import InputError

#: Tensors up to here are read whole: a header may announce more than a test should allocate.
READ_BYTES = 1 << 20


def _read(open_file: Callable[[Path], TensorFile], data: bytes) -> None:
    handle, name = tempfile.mkstemp()
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        with suppress(InputError):
            found = open_file(Path(name))
            for key, info in found.tensors.items():
                if info.nbytes <= READ_BYTES:
                    with suppress(InputError):
                        parts = [np.asarray(block) for block in found.blocks(key, 2)]
                        assert sum(part.size for part in parts) == info.size
    finally:
        Path(name).unlink()


def safetensors(data: bytes) -> None:
    """A safetensors file."""
    _read(SafetensorsFile, data)


def npz(data: bytes) -> None:
    """An archive of NumPy."""
    _read(NpzFile, data)


def torch_pickle(data: bytes) -> None:
    """The pickle in an archive of PyTorch: it may do nothing but describe tensors."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/data/0", bytes(64))
    _read(TorchFile, buffer.getvalue())


def _safetensors_seed() -> bytes:
    header = {
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(22))


def _npz_seed(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, a=np.arange(6.0).reshape(2, 3), b=np.arange(3))
    return buffer.getvalue()


def _torch_seed() -> bytes:
    """One tensor of 2 x 2 in storage 0, in the opcodes that torch writes."""
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQK\x00K\x02K\x02\x86K\x02K\x01\x86\x89"
        b"ccollections\nOrderedDict\n)RtR"
    )
    return b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00w" + tensor + b"u."


TARGETS: dict[str, Callable[[bytes], None]] = {
    "safetensors": safetensors,
    "npz": npz,
    "torch_pickle": torch_pickle,
}
SEEDS: dict[str, list[bytes]] = {
    "safetensors": [_safetensors_seed()],
    "npz": [_npz_seed(np.savez), _npz_seed(np.savez_compressed)],
    "torch_pickle": [_torch_seed(), pickle.dumps(OrderedDict(n=3), protocol=2)],
}
