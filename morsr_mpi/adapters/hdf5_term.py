"""The group /tile_term of problem files (docs/formats/problem.md)."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from morsr_mpi.adapters import hdf5_common as common
from morsr_mpi.base.config import MAX_RATE_ENTRIES
from morsr_mpi.base.errors import InputError
from morsr_mpi.objectives.terms import make_term
from morsr_mpi.objectives.tile_term import TileTerm

GROUP = "tile_term"
#: Parameters of one term; more names are no term of ours.
MAX_PARAMETERS = 64


def save_term(file: h5py.File, term: TileTerm) -> None:
    """Write kind and parameters: numbers and texts as attributes, arrays as datasets."""
    group = file.create_group(GROUP)
    group.attrs["kind"] = term.kind
    for name in sorted(term.parameters):
        value = term.parameters[name]
        if isinstance(value, np.ndarray):
            common.write_small(group, name, value.astype("<f8"))
        else:
            group.attrs[name] = value


def load_term(file: h5py.File, path: Path) -> TileTerm | None:
    """Return the term of a file, None where there is none.

    Raises InputError, which starts with the path and names the term.
    """
    if GROUP not in file:
        return None
    group = file[GROUP]
    if not isinstance(group, h5py.Group):
        raise InputError(f"{path}: /{GROUP} is not a group; see docs/formats/problem.md")
    kind = common.read_text(group.attrs.get("kind"))
    if kind is None:
        raise InputError(f"{path}: the group /{GROUP} has no text attribute kind")
    if len(group.attrs) + len(group) > MAX_PARAMETERS:
        raise InputError(f"{path}: /{GROUP} has more than {MAX_PARAMETERS} parameters")
    given: dict[str, object] = {}
    for name in group.attrs:
        given[name] = _attribute(group.attrs[name])
    for name in group:
        found = common.dataset(file, path, f"/{GROUP}/{name}")
        limits = (*(8,) * (len(found.shape) - 1), MAX_RATE_ENTRIES)
        given[name] = common.read_array(file, path, f"/{GROUP}/{name}", np.float64, limits)
    given["kind"] = kind
    try:
        return make_term(given)
    except InputError as exc:
        raise InputError(f"{path}: {exc}") from None


def _attribute(value: object) -> object:
    """An attribute as Python has it: text, number or array."""
    text = common.read_text(value)
    if text is not None:
        return text
    if isinstance(value, np.ndarray) and value.ndim:
        return value
    return value.item() if isinstance(value, np.generic | np.ndarray) else value
