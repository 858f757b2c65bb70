"""Which tensors of a model are quantised, and in which order: largest first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from morsr_mpi.adapters.tensor_file import FLOATS, TensorFile
from morsr_mpi.app.quantize.hessians import HessianSource
from morsr_mpi.base.config import MAX_DIMENSION, MAX_LAYERS, MAX_TARGETS
from morsr_mpi.base.errors import InputError, UsageError


@dataclass(frozen=True)
class Layer:
    """A matrix [rows, columns] = [out, in] to be quantised."""

    name: str
    rows: int
    columns: int

    @property
    def padded(self) -> int:
        """Length of a row in whole tiles of E8."""
        return -(-self.columns // 8) * 8

    @property
    def cost(self) -> int:
        """What its work grows with."""
        return self.rows * self.padded * self.padded

    def folder(self, number: int) -> str:
        """Name of its directory; number: its place in the order."""
        return f"{number:04d}-{re.sub('[^A-Za-z0-9._-]', '_', self.name)[:100]}"


def choose_layers(
    model: TensorFile, hessians: HessianSource, globs: Sequence[str]
) -> tuple[Layer, ...]:
    """Return the layers that the globs name, largest first, ties by name.

    Without globs: every matrix of floats that has a Hessian. Raises InputError for a layer whose
    Hessian is missing or of another size, UsageError where nothing is chosen.
    """
    chosen: list[Layer] = []
    for name, info in model.tensors.items():
        named = any(fnmatchcase(name, glob) for glob in globs)
        if globs and not named:
            continue
        if len(info.shape) != 2 or info.code not in FLOATS or 0 in info.shape:
            if name in globs:
                raise InputError(f"{model.path}: {name} is no matrix of floating-point numbers")
            continue
        side = hessians.side(name)
        if side is None:
            if named:
                raise InputError(
                    f"{hessians.path} has nothing for {name}; leave it out of --layers, or name "
                    "its Hessian with --hessian-names"
                )
            continue
        rows, columns = info.shape
        if side != columns:
            raise InputError(
                f"{hessians.path} is for {side} inputs at {name}, whose rows have {columns} weights"
            )
        if rows > MAX_TARGETS or columns > MAX_DIMENSION:
            raise InputError(f"{name} is larger than {MAX_TARGETS} rows of {MAX_DIMENSION}")
        chosen.append(Layer(name, rows, columns))
    if not chosen:
        raise UsageError(
            f"no layer to quantise: no matrix of {model.path} "
            + ("is named by --layers" if globs else f"has its name in {hessians.path}")
        )
    if len(chosen) > MAX_LAYERS:
        raise UsageError(f"{len(chosen)} layers; {MAX_LAYERS} is the limit, use --layers")
    return tuple(sorted(chosen, key=lambda layer: (-layer.cost, layer.name)))
