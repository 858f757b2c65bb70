"""Many seeded runs, on several processes, and what they came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from morsr_mpi.app.simulate.node_run import RunReport

#: A run of one seed.
Runner = Callable[[int], RunReport]
#: Seeds handed to a process at a time.
_CHUNK = 8
#: Violations of one seed that are kept; the seed repeats the rest.
_SHOWN = 4


@dataclass
class Summary:
    """Counts over runs. effective: runs in which at least one fault took effect; faults:
    runs in which a kind took effect, by kind; checks: by invariant; pulses: fewest of a run."""

    runs: int = 0
    effective: int = 0
    pulses: int | None = None
    sizes: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    failed: dict[int, tuple[int, list[str]]] = field(default_factory=dict)

    @property
    def violations(self) -> int:
        """Runs that broke an invariant."""
        return len(self.failed)

    def add(self, report: RunReport) -> None:
        """Count one run."""
        self.runs += 1
        self.effective += any(report.faults.values())
        self.pulses = report.pulses if self.pulses is None else min(self.pulses, report.pulses)
        self.sizes[report.size] += 1
        self.faults.update({kind: 1 for kind, count in report.faults.items() if count})
        self.checks.update(report.checks)
        if report.violations:
            self.failed[report.seed] = (report.size, report.violations[:_SHOWN])


def run_campaign(
    run: Runner, seeds: Iterable[int], wanted: int, processes: int = 1, every: bool = False
) -> Iterator[RunReport]:
    """Yield the reports of the first `wanted` seeds whose runs had a fault that took effect,
    and of every seed on the way that broke an invariant. every: of all others too."""
    found = 0
    for report in _reports(run, seeds, processes):
        effective = any(report.faults.values())
        if every or effective or report.violations:
            yield report
            found += effective
        if found >= wanted:
            return


def _reports(run: Runner, seeds: Iterable[int], processes: int) -> Iterator[RunReport]:
    """Run seeds in order; whole batches of them on several processes."""
    if processes == 1:
        yield from map(run, seeds)
        return
    source = iter(seeds)
    with ProcessPoolExecutor(processes) as pool:
        while True:
            batch = [s for _, s in zip(range(processes * _CHUNK * 4), source, strict=False)]
            if not batch:
                return
            yield from pool.map(partial(run), batch, chunksize=_CHUNK)


def repeat_command(part: str, size: int, seed: int, byzantine: int = 0) -> str:
    """Return the command that repeats one run."""
    liars = f" --byzantine {byzantine}" if byzantine else ""
    return f"morsr simulate --ranks {size} --part {part}{liars} --runs 1 --seed {seed}"


def report_lines(part: str, summary: Summary, byzantine: int = 0) -> list[str]:
    """Return what a campaign came to, for people."""
    sizes = sorted(summary.sizes)
    lines = [
        f"{part}: {summary.runs} runs of {sizes[0] if sizes else 0} to {sizes[-1] if sizes else 0} "
        f"ranks, {summary.effective} with a fault that took effect, at least {summary.pulses} "
        f"pulses each, {summary.violations} violations",
        "  faults, runs each: "
        + ", ".join(f"{kind} {count}" for kind, count in sorted(summary.faults.items())),
        "  checks: "
        + ", ".join(f"{name} {count}" for name, count in sorted(summary.checks.items())),
    ]
    for seed, (size, violations) in sorted(summary.failed.items()):
        lines += [f"  seed {seed}: {violation}" for violation in violations]
        lines.append(f"  repeat it: {repeat_command(part, size, seed, byzantine)}")
    return lines
