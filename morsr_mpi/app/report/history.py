"""The history of a run, `metrics.jsonl`, as columns; also of runs that were cut off."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.app.telemetry import HISTORY_VERSION
from morsr_mpi.base import config

#: Columns of numbers, and whether one may be missing in a line (None).
_COLUMNS = ("elapsed", "time", "pulse", "incumbent", "bound", "gap", "work", "frontier", "wall")


@dataclass
class History:
    """One entry per line. seconds: since the run began, pauses between its starts left out; columns
    may hold nan. utilisation: shape (lines, ranks), nan where a rank told nothing; cpu: by phase,
    of all ranks together so far. torn: lines that could not be read."""

    columns: dict[str, NDArray[np.float64]]
    seconds: NDArray[np.float64]
    starts: NDArray[np.int64]
    ranks: list[int]
    utilisation: NDArray[np.float64]
    cpu: dict[str, NDArray[np.float64]]
    last: dict[str, Any]
    torn: int = 0
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.seconds)

    def thinned(self, count: int) -> NDArray[np.int64]:
        """Return the indices of at most so many lines, first and last among them."""
        return np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))


def read_history(path: Path) -> History:
    """Read a history. Lines that are torn or foreign are passed over and counted.

    Of a file above `config.REPORT_HISTORY_BYTES` the end is read. Raises OSError, and ValueError
    when no line can be used.
    """
    lines: list[dict[str, Any]] = []
    torn = 0
    notes: list[str] = []
    with path.open("rb") as file:
        size = path.stat().st_size
        if size > config.REPORT_HISTORY_BYTES:
            file.seek(size - config.REPORT_HISTORY_BYTES)
            file.readline()
            notes.append(f"{path.name} is long: its first part is not shown")
        for data in file:
            line = _parsed(data)
            if line is None:
                torn += 1
            else:
                lines.append(line)
    if not lines:
        raise ValueError(f"{path.name} holds no line that can be used")
    return _columns(lines, torn, notes)


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(data)
        if line["version"] != HISTORY_VERSION:
            return None
        for name in _COLUMNS:
            if line[name] is not None:
                float(line[name])
        int(line["start"])
        if len(line["ranks"]) != len(line["utilisation"]) or not isinstance(line["metrics"], dict):
            return None
        [
            (int(rank), float(share))
            for rank, share in zip(line["ranks"], line["utilisation"], strict=True)
        ]
        {str(name): float(seconds) for name, seconds in line["cpu"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    found: dict[str, Any] = line
    return found


def _columns(lines: list[dict[str, Any]], torn: int, notes: list[str]) -> History:
    columns = {
        name: np.array([math.nan if x[name] is None else float(x[name]) for x in lines])
        for name in _COLUMNS
    }
    starts = np.array([int(line["start"]) for line in lines], np.int64)
    seconds = columns["elapsed"].copy()
    before = 0.0
    for i in range(1, len(lines)):  # each start counts from zero
        if starts[i] != starts[i - 1]:
            before = float(seconds[i - 1])
        seconds[i] = max(columns["elapsed"][i] + before, seconds[i - 1])
    ranks = sorted({int(rank) for line in lines for rank in line["ranks"]})
    place = {rank: i for i, rank in enumerate(ranks)}
    utilisation = np.full((len(lines), len(ranks)), math.nan)
    for i, line in enumerate(lines):
        for rank, share in zip(line["ranks"], line["utilisation"], strict=True):
            utilisation[i, place[int(rank)]] = float(share)
    phases = list(lines[-1]["cpu"])
    cpu = {p: np.array([float(x["cpu"].get(p, 0.0)) for x in lines]) for p in phases}
    return History(columns, seconds, starts, ranks, utilisation, cpu, lines[-1], torn, notes)
