"""Recovery: from a rank's death, or its stopping, to the first pulse certified without it.

    python benchmarks/recovery.py [--ranks 4 8] [--runs 5] [--json FILE]

A real `morsr launch` on this machine; one rank is killed (SIGKILL) or stopped (SIGSTOP) at a random
moment of the search. The time runs from the signal to the first `pulse` record behind the
`regroup` record in the journal, read from outside, so half a millisecond of polling is in it.
"""

from __future__ import annotations

import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from common import arguments, random_rotation, report
from kills import Running

from morsr_mpi.adapters.hdf5_problem import save_problem
from morsr_mpi.provenance.bodies import Pulse, Regroup, parse
from morsr_mpi.provenance.records import decode_record


def first_pulse_after(run: Path, records: int, since: float, limit: float = 30.0) -> float | None:
    """Return seconds from `since` to the first pulse behind a regroup record, None without one.

    records: how many the journal had before; polled.
    """
    path = run / "ledger" / "journal.morsr"
    while time.monotonic() - since < limit:
        grouped = False
        for position, data in enumerate(complete(path)):
            if position < records:
                continue
            body = parse(decode_record(data, position))
            if grouped and isinstance(body, Pulse):
                return time.monotonic() - since
            grouped = grouped or isinstance(body, Regroup)
        time.sleep(0.0005)
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


def measure(folder: Path, problem: Path, ranks: int, number: int, seed: int) -> float | None:
    """Start a run, signal one rank, and return the recovery in seconds."""
    rng = random.Random(seed)
    run = folder / f"run-{ranks}-{int(number)}-{seed}"
    options = [problem, "--work", "inf", "--pulse-tasks", str(4 * ranks)]
    with Running.launch(run, ranks, options) as running:
        running.wait_for(running.searching)
        time.sleep(1.0 + rng.random())
        records = len(complete(run / "ledger" / "journal.morsr"))
        since = time.monotonic()
        running.signal(number, rng.randrange(ranks))
        return first_pulse_after(run, records, since)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--ranks", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        problem = folder / "problem.h5"
        save_problem(problem, random_rotation(64, 100.0, 1))
        for ranks in args.ranks:
            for number in (signal.SIGKILL, signal.SIGSTOP):
                found = [measure(folder, problem, ranks, number, s) for s in range(args.runs)]
                times = [seconds for seconds in found if seconds is not None]
                rows.append(
                    {
                        "case": f"{signal.Signals(number).name}, {ranks} ranks",
                        "runs": len(found),
                        "recovered": len(times),
                        "median s": statistics.median(times) if times else float("nan"),
                        "worst s": max(times, default=float("nan")),
                        "paper s": 2.1 if number == signal.SIGKILL else None,
                        "seconds": times,
                    }
                )
    report(args, rows, ["case", "runs", "recovered", "median s", "worst s", "paper s"])


if __name__ == "__main__":
    main()
