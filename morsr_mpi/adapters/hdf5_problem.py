"""Problem files, `morsr-problem` version 1.0 (docs/formats/problem.md)."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from morsr_mpi.adapters import hdf5_common as common
from morsr_mpi.adapters.hdf5_term import load_term, save_term
from morsr_mpi.base.config import MAX_DIMENSION, MAX_TARGETS
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.problem import PROBLEM_TAG, QuadraticProblem

FILETYPE = PROBLEM_TAG
VERSION = (1, 0)


def save_problem(path: common.Pathlike, problem: QuadraticProblem) -> None:
    """Write a problem file; an existing one is replaced only when the new one is complete.

    Raises InputError when the file cannot be written.
    """
    arrays = {"/quadratic/Q": problem.Q, "/quadratic/target": problem.targets}

    def fill(file: h5py.File) -> None:
        common.write_header(file, FILETYPE, VERSION)
        group = file.create_group("quadratic")
        common.write_array(group, "Q", problem.Q, "<f8")
        common.write_array(group, "target", problem.targets, "<f8")
        common.write_small(group, "scale", np.array(problem.scale, dtype="<f8"))
        if problem.term is not None:
            save_term(file, problem.term)

    def verify(written: Path) -> None:
        with common.open_checked(written, FILETYPE, VERSION) as file:
            common.same_arrays(file, written, arrays)
            if _read_scale(file, written) != problem.scale:
                raise InputError(f"{written}: /quadratic/scale did not read back as written")
            term = load_term(file, written)
            if (term and term.to_bytes()) != (problem.term and problem.term.to_bytes()):
                raise InputError(f"{written}: /tile_term did not read back as written")

    common.write_atomically(path, fill, verify, streamed=True)


def load_problem(path: common.Pathlike) -> QuadraticProblem:
    """Return the checked problem of a file; Q is held in memory once.

    Raises InputError, one line that starts with the path, for a file of another type or
    a newer version, a damaged one, and data that cannot be solved.
    """
    where = Path(path)
    with common.open_checked(where, FILETYPE, VERSION) as file:
        term = load_term(file, where)
        target_shape = common.dataset(file, where, "/quadratic/target").shape
        limits = (MAX_DIMENSION,) if len(target_shape) == 1 else (MAX_TARGETS, MAX_DIMENSION)
        target = common.read_array(file, where, "/quadratic/target", np.float64, limits)
        scale = _read_scale(file, where)
        side = int(target.shape[-1])
        shape = common.dataset(file, where, "/quadratic/Q").shape
        if shape != (side, side):  # before Q is read: its shape may be damage
            raise InputError(
                f"{where}: /quadratic/Q has shape {shape} and /quadratic/target "
                f"{target_shape}; they must be (n, n) and (n,) or (k, n)"
            )
        matrix = common.read_array(
            file, where, "/quadratic/Q", np.float64, (MAX_DIMENSION, MAX_DIMENSION)
        )
    try:
        return QuadraticProblem.adopt(matrix, target, scale, term)
    except InputError as exc:
        raise InputError(f"{where}: {exc}") from None


def _read_scale(file: h5py.File, path: Path) -> float:
    """Return /quadratic/scale, a real scalar."""
    found = common.dataset(file, path, "/quadratic/scale")
    if found.shape != () or found.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: /quadratic/scale is {found.dtype} of shape {found.shape}; "
            "it must be a float64 scalar"
        )
    return float(found[()])
