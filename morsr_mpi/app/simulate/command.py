"""What `morsr simulate` does: seeded runs under faults, then the prediction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from morsr_mpi.app.simulate.calibration import load_calibration
from morsr_mpi.app.simulate.campaign import Summary, report_lines, run_campaign
from morsr_mpi.app.simulate.model import DEFAULT_RECHECK, Prediction, predict
from morsr_mpi.app.simulate.node_run import run_nodes
from morsr_mpi.app.simulate.vote_run import run_votes
from morsr_mpi.base.errors import UsageError
from morsr_mpi.consensus.quorum import max_faulty

#: Efficiency, communication and recovery of the paper's table 7.2, by ranks.
PAPER = {
    8: (0.921, 0.043, 2.1),
    16: (0.897, 0.068, 3.4),
    32: (0.872, 0.091, 5.2),
    64: (0.839, 0.124, 7.8),
    128: (0.793, 0.167, 12.3),
}
#: Ranks of one seeded run; more say nothing that these do not, and take long.
MAX_RUN_RANKS = 64

Say = Callable[[str], object]


@dataclass(frozen=True)
class Request:
    """Options as given. dims: None for the nearest recorded one of the workload."""

    ranks: int
    dims: int | None
    network: str
    workload: str
    byzantine: int | None
    recheck: float | None
    runs: int
    seed: int
    part: str


@dataclass(frozen=True)
class SimulateOutcome:
    """What came out. failed: seeds that broke an invariant."""

    prediction: Prediction
    failed: tuple[int, ...]
    violations: int
    summaries: dict[str, Summary]

    def to_json(self) -> dict[str, object]:
        """The fields of `--json` (DESIGN section 7), and how the rest of the time is spent."""
        p = self.prediction
        return {
            "violations": self.violations,
            "efficiency": p.efficiency,
            "communication_fraction": p.communication,
            "vote_latency_ms": 1e3 * p.vote_latency,
            "recovery_seconds": p.recovery,
            "seeds_failed": list(self.failed),
            "ranks": p.ranks,
            "dims": p.dims,
            "network": p.network,
            "workload": p.workload,
            "planning_fraction": p.planning,
            "recheck_fraction": p.recheck,
            "waiting_fraction": p.waiting,
            "faults": {name: dict(s.faults) for name, s in self.summaries.items()},
            "checks": {name: dict(s.checks) for name, s in self.summaries.items()},
        }


def simulate(request: Request, say: Say | None = None) -> SimulateOutcome:
    """Run and predict. Raises UsageError for options that make no sense."""
    _check(request)
    calibration = load_calibration()
    network = calibration.network(request.network)
    recorded = sorted(calibration.workloads.get(request.workload, {}))
    dims = request.dims
    if dims is None and recorded:
        dims = min(recorded, key=lambda n: (abs(n - 32 * request.ranks), n))
    calibration.recorded(request.workload, dims or 0)
    summaries = {
        part: _runs(part, request) for part in ("votes", "node") if request.part in (part, "all")
    }
    if say is not None:
        for part, summary in summaries.items():
            for line in report_lines(part, summary, request.byzantine or 0):
                say(line)
    prediction = predict(
        calibration,
        network,
        request.workload,
        dims or 0,
        request.ranks,
        recheck=DEFAULT_RECHECK if request.recheck is None else request.recheck,
    )
    failed = sorted({seed for summary in summaries.values() for seed in summary.failed})
    violations = sum(summary.violations for summary in summaries.values())
    outcome = SimulateOutcome(prediction, tuple(failed), violations, summaries)
    if say is not None:
        _tell(prediction, say)
    return outcome


def _check(request: Request) -> None:
    if request.byzantine is not None and request.byzantine > max_faulty(request.ranks):
        raise UsageError(
            f"--byzantine {request.byzantine}: {request.ranks} ranks bear "
            f"{max_faulty(request.ranks)} liars, (N - 1) / 3 rounded down"
        )
    if request.byzantine and request.ranks > MAX_RUN_RANKS and request.runs:
        raise UsageError(
            f"seeded runs with liars have at most {MAX_RUN_RANKS} ranks, not {request.ranks}: "
            "give --runs 0 for the prediction alone"
        )


def _runs(part: str, request: Request) -> Summary:
    """Run the seeds of one part. A single rank has nobody to disagree with."""
    summary = Summary()
    if request.ranks == 1 or request.runs == 0:
        return summary
    size = min(request.ranks, MAX_RUN_RANKS)
    run = partial(run_nodes, size=size)
    if part == "votes":
        recheck = 1.0 if request.recheck is None else request.recheck
        run = partial(run_votes, size=size, byzantine=request.byzantine, recheck=recheck)
    seeds = range(request.seed, request.seed + request.runs)
    for report in run_campaign(run, seeds, request.runs, every=True):
        summary.add(report)
    return summary


def _tell(p: Prediction, say: Say) -> None:
    """Say what is predicted, beside the paper where it has the number of ranks."""
    say(f"predicted for {p.ranks} ranks, {p.dims} dimensions, {p.network}, workload {p.workload}:")
    paper = PAPER.get(p.ranks)
    beside = [f"  (paper {x:.1%})" for x in paper[:2]] if paper else ["", ""]
    say(f"  efficiency     {p.efficiency:.1%}{beside[0]}")
    say(f"  communication  {p.communication:.2%}{beside[1]}")
    say(f"  planning       {p.planning:.2%}, recheck {p.recheck:.2%}, waiting {p.waiting:.1%}")
    say(f"  a pulse        {p.width:.0f} tasks, {p.pulse:.3f} s")
    say(f"  vote           {1e3 * p.vote_latency:.1f} ms")
    lost = f"  (paper {paper[2]} s)" if paper else ""
    say(f"  recovery       {p.recovery:.2f} s after the death of one rank{lost}")
