"""`trace.json`: what every rank was at, in Chrome's trace format; Perfetto opens it.

One process per rank, with a line for what it was at, one for votes (from a commit to its
certificate) and one for files. What does not fit `config.TRACE_BYTES` is left out by whole windows
of time, the same on all ranks; the file says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.spans import CHECKPOINT, KINDS, VOTED, RankSpans, kept, read_spans
from morsr_mpi.base import config

#: Lines of a process: number and name.
_LINES = ((0, "loop"), (1, "votes"), (2, "files"))
_LINE_OF = {VOTED: 1, CHECKPOINT: 2}
#: How a kind is called where its category says too little.
_NAMES = {
    "commit": "commit, plan", "check": "recheck", "ledger": "ledger, files", "vote": "vote",
    VOTED: "commit to certificate",
}  # fmt: skip
#: Bytes kept free for the frame of the file.
_FRAME_BYTES = 4096


def write_trace(run: RunDirectory, token: str = "") -> int:
    """Write the trace of a run from the spans of its ranks; return its size in bytes.

    Files of spans that cannot be read are passed over, and named in the trace. Raises OSError.
    """
    found, missing = read_all(run)
    path = run.trace
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    stride = max([1, *(spans.stride for spans in found.values())])
    try:
        while True:
            with draft.open("wb") as file:
                if _write(file, found, stride, missing, token):
                    break
            stride *= 2
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path.stat().st_size


def read_all(run: RunDirectory) -> tuple[dict[int, RankSpans], list[str]]:
    """Return the spans of all ranks, and the names of files that are none."""
    found: dict[int, RankSpans] = {}
    missing: list[str] = []
    for path in sorted(run.telemetry.glob("rank-*.spans")):
        try:
            found[int(path.stem.rpartition("-")[2])] = read_spans(path.read_bytes())
        except (OSError, ValueError):
            missing.append(path.name)
    return found, missing


def _write(
    file: BinaryIO, found: dict[int, RankSpans], stride: int, missing: list[str], token: str
) -> bool:
    """Write all; False when it would become too large."""
    starts = [float(spans.table["start"].min()) for spans in found.values() if len(spans.table)]
    origin = min(starts, default=0.0)
    said = {
        "software": "morsr", "origin_unix_seconds": origin, "every_nth_window": stride,
        "window_seconds": config.TRACE_WINDOW_SECONDS, "unreadable": missing, "start": token,
    }  # fmt: skip
    head = json.dumps({"displayTimeUnit": "ms", "otherData": said})[:-1]
    size = file.write(f'{head}, "traceEvents": [\n'.encode())
    comma = ""
    for rank, spans in found.items():
        for text in _events(rank, spans, stride, origin):
            size += file.write((comma + text).encode())
            comma = ",\n"
            if size > config.TRACE_BYTES - _FRAME_BYTES:
                return False
    file.write(b"\n]}\n")
    return True


def _events(rank: int, spans: RankSpans, stride: int, origin: float) -> Iterator[str]:
    yield _meta(rank, 0, "process_name", {"name": f"rank {rank}"})
    yield _meta(rank, 0, "process_sort_index", {"sort_index": rank})
    for line, name in _LINES:
        yield _meta(rank, line, "thread_name", {"name": name})
    table = spans.table[kept(spans.table, stride)]
    names = [json.dumps(_NAMES.get(kind, kind)) for kind in KINDS]
    lines = [_LINE_OF.get(kind, 0) for kind in KINDS]
    at = np.rint(1e6 * (table["start"] - origin)).astype(np.int64).tolist()
    length = np.rint(1e6 * table["length"]).astype(np.int64).tolist()
    for kind, begin, lasts, number in zip(
        table["kind"].tolist(), at, length, table["number"].tolist(), strict=True
    ):
        more = f',"args":{{"pulse":{number}}}' if number >= 0 else ""
        yield (
            f'{{"ph":"X","name":{names[kind]},"pid":{rank},"tid":{lines[kind]},"ts":{begin},'
            f'"dur":{lasts}{more}}}'
        )
    for when, text in spans.texts:
        event: dict[str, Any] = {
            "ph": "i", "s": "g", "name": text, "cat": "failure", "pid": rank, "tid": 0,
            "ts": int(1e6 * max(0.0, when - origin)),
        }  # fmt: skip
        yield json.dumps(event)


def _meta(rank: int, line: int, name: str, args: dict[str, object]) -> str:
    return json.dumps({"ph": "M", "name": name, "pid": rank, "tid": line, "args": args})
