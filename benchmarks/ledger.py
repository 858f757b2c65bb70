"""What ledger and cache cost: task records, audit, look-up, cache; no peer does the same.

Synthetic records of the usual size, four ranks, commits of 64 tasks. `--records` sets their number;
the figures are CPU time of one core, medians over `--repeats`. `--cost` runs a solve with and
without run directory and cache and compares CPU time per task. `--remote`, under mpirun -n 2,
measures nothing but a look-up in the cache of another rank on this machine.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, cpu_seconds, random_rotation, report

import morsr_mpi
from morsr_mpi.adapters import task_index
from morsr_mpi.adapters.hdf5_result import load_run
from morsr_mpi.adapters.journal_file import MAGIC
from morsr_mpi.adapters.lmdb_cache import LmdbCache
from morsr_mpi.adapters.segment_file import SegmentFile
from morsr_mpi.adapters.task_index import open_index
from morsr_mpi.app.audit_tasks import audit_tasks
from morsr_mpi.app.computation_chain import find_record
from morsr_mpi.app.rundir import RunDirectory
from morsr_mpi.app.task_ledger import segment_name, segments
from morsr_mpi.base.canonical import encode
from morsr_mpi.base.digest import sha256
from morsr_mpi.base.ids import computation_id, task_id
from morsr_mpi.base.version import ALGORITHM_VERSION, __version__
from morsr_mpi.provenance.bodies import Genesis, Pulse, Stop
from morsr_mpi.provenance.chain import Chain, verify_chain
from morsr_mpi.provenance.tasks import SegmentHeader, SegmentWriter, TaskRecord
from morsr_mpi.security.ed25519 import Ed25519Signer
from morsr_mpi.storage.result_cache import MemoryCache

RANKS, WIDTH, BATCH = 4, 64, 8
PROBLEM = sha256(b"problem")


def parameters(commit: int, place: int) -> bytes:
    """As many bytes as a task of an enumeration has."""
    body = ((0, bytes(300), 3, bytes(32), 1.5),)
    return encode(("prove", commit, place, 1.0 / (1 + commit), (body, 4, 5000)))


def make(folder: Path, count: int) -> tuple[RunDirectory, float]:
    """Write a journal and segments of `count` records; return CPU seconds per record made."""
    run = RunDirectory(folder)
    run.tasks.mkdir(parents=True)
    signers = [Ed25519Signer(bytes([i + 1]) * 32) for i in range(RANKS)]
    chain = Chain()
    keys = tuple(signer.public_key for signer in signers)
    settings = encode((0, (None, (), None, 1000)))
    genesis = Genesis(__version__, ALGORITHM_VERSION, PROBLEM, sha256(b"o"), "sign", settings, keys)
    journal = [chain.append(genesis)]
    head = chain.point.head
    writers = [
        SegmentWriter(SegmentHeader(head, r, PROBLEM, ALGORITHM_VERSION), signers[r].sign)
        for r in range(RANKS)
    ]
    files = [SegmentFile(run.tasks / segment_name(head, r), print) for r in range(RANKS)]
    for file, writer in zip(files, writers, strict=True):
        file.append([writer.header.encode()])
    spent, made = 0.0, 0
    for first in range(0, count // WIDTH, BATCH):
        tasks = [
            [(p, task_id(ALGORITHM_VERSION, p)) for i in range(WIDTH) for p in [parameters(c, i)]]
            for c in range(first, first + BATCH)
        ]
        results = [[sha256(task) for _, task in row] for row in tasks]
        begin = time.process_time()
        for rank, (file, writer) in enumerate(zip(files, writers, strict=True)):
            batch = [
                TaskRecord(
                    computation_id(PROBLEM, task), p, first + c, i, first + c, results[c][i]
                ).encode()
                for c, row in enumerate(tasks)
                for i, (p, task) in enumerate(row)
                if i % RANKS == rank
            ]
            file.append(writer.batch(first, first + BATCH, batch, 0))
        spent += time.process_time() - begin
        made += BATCH * WIDTH
        for c, row in enumerate(tasks):
            givers = b"".join((i % RANKS).to_bytes(2, "big") for i in range(WIDTH))
            ids = sha256(b"".join(task for _, task in row))
            body = Pulse(0, first + c, ids, b"".join(results[c]), givers, ids)
            journal.append(chain.append(body))
        while any(file._waiting > 8 << 20 for file in files):
            time.sleep(0.01)
    journal.append(chain.append(Stop(made // WIDTH, ids, "benchmark")))
    for file in files:
        file.close()
    with run.journal.open("wb") as out:
        out.write(MAGIC)
        for record in journal:
            out.write(len(record).to_bytes(4, "big") + record)
    return run, spent / made


def audit_rate(run: RunDirectory) -> float:
    """Records audited per CPU second: Merkle roots, signatures, ids, against the journal."""
    from morsr_mpi.adapters.journal_file import read_records

    chain = verify_chain(read_records(run.journal))
    seconds, found = cpu_seconds(lambda: audit_tasks(run, chain))
    assert found.recorded == found.tasks
    return found.recorded / seconds


def look_ups(run: RunDirectory, count: int, pad: int) -> tuple[float, float, int]:
    """Seconds to make the index, median seconds of a look-up from nothing open, entries.

    pad: entries of the index in all, those beyond the records with random keys.
    """
    shutil.rmtree(run.index.parent, ignore_errors=True)
    paths = segments(run)
    begin = time.perf_counter()
    index = open_index(run.index, paths)
    built = time.perf_counter() - begin
    index = open_index(run.index, paths)
    if pad > len(index):
        _pad(run, paths, pad)
    step = max(1, len(index) // WIDTH // count)
    times = []
    for commit in range(0, len(index) // WIDTH, step):
        wanted = computation_id(PROBLEM, task_id(ALGORITHM_VERSION, parameters(commit, 7)))
        begin = time.perf_counter()
        _, record = find_record(run, wanted)
        times.append(time.perf_counter() - begin)
        assert record.commit == commit
    return built, statistics.median(times), max(pad, len(index))


def _pad(run: RunDirectory, paths: list[Path], count: int) -> None:
    """Write an index in which the entries of the ledger are some among many."""
    known = task_index._build(paths)
    more = count - known[0].size
    keys = np.random.default_rng(1).integers(0, 1 << 64, more, dtype=np.uint64, endpoint=False)
    joined = np.concatenate([known[0], keys])
    order = np.argsort(joined, kind="stable")
    state = encode(tuple((path.name, path.stat().st_size) for path in paths))
    columns = (
        joined[order],
        np.concatenate([known[1], np.zeros(more, "<u4")])[order],
        np.concatenate([known[2], np.full(more, known[2][0])])[order],
    )
    task_index._save(run.index, state, columns)


def cache_times(cache: Any, count: int) -> tuple[float, float]:
    """CPU seconds of a put, the storing included, and median wall seconds of a get."""
    keys = [sha256(i.to_bytes(4, "big")) for i in range(count)]
    data = os.urandom(600)

    def fill() -> None:
        for key in keys:
            cache.put(key, data)
        cache.flush()

    put, _ = cpu_seconds(fill)
    times = []
    for key in keys[:: max(1, count // 2000)]:
        begin = time.perf_counter()
        assert cache.get(key) == data
        times.append(time.perf_counter() - begin)
    return put / count, statistics.median(times)


def share(folder: Path) -> dict[str, float]:
    """CPU time of a run's ledger as a share of all, and per task."""
    problem = random_rotation(128, 100.0, 1, 4)
    run = folder / "share"
    shutil.rmtree(run, ignore_errors=True)
    morsr_mpi.solve(problem, run_dir=run, work=1_500_000, cache=folder / "share-cache")
    story = load_run(run / "result.h5")
    total = sum(sum(story[f"cpu_{name}"]) for name in ("explore", "commit", "exchange", "vote"))
    total += sum(story["cpu_ledger"])
    tasks = sum(story["tasks"])
    return {
        "ledger, % of CPU": 100.0 * sum(story["cpu_ledger"]) / total,
        "ms per task": 1e3 * sum(story["cpu_explore"]) / tasks,
        "ledger, µs per task": 1e6 * sum(story["cpu_ledger"]) / tasks,
    }


def remote(count: int) -> None:
    """Median wall time of a read by digest whose replica is on the other of two ranks."""
    from morsr_mpi.app.recovery import Reading
    from morsr_mpi.app.replicas import Replicas
    from morsr_mpi.app.world import MpiWorld
    from morsr_mpi.storage.placement import Place
    from morsr_mpi.storage.replica_view import ReplicaView
    from morsr_mpi.storage.replication import ReplicatedStore

    world = MpiWorld()
    transport, tasks = world.transport(), [sha256(i.to_bytes(4, "big")) for i in range(count)]
    results = {task: sha256(task) * 19 for task in tasks}  # 608 bytes
    with tempfile.TemporaryDirectory() as folder:
        cache = LmdbCache(Path(folder) / "cache", 1 << 28)
        view = ReplicaView(cache, PROBLEM)
        if world.rank == 1:
            for task, result in results.items():
                view.put(task, result)
            cache.flush()
        places = {r: Place(f"host{r}", bytes([r])) for r in range(2)}
        replicas = Replicas(ReplicatedStore(world.rank, places, view), view, (0, 1))
        times: list[float] = []
        if world.rank == 0:
            reading = Reading(transport, world.clock, replicas)
            for task in tasks:
                begin = time.perf_counter()
                reading._send(replicas.get(task, sha256(results[task])))
                while not replicas.reads:
                    reading._receive()
                times.append(time.perf_counter() - begin)
                assert replicas.reads.pop().result == results[task]
        Reading(transport, world.clock, replicas).read([])
        while not transport.leave():
            time.sleep(0.001)
        transport.close()
        cache.close()
    if times:
        times.sort()
        print(f"remote look-up: median {1e6 * times[len(times) // 2]:.1f} µs, bar 200 µs")


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--remote", action="store_true", help="see above; under mpirun -n 2")
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--index", type=int, default=10_000_000, help="entries of the index")
    parser.add_argument("--folder", type=Path, help="keep the ledger here, and use it if there")
    parser.add_argument("--only-look-up", action="store_true")
    parser.add_argument("--make", action="store_true", help="make the ledger in --folder, no more")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if args.remote:
        remote(2000)
        return

    def add(what: str, value: float, unit: str, bar: str) -> None:
        rows.append({"what": what, "value": value, "unit": unit, "bar": bar})

    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "ledger"
        if not folder.exists():
            run, spent = make(folder, args.records)
            add("task record", 1e6 * spent, "µs CPU", "20")
        run = RunDirectory(folder)
        if not args.make:
            measure(run, Path(temporary), args, add)
    report(args, rows, ["what", "value", "unit", "bar"])


def measure(
    run: RunDirectory, temporary: Path, args: Any, add: Callable[[str, float, str, str], None]
) -> None:
    built, looked, records = look_ups(run, 200, args.index)
    add(f"look-up, index of {records}", 1e6 * looked, "µs", "1000")
    add("index made in", built, "s", "")
    if args.only_look_up:
        return
    rates = [audit_rate(run) for _ in range(args.repeats)]
    add("audit, records", statistics.median(rates), "/s and core", "50000")
    for name, cache in (
        ("memory", MemoryCache(1 << 30)),
        ("LMDB", LmdbCache(temporary / "cache", 1 << 30)),
    ):
        put, got = cache_times(cache, 20_000)
        add(f"cache in {name}, put", 1e6 * put, "µs CPU", "")
        add(f"cache in {name}, get", 1e6 * got, "µs", "20")
    for name, value in share(temporary).items():
        add(f"solve: {name}", value, "", "1 %" if "%" in name else "")


if __name__ == "__main__":
    main()
