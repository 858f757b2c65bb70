"""Recovery: from a rank's death, or its stopping, to the first pulse certified without it.

    python benchmarks/recovery.py [--ranks 4 8] [--runs 5] [--hosts] [--json FILE]

A real `morsr launch` on this machine; one rank is killed (SIGKILL) or stopped (SIGSTOP) at a random
moment of the search. The time runs from the signal to the first `pulse` record behind the
`regroup` record in the journal, read from outside, so half a millisecond of polling is in it.

--hosts: the same on six ranks over three hosts (network namespaces, root), and the loss of a whole
host under `launch --restarts`: to the first pulse that the restarted job certifies, with the
pulses it had to do again and the age of its checkpoint, written every 2 s. Without it, the same
for a killed mpirun.
"""

from __future__ import annotations

import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import netns_hosts
from common import arguments, random_rotation, report
from kills import Running, ranks_of, send

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.provenance.bodies import Epoch, Pulse, Regroup, parse
from morsr_mpi.provenance.records import decode_record


class Watch:
    """Follows a journal that is being written, and taken over, from a record on."""

    def __init__(self, path: Path, first: int) -> None:
        """first: number of the first record to be read."""
        self._path = path
        self._first = first
        self._file = (0, 0, 0)

    def news(self) -> Iterator[Any]:
        """Bodies of records that have come since the last call."""
        found = self._path.stat()
        at = (found.st_ino, found.st_size, found.st_mtime_ns)
        if at == self._file:  # reading it all again would take the time of the ranks
            return
        self._file = at
        records = complete(self._path)
        for position in range(self._first, len(records)):
            yield parse(decode_record(records[position], position))
        self._first = max(self._first, len(records))


def first_pulse_after(
    run: Path, records: int, since: float, kind: type = Regroup, limit: float = 30.0
) -> tuple[float, float] | None:
    """Return seconds from `since` to a regroup record and to the first pulse behind it.

    None when there was none within the limit. records: how many the journal had before; polled.
    kind: another record to wait for.
    """
    watch = Watch(run / "ledger" / "journal.morsr", records)
    grouped: float | None = None
    before: Any = None
    while time.monotonic() - since < limit:
        for body in watch.news():
            now = time.monotonic() - since
            if grouped is not None and isinstance(body, Pulse):
                return grouped, now
            # The epoch behind a regroup record is that of survivors, not of a restarted job.
            if isinstance(body, kind) and not (kind is Epoch and isinstance(before, Regroup)):
                grouped = now if grouped is None else grouped
            before = body
        time.sleep(0.001)
    return None


def complete(path: Path) -> list[bytes]:
    """Return the complete records of a journal that is being written."""
    data, at, found = path.read_bytes(), 8, []
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            break
        found.append(data[at + 4 : end])
        at = end
    return found


#: Pulses computed again, and seconds since the checkpoint that the restart began from.
Repeated = tuple[int, float]
#: Seconds to the regroup record, and to the first pulse behind it; None when it did not come.
Recovery = tuple[float, float] | None


def measure(folder: Path, problem: Path, ranks: int, number: int, seed: int) -> Recovery:
    """Start a run, signal one rank, and return the recovery in seconds."""
    rng = random.Random(seed)
    run = folder / f"run-{ranks}-{int(number)}-{seed}"
    options = [problem, "--work", "inf", "--pulse-tasks", str(4 * ranks)]
    with Running.launch(run, ranks, options) as running:
        running.wait_for(running.searching)
        time.sleep(1.0 + rng.random())
        records = len(complete(run / "ledger" / "journal.morsr"))
        victim = ranks_of(run)[rng.randrange(ranks)]
        since = time.monotonic()
        send(victim, number)
        found = first_pulse_after(run, records, since)
        print(f"{signal.Signals(number).name}, {ranks} ranks, seed {seed}: {found}", flush=True)
        return found


def lose_mpirun(folder: Path, problem: Path, ranks: int, seed: int) -> tuple[Recovery, Repeated]:
    """Kill the mpirun of a run under `launch --restarts`; return the recovery and what was lost."""
    rng = random.Random(seed)
    run = folder / f"mpirun-{ranks}-{seed}"
    options = [problem, "--work", "inf", "--pulse-tasks", str(4 * ranks), "--checkpoint-every", "2"]
    with Running.launch(run, ranks, options, "--restarts", "1") as running:
        running.wait_for(running.searching)
        time.sleep(3.0 + rng.random())
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
        (mpirun,) = map(int, children.read_text().split())
        records = len(complete(run / "ledger" / "journal.morsr"))
        since, age = time.monotonic(), checkpoint_age(run)
        send(mpirun, signal.SIGKILL)
        found = first_pulse_after(run, records, since, Epoch)
        again = repeated(run / "ledger" / "journal.morsr"), age
        print(f"mpirun killed, {ranks} ranks, seed {seed}: {found}, repeated {again}", flush=True)
        return found, again


def checkpoint_age(run: Path) -> float:
    """Seconds since the newest checkpoint was written."""
    written = (path.stat().st_mtime for path in run.glob("checkpoints/checkpoint-*.h5"))
    return time.time() - max(written)


def on_hosts(folder: Path, problem: Path, runs: int) -> list[dict[str, Any]]:
    """Six ranks on three hosts: a rank is killed, a rank is stopped, a host dies."""
    options = [problem, "--work", "inf", "--pulse-tasks", "24", "--checkpoint-every", "2"]
    found: dict[str, list[Recovery]] = {}
    again: list[Repeated] = []
    for seed in range(runs):
        rng = random.Random(seed)
        for case in ("SIGKILL", "SIGSTOP", "host"):
            run = folder / f"hosts-{case}-{seed}"
            place = folder / f"{case}-{seed}"
            place.mkdir()
            with (
                netns_hosts.hosts(place) as hosts,
                hosts.launch(run, 6, options, "--restarts", "1") as running,
            ):
                running.wait_for(running.searching)
                time.sleep(3.0 + rng.random())
                journal = run / "ledger" / "journal.morsr"
                records = len(complete(journal))
                victim = ranks_of(run)[rng.choice(hosts.ranks_on(run, "h2"))]
                since, age = time.monotonic(), checkpoint_age(run)
                if case == "host":
                    hosts.kill("h3")
                    seconds = first_pulse_after(run, records, since, Epoch)
                    again.append((repeated(journal), age))
                else:
                    send(victim, getattr(signal, case))
                    seconds = first_pulse_after(run, records, since)
                found.setdefault(case, []).append(seconds)
                print(f"{case} on hosts, seed {seed}: {seconds}", flush=True)
    rows = []
    for case, times in found.items():
        name = "host lost, restart" if case == "host" else f"{case}, 6 ranks, 3 hosts"
        rows.append(row(name, times, 2.1 if case == "SIGKILL" else None))
        if case == "host":
            rows[-1]["repeated"] = again
    return rows


def repeated(journal: Path) -> int:
    """How many pulses of the journal the last start of the job did again."""
    reached = again = 0
    for position, data in enumerate(complete(journal)):
        body = parse(decode_record(data, position))
        if isinstance(body, Pulse):
            reached = max(reached, body.pulse + 1)
        elif isinstance(body, Epoch):
            again = reached - body.committed
    return again


def row(case: str, found: list[Recovery], paper: float | None) -> dict[str, Any]:
    """One line of the table."""
    times = [both[1] for both in found if both is not None]
    return {
        "case": case,
        "runs": len(found),
        "recovered": len(times),
        "median s": statistics.median(times) if times else float("nan"),
        "worst s": max(times, default=float("nan")),
        "regrouped s": statistics.median([both[0] for both in found if both] or [float("nan")]),
        "paper s": paper,
        "seconds": found,
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--ranks", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--hosts", action="store_true", help="over three network namespaces")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        problem = folder / "problem.h5"
        save_problem(problem, random_rotation(64, 100.0, 1))
        if args.hosts:
            rows += on_hosts(folder, problem, args.runs)
        for ranks in [] if args.hosts else args.ranks:
            for number in (signal.SIGKILL, signal.SIGSTOP):
                found = [measure(folder, problem, ranks, number, s) for s in range(args.runs)]
                paper = 2.1 if number == signal.SIGKILL else None
                rows.append(row(f"{signal.Signals(number).name}, {ranks} ranks", found, paper))
        for ranks in [] if args.hosts else args.ranks:
            both = [lose_mpirun(folder, problem, ranks, s) for s in range(args.runs)]
            rows.append(row(f"mpirun killed, {ranks} ranks, restart", [x for x, _ in both], None))
            rows[-1]["repeated"] = [again for _, again in both]
    report(
        args, rows, ["case", "runs", "recovered", "median s", "worst s", "regrouped s", "paper s"]
    )


if __name__ == "__main__":
    main()
