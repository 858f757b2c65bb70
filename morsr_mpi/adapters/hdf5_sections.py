"""The groups of a checkpoint file beside its state: /flight, /workers, /consensus, /journal, /run.

New in version 1.1 of `morsr-checkpoint` (docs/formats/checkpoint.md); older readers pass over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from morsr_mpi.adapters import hdf5_common as common
from morsr_mpi.base.config import MAX_FLIGHT_BYTES, MAX_FLIGHT_TASKS, MAX_RANKS
from morsr_mpi.base.errors import InputError
from morsr_mpi.storage.sections import FlightTask, Sections, Worker

#: The attribute that says that the groups are there.
DIGEST = "sections_digest"
_STATES = ("works", "absent", "gone")
_UNFINISHED = -1


def write_sections(file: h5py.File, sections: Sections) -> None:
    """Write the groups and their digest into an open checkpoint file."""
    flight = file.create_group("flight", track_order=False)
    _ints(flight, "pulse", [task.pulse for task in sections.flight])
    _ints(flight, "index", [task.index for task in sections.flight])
    _ints(flight, "rank", [task.rank for task in sections.flight])
    _ints(flight, "chambers", [task.chambers for task in sections.flight])
    results = [task.result for task in sections.flight]
    _ints(flight, "bytes", [_UNFINISHED if r is None else len(r) for r in results])
    _bytes(flight, "task", b"".join(task.task for task in sections.flight))
    _bytes(flight, "results", b"".join(r for r in results if r is not None))
    workers = file.create_group("workers", track_order=False)
    for name in ("rank", "tasks", "work", "busy"):
        _ints(workers, name, [getattr(worker, name) for worker in sections.workers])
    _ints(workers, "state", [_STATES.index(worker.state) for worker in sections.workers])
    consensus = file.create_group("consensus", track_order=False)
    _ints(consensus, "epoch", [sections.epoch])
    _ints(consensus, "view", [sections.view])
    _ints(consensus, "certified", [sections.certified])
    _ints(consensus, "members", sections.members)
    journal = file.create_group("journal", track_order=False)
    _ints(journal, "records", [sections.records])
    _texts(journal, "head", [sections.head.hex()])
    _texts(journal, "genesis", [sections.genesis.hex()])
    run = file.create_group("run", track_order=False)
    _texts(run, "options", [sections.options])
    _texts(run, "failures", sections.failures)
    common.write_text(file, DIGEST, sections.digest().hex())


def read_sections(file: h5py.File, path: Path) -> Sections | None:
    """Return the groups of an open file, None where a version 1.0 has none. Raises InputError."""
    digest = common.read_text(file.attrs.get(DIGEST))
    if digest is None:
        return None
    try:
        sections = _read(file, path)
    except (ValueError, IndexError) as exc:
        raise InputError(f"{path} is damaged: {exc}") from None
    if sections.digest().hex() != digest:
        raise InputError(f"{path} is damaged: its sections do not have the digest it names")
    return sections


def _read(file: h5py.File, path: Path) -> Sections:
    def ints(name: str, most: int) -> list[int]:
        found = common.read_array(file, path, name, np.int64, (most,))
        return [int(x) for x in found]

    def data(name: str, most: int) -> bytes:
        return common.read_array(file, path, name, np.uint8, (most,)).tobytes()

    def texts(name: str) -> list[str]:
        found = common.dataset(file, path, name) if file[name].size else None
        return [] if found is None else [str(text) for text in found.asstr()[()]]

    columns = [ints(f"/flight/{name}", MAX_FLIGHT_TASKS) for name in _COLUMNS]
    task = data("/flight/task", 32 * MAX_FLIGHT_TASKS)
    results = data("/flight/results", MAX_FLIGHT_BYTES)
    sizes = columns[-1]
    ends = [0, *accumulate(max(size, 0) for size in sizes)]
    if len(task) != 32 * len(sizes) or ends[-1] != len(results):
        raise ValueError("tasks in flight of different number")
    flight = tuple(
        FlightTask(
            pulse,
            index,
            task[32 * i : 32 * i + 32],
            rank,
            chambers,
            None if size == _UNFINISHED else results[ends[i] : ends[i + 1]],
        )
        for i, (pulse, index, rank, chambers, size) in enumerate(zip(*columns, strict=True))
    )
    workers = tuple(
        Worker(rank, _STATES[state], tasks, work, busy)
        for rank, state, tasks, work, busy in zip(
            *(
                ints(f"/workers/{name}", MAX_RANKS)
                for name in ("rank", "state", "tasks", "work", "busy")
            ),
            strict=True,
        )
    )
    return Sections(
        flight,
        workers,
        epoch=ints("/consensus/epoch", 1)[0],
        view=ints("/consensus/view", 1)[0],
        certified=ints("/consensus/certified", 1)[0],
        members=tuple(ints("/consensus/members", MAX_RANKS)),
        records=ints("/journal/records", 1)[0],
        head=bytes.fromhex(texts("/journal/head")[0]),
        genesis=bytes.fromhex(texts("/journal/genesis")[0]),
        options=texts("/run/options")[0],
        failures=tuple(texts("/run/failures")),
    )


_COLUMNS = ("pulse", "index", "rank", "chambers", "bytes")


def _ints(group: h5py.Group, name: str, values: Sequence[int]) -> None:
    common.write_small(group, name, np.array(values, dtype="<i8").reshape(-1))


def _bytes(group: h5py.Group, name: str, data: bytes) -> None:
    array: Any = np.frombuffer(data, dtype=np.uint8)
    common.write_array(group, name, array, "|u1")


def _texts(group: h5py.Group, name: str, items: Sequence[str]) -> None:
    if items:
        common.write_small(group, name, common.fixed_text(items))
    else:
        common.write_small(group, name, np.zeros(0, dtype="S1"))
