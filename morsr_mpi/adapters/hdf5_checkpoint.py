"""Checkpoint files, `morsr-checkpoint` version 1.1 (docs/formats/checkpoint.md).

A directory keeps the newest checkpoint and the one before it: should the newest be
unsound, the search falls back by one and says so.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import h5py
import numpy as np

from morsr_mpi.adapters import hdf5_common as common
from morsr_mpi.adapters.envelope_files import EnvelopeKeys
from morsr_mpi.adapters.hdf5_result import read_solution, write_solution
from morsr_mpi.adapters.hdf5_sealed import SealedError, is_sealed, open_sealed, save_sealed
from morsr_mpi.adapters.hdf5_sections import read_sections, write_sections
from morsr_mpi.base.config import CHECKPOINTS_KEPT, MAX_SNAPSHOT_BYTES
from morsr_mpi.base.errors import InputError
from morsr_mpi.base.version import ALGORITHM_VERSION
from morsr_mpi.objectives.solution import Solution
from morsr_mpi.storage.checkpoint import (
    CHECKPOINT_TAG,
    Checkpoint,
    checkpoint_name,
    pulse_of_name,
)
from morsr_mpi.storage.sections import Sections

FILETYPE = CHECKPOINT_TAG
VERSION = (1, 1)


def save_checkpoint(
    path: common.Pathlike, checkpoint: Checkpoint, keys: EnvelopeKeys | None = None
) -> None:
    """Write one checkpoint file; an existing one is replaced only by a complete one.

    keys: with a suite, the file is sealed. Raises InputError when the file cannot be written
    or the state is beyond `config.MAX_SNAPSHOT_BYTES`.
    """
    if len(checkpoint.state) > MAX_SNAPSHOT_BYTES:
        raise InputError(
            f"a state of {len(checkpoint.state)} bytes is more than a checkpoint can hold "
            f"({MAX_SNAPSHOT_BYTES})"
        )
    digest = checkpoint.digest()

    def fill(file: h5py.File) -> None:
        common.write_header(file, FILETYPE, VERSION)
        file.attrs["algorithm_version"] = np.int64(checkpoint.algorithm_version)
        common.write_text(file, "problem_digest", checkpoint.problem_digest.hex())
        common.write_text(file, "options_digest", checkpoint.options_digest.hex())
        file.attrs["pulse"] = np.int64(checkpoint.pulse)
        common.write_text(file, "digest", digest.hex())
        write_solution(file, checkpoint.solution)
        common.write_array(file, "state", np.frombuffer(checkpoint.state, dtype=np.uint8), "|u1")
        write_sections(file, checkpoint.sections or Sections())

    def verify(written: Path) -> None:
        _load(written, None)

    if keys is not None and keys.suite:
        save_sealed(Path(path), fill, keys, FILETYPE)
        return
    common.write_atomically(path, fill, verify)


def load_checkpoint(path: common.Pathlike, keys: EnvelopeKeys | None = None) -> Checkpoint:
    """Return a sound checkpoint from which this version of the software can go on.

    keys: to open a sealed one with; without them it raises SealedError. Raises InputError for
    another file type, a newer format, damage, and for a checkpoint of another algorithm version
    (both versions named; `load_checkpoint_solution` still reads its points).
    """
    where = Path(path)
    with _opened(where, keys) as file:
        found = _integer(file, where, "algorithm_version")
    if found != ALGORITHM_VERSION:
        raise InputError(
            f"{where} was written by algorithm version {found}, this software has version "
            f"{ALGORITHM_VERSION} and cannot go on from it; its /solution stays readable: "
            "use that version or start a new run directory"
        )
    return _load(where, keys)


def load_checkpoint_solution(path: common.Pathlike, keys: EnvelopeKeys | None = None) -> Solution:
    """Return the best points of a checkpoint of any algorithm version; raises InputError."""
    where = Path(path)
    with _opened(where, keys) as file:
        return read_solution(file, where)


def _opened(path: Path, keys: EnvelopeKeys | None) -> contextlib.AbstractContextManager[h5py.File]:
    """Open a checkpoint, out of its envelope where it is in one."""
    if is_sealed(path):
        return open_sealed(path, keys, FILETYPE, VERSION)
    return common.open_checked(path, FILETYPE, VERSION)


def _load(path: Path, keys: EnvelopeKeys | None) -> Checkpoint:
    """Return the checkpoint of a file after a check of its digest."""
    with _opened(path, keys) as file:
        state = common.read_array(file, path, "/state", np.uint8, (MAX_SNAPSHOT_BYTES,))
        checkpoint = Checkpoint(
            problem_digest=_digest(file, path, "problem_digest"),
            options_digest=_digest(file, path, "options_digest"),
            pulse=_integer(file, path, "pulse"),
            state=state.tobytes(),
            solution=read_solution(file, path),
            algorithm_version=_integer(file, path, "algorithm_version"),
            sections=read_sections(file, path),
        )
        expected = _digest(file, path, "digest")
    if checkpoint.digest() != expected:
        raise InputError(f"{path} is damaged: its contents do not have the digest it names")
    return checkpoint


def _integer(file: h5py.File, path: Path, name: str) -> int:
    """Return a root attribute that must be a non-negative integer."""
    value = file.attrs.get(name)
    if not isinstance(value, int | np.integer) or value < 0:
        raise InputError(f"{path} has no sound attribute {name}; it is damaged")
    return int(value)


def _digest(file: h5py.File, path: Path, name: str) -> bytes:
    """Return a root attribute that must be the 64 hexadecimal digits of a digest."""
    text = common.read_text(file.attrs.get(name)) or ""
    with contextlib.suppress(ValueError):
        value = bytes.fromhex(text)
        if len(value) == 32 and value.hex() == text:
            return value
    raise InputError(f"{path} has no sound attribute {name}; it is damaged")


def remove_later(directory: common.Pathlike, pulse: int) -> None:
    """Remove checkpoints after more than so many pulses: the run went back behind them."""
    for later, path in _by_age(Path(directory)):
        if later > pulse:
            path.unlink(missing_ok=True)


def store_checkpoint(
    directory: common.Pathlike, checkpoint: Checkpoint, keys: EnvelopeKeys | None = None
) -> Path:
    """Write a checkpoint under its own name, then drop all but the newest two; return its path.

    Only one process may write into the directory. Raises InputError.
    """
    where = Path(directory)
    for left in where.glob(".checkpoint-*.tmp"):  # of a writer that was killed
        left.unlink(missing_ok=True)
    path = where / checkpoint_name(checkpoint.pulse)
    save_checkpoint(path, checkpoint, keys)
    for _, old in _by_age(where)[CHECKPOINTS_KEPT:]:
        if old != path:  # after a rollback, later ones are removed next
            old.unlink(missing_ok=True)
    return path


def _by_age(directory: Path) -> list[tuple[int, Path]]:
    """Return (pulse, path) of all checkpoint files, newest pulse first."""
    found = []
    if directory.is_dir():
        for path in directory.iterdir():
            pulse = pulse_of_name(path.name)
            if pulse is not None:
                found.append((pulse, path))
    return sorted(found, reverse=True)


def newest_checkpoint(
    directory: common.Pathlike,
    warnings: list[str] | None = None,
    keys: EnvelopeKeys | None = None,
) -> tuple[Path, Checkpoint] | None:
    """Return the newest sound checkpoint of a directory, None when it has none at all.

    An unsound file is passed over in favour of the one before it, and one line per such
    file is appended to `warnings`. Raises InputError when there are files but none is sound,
    and SealedError for a sealed one without its keys: nothing older is taken in its place.
    """
    first: InputError | None = None
    for _, path in _by_age(Path(directory)):
        try:
            checkpoint = load_checkpoint(path, keys)
        except SealedError:
            raise
        except InputError as exc:
            first = first or exc
            if warnings is not None:
                warnings.append(f"checkpoint passed over: {exc}")
            continue
        return path, checkpoint
    if first is not None:
        raise InputError(f"no checkpoint can be used: {first}")
    return None
