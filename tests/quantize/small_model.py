"""A model of three small layers with calibration samples, and files of tensors of every format."""

from __future__ import annotations

import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Array = NDArray[Any]
#: Name -> shape; the rows of b are no multiple of 8, its Hessian has a direction nobody uses.
LAYERS = {"a.weight": (12, 48), "b.weight": (8, 20), "c.weight": (10, 32)}


def weights() -> dict[str, Array]:
    """All tensors: three layers, a bias and an embedding that have no Hessian."""
    rng = np.random.default_rng(5)
    found: dict[str, Array] = {
        name: (0.05 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in LAYERS.items()
    }
    found["a.bias"] = rng.standard_normal(12).astype(np.float16)
    found["embedding"] = rng.standard_normal((6, 8))
    found["ids"] = np.arange(4, dtype=np.int64)
    return found


def samples() -> dict[str, Array]:
    """Inputs of each layer, correlated."""
    rng = np.random.default_rng(6)
    found = {}
    for name, (_, n) in LAYERS.items():
        mix = rng.standard_normal((n, n)) / np.sqrt(n) * np.linspace(0.3, 2.0, n)
        found[name] = (rng.standard_normal((300, n)) @ mix).astype(np.float32)
    return found


def hessians() -> dict[str, Array]:
    """X^T X / samples of the samples, plainly computed."""
    wide = {name: x.astype(np.float64) for name, x in samples().items()}
    return {name: x.T @ x / len(x) for name, x in wide.items()}


def write_model(folder: Path) -> tuple[Path, Path]:
    """Write model.safetensors and calibration.npz; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    model, calibration = folder / "model.safetensors", folder / "calibration.npz"
    save_file(weights(), model)
    np.savez(calibration, **samples())
    return model, calibration


class _Global:
    """Pickled as a call of a function of torch."""

    def __init__(self, function: Any, arguments: tuple[Any, ...]) -> None:
        self._reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self._reduced


class _Storage:
    def __init__(self, kind: Any, key: str, size: int) -> None:
        self.pid = ("storage", kind, key, "cpu", size)


class _Pickler(pickle.Pickler):
    def persistent_id(self, item: object) -> object:
        return item.pid if isinstance(item, _Storage) else None


def _torch(name: str, module: str) -> Any:
    """Something that is pickled as a global name of torch."""
    found = types.new_class(name)
    found.__module__ = module
    return found


def save_torch(path: Path, tensors: dict[str, Any], extra: dict[str, Any] | None = None) -> None:
    """Write what torch.save writes of a state dict: a zip of data.pkl and of storages.

    extra: entries that are no tensors.
    """
    kinds = {"f4": "FloatStorage", "f8": "DoubleStorage", "f2": "HalfStorage", "i8": "LongStorage"}
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
    rebuild = _torch("_rebuild_tensor_v2", "torch._utils")
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    for kind in kinds.values():
        setattr(torch, kind, _torch(kind, "torch"))
    try:
        state: OrderedDict[str, Any] = OrderedDict()
        data: dict[str, bytes] = {}
        for number, (name, array) in enumerate(tensors.items()):
            key, kind = str(number), kinds[array.dtype.str[1:]]
            storage = _Storage(getattr(torch, kind), key, array.size)
            strides = tuple(step // array.itemsize for step in array.strides)
            arguments = (storage, 0, array.shape, strides, False, OrderedDict())
            state[name] = _Global(rebuild, arguments)
            data[key] = (array.T if array.flags.f_contiguous else array).tobytes()
        state.update(extra or {})
        with zipfile.ZipFile(path, "w") as archive:
            with archive.open("archive/data.pkl", "w") as stream:
                _Pickler(stream, protocol=2).dump(state)
            archive.writestr("archive/byteorder", "little")
            for key, raw in data.items():
                archive.writestr(f"archive/data/{key}", raw)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
