"""Result files, `morsr-result` version 1.0 (docs/formats/result.md).

`/solution` holds what must be identical for every number of ranks and nothing else;
what differs from run to run (times, hosts, failures) stands in `/run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from morsr_mpi.adapters import hdf5_common as common
from morsr_mpi.base.config import MAX_DIMENSION, MAX_TARGETS
from morsr_mpi.base.errors import InputError, InternalError
from morsr_mpi.objectives.solution import SOLUTION_FIELDS, Solution, SolveResult

FILETYPE = "morsr-result"
VERSION = (1, 0)

#: Name in `/run` -> how it is read back; the names are the fields of SolveResult.
_RUN_SCALARS: dict[str, type] = {
    "tolerance": float,
    "ranks": int,
    "wall_seconds": float,
    "restarts": int,
    "fingerprint": str,
    "run_dir": str,
}


def write_solution(file: h5py.File, solution: Solution) -> None:
    """Write the group /solution, the same bytes for the same solution."""
    group = file.create_group("solution", track_order=False)
    for name, array in solution.arrays().items():
        common.write_array(group, name, array, SOLUTION_FIELDS[name][0])


def read_solution(file: h5py.File, path: Path) -> Solution:
    """Return the checked group /solution of an open result or checkpoint file."""
    arrays = {
        name: common.read_array(
            file, path, f"/solution/{name}", np.dtype(kind), (MAX_TARGETS, MAX_DIMENSION)[:dims]
        ).astype(np.dtype(kind).newbyteorder("="), copy=False)
        for name, (kind, dims) in SOLUTION_FIELDS.items()
    }
    try:
        return Solution(**arrays)
    except InternalError as exc:
        raise InputError(f"{path}: {exc}; the file is damaged") from None


def save_result(
    path: common.Pathlike, result: SolveResult, run: Mapping[str, Any] | None = None
) -> None:
    """Write a result file; an existing one is replaced only when the new one is complete.

    run: more entries of `/run` by name: text, numbers, or flat sequences of one kind.
    Raises InputError when the file cannot be written, InternalError for a `run` entry
    of another kind.
    """
    solution = result.solution
    entries: dict[str, Any] = {name: getattr(result, name) for name in _RUN_SCALARS}
    entries |= {"run_dir": result.run_dir or "", "failures": list(result.failures)}
    clash = entries.keys() & (run or {}).keys()
    if clash:
        raise InternalError(f"/run entries given twice: {sorted(clash)}")
    entries |= run or {}

    def fill(file: h5py.File) -> None:
        common.write_header(file, FILETYPE, VERSION)
        common.write_text(file, "problem_digest", result.problem_digest)
        common.write_text(file, "options_digest", result.options_digest)
        write_solution(file, solution)
        group = file.create_group("run")
        for name in sorted(entries):
            _write_entry(group, name, entries[name])

    def verify(written: Path) -> None:
        if load_result(written).solution.digest() != solution.digest():
            raise InputError(f"{written}: /solution did not read back as written; check the disk")

    common.write_atomically(path, fill, verify)


def _write_entry(group: h5py.Group, name: str, value: Any) -> None:
    """Write one entry of /run as a scalar or one-dimensional dataset."""
    many = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    items = list(value) if many else [value]
    if all(isinstance(x, str) for x in items):
        data: Any = common.fixed_text(items)
    elif all(isinstance(x, int | np.integer | bool) for x in items):
        data = np.array(items, dtype="<i8")
    elif all(isinstance(x, int | float | np.integer | np.floating) for x in items):
        data = np.array(items, dtype="<f8")
    else:
        raise InternalError(f"/run/{name} cannot be stored: {type(value).__name__}")
    common.write_small(group, name, data if many else data.reshape(()))


def load_result(path: common.Pathlike) -> SolveResult:
    """Return what a result file holds; raises InputError for anything else."""
    where = Path(path)
    with common.open_checked(where, FILETYPE, VERSION) as file:
        solution = read_solution(file, where)
        run: dict[str, Any] = {}
        for name, kind in _RUN_SCALARS.items():
            value = common.dataset(file, where, f"/run/{name}")[()]
            run[name] = (common.read_text(value) or "") if kind is str else kind(value)
        run["run_dir"] = run["run_dir"] or None
        failures = common.dataset(file, where, "/run/failures")
        run["failures"] = [str(x) for x in failures.asstr()[()]] if failures.size else []
        for name in ("problem_digest", "options_digest"):
            run[name] = common.read_text(file.attrs.get(name)) or ""
    return SolveResult.of(solution, **run)


def load_run(path: common.Pathlike) -> dict[str, Any]:
    """Return all of `/run` by name as plain Python values; raises InputError."""
    where = Path(path)
    out: dict[str, Any] = {}
    with common.open_checked(where, FILETYPE, VERSION) as file:
        for name in file["run"]:
            found = common.dataset(file, where, f"/run/{name}")
            text = h5py.check_string_dtype(found.dtype) is not None
            value = found.asstr()[()] if text and found.size else found[()]
            out[name] = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return out


def solution_digest(path: common.Pathlike) -> bytes:
    """Return the SHA-256 (32 bytes) of the canonical bytes of a result file's /solution.

    Two runs agree when, and only when, these are equal. Raises InputError.
    """
    where = Path(path)
    with common.open_checked(where, FILETYPE, VERSION) as file:
        return read_solution(file, where).digest()
