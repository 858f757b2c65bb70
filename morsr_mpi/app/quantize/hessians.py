"""Where the Hessian of a layer comes from: a file, QuIP#'s files, or samples of its inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.adapters.tensor_file import (
    TensorFile,
    float_blocks,
    info_of,
    open_tensors,
    read_floats,
)
from morsr_mpi.adapters.torch_tensors import TorchFile
from morsr_mpi.app.quantize.gram import mean_gram
from morsr_mpi.base.config import CALIBRATION_BLOCK, MAX_DIMENSION
from morsr_mpi.base.errors import InputError

Matrix = NDArray[np.float64]

#: Share of the mean of the diagonal that is added to it, where nothing else is asked for.
GIVEN_DAMPING = 0.0
CALIBRATION_DAMPING = 0.01
#: Asymmetry, of the largest entry of the diagonal, that passes for rounding in float32.
ASYMMETRY = 1e-4


class HessianSource(Protocol):
    """Hessians of layers by the names of their tensors. Methods raise InputError."""

    path: Path
    damping: float

    def side(self, name: str) -> int | None:
        """Return the number of inputs that a Hessian is for, None where there is none."""

    def matrix(self, name: str) -> Matrix:
        """Return a Hessian, float64 [in,in], symmetric."""


def open_hessians(
    hessians: Path | None, calibration: Path | None, names: Path | None
) -> HessianSource:
    """Return the source that the options name. names: JSON file, tensor -> name in the source."""
    known = _read_names(names)
    if calibration is not None:
        return Calibration(open_tensors(calibration), known)
    assert hessians is not None
    if hessians.is_dir():
        return QuipHessians(hessians, known)
    file = open_tensors(hessians)
    if "flatH" in file.tensors:
        return QuipHessians(hessians, known)
    return GivenHessians(file, known)


def _read_names(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise InputError(f"{path} cannot be read as JSON: {exc}") from None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise InputError(f"{path} must be an object: name of a tensor -> name of its Hessian")
    return found


class _InFile:
    """What the sources have in common that are one file, keys are the tensors' names."""

    def __init__(self, file: TensorFile, names: Mapping[str, str]) -> None:
        self.path = file.path
        self._file = file
        self._names = names

    def _find(self, name: str) -> tuple[str, tuple[int, ...] | None]:
        """Return the key and the shape of what belongs to a tensor; None where there is none."""
        key = self._names.get(name, name)
        found = self._file.tensors.get(key)
        return key, None if found is None else found.shape


class GivenHessians(_InFile):
    """Hessians [in,in] in a file."""

    damping = GIVEN_DAMPING

    def side(self, name: str) -> int | None:
        """Return the side of a Hessian."""
        key, shape = self._find(name)
        if shape is None:
            return None
        if len(shape) != 2 or shape[0] != shape[1] or not 0 < shape[0] <= MAX_DIMENSION:
            raise InputError(
                f"{self.path}: {key} has the shape {list(shape)}; a Hessian is [in,in]"
            )
        return shape[0]

    def matrix(self, name: str) -> Matrix:
        """Return a Hessian."""
        key, _ = self._find(name)
        return symmetric(read_floats(self._file, key), f"{self.path}: {key}")


class QuipHessians:
    """QuIP#'s dictionaries {flatH, mu, n, ct}: one `.pt` file, or NAME.pt in a directory.

    flatH: lower triangle of the covariance of a layer's inputs, row by row; mu: their mean, so
    that H = sym(flatH) + mu mu^T; ct: samples, by which it has been divided already.
    """

    damping = GIVEN_DAMPING

    def __init__(self, path: Path, names: Mapping[str, str]) -> None:
        self.path = path
        self._names = names

    def _find(self, name: str) -> Path | None:
        if not self.path.is_dir():
            return self.path
        key = self._names.get(name, name)
        found = self.path / f"{key}.pt"
        return found if "/" not in key and found.exists() else None

    def _open(self, path: Path) -> TorchFile:
        file = open_tensors(path)
        if not isinstance(file, TorchFile) or "flatH" not in file.tensors:
            raise InputError(f"{path} is no dictionary of QuIP# with flatH, mu, n, ct")
        return file

    def side(self, name: str) -> int | None:
        """Return n of a dictionary."""
        path = self._find(name)
        if path is None:
            return None
        file = self._open(path)
        side = self._inputs(file)
        file.close()
        return side

    def _inputs(self, file: TorchFile) -> int:
        """Return n of an open dictionary, to which its tensors fit."""
        path = file.path
        n = file.numbers.get("n", 0.0)
        if n == 0.0 and "n" in file.tensors and file.tensors["n"].size == 1:
            n = float(next(iter(file.blocks("n", 1))).reshape(-1)[0])
        if not 0 < n <= MAX_DIMENSION or n != int(n):
            raise InputError(f"{path}: n = {n} is no number of inputs")
        side = int(n)
        for key, size in (("flatH", side * (side + 1) // 2), ("mu", side)):
            if key in file.tensors and file.tensors[key].size != size:
                raise InputError(
                    f"{path}: {key} has {file.tensors[key].size} numbers; n = {side} needs {size}"
                )
        return side

    def matrix(self, name: str) -> Matrix:
        """Return sym(flatH) + mu mu^T."""
        path = self._find(name)
        assert path is not None
        file = self._open(path)
        n = self._inputs(file)
        form = np.zeros((n, n))
        form[np.tril_indices(n)] = read_floats(file, "flatH").reshape(-1)
        form += np.tril(form, -1).T
        if "mu" in file.tensors:
            mu = read_floats(file, "mu").reshape(-1)
            form += mu[:, None] * mu[None, :]
        file.close()
        return form


class Calibration(_InFile):
    """Inputs of layers on samples, [samples, in]."""

    damping = CALIBRATION_DAMPING

    def side(self, name: str) -> int | None:
        """Return the length of a sample; tensors of more dimensions hold samples in all but one."""
        key, shape = self._find(name)
        if shape is None:
            return None
        if len(shape) < 2 or not 0 < shape[-1] <= MAX_DIMENSION:
            raise InputError(f"{self.path}: {key} has the shape {list(shape)}, not [samples, in]")
        return shape[-1]

    def matrix(self, name: str) -> Matrix:
        """Return X^T X / samples."""
        key, _ = self._find(name)
        shape = info_of(self._file, key).shape
        inner = max(1, int(np.prod(shape[1:-1])))
        rows = max(1, CALIBRATION_BLOCK // inner)
        blocks = (b.reshape(-1, shape[-1]) for b in float_blocks(self._file, key, rows))
        try:
            return mean_gram(blocks, shape[-1])
        except InputError as exc:
            raise InputError(f"{self.path}: {key}: {exc}") from None


def symmetric(form: Matrix, what: str) -> Matrix:
    """Return a matrix made exactly symmetric. Raises InputError where it is far from that."""
    allowed = ASYMMETRY * float(np.abs(np.diagonal(form)).max())
    worst = float(np.abs(form - form.T).max())
    if worst > allowed:
        raise InputError(f"{what} is not symmetric (by {worst:.3g}); a Hessian is")
    form += form.T.copy()
    form *= 0.5
    return form
