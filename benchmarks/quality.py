"""Objective at equal CPU time per target, beside the peers of benchmarks/peers.py.

Every method counts all its set-up.  Figures are means over instances and targets in units of
(929/12960) n det(Q)^(1/n); `closed` is the share of the gap from LDLQ+10CD (better of natural and
diagonal order) to the sphere bound, an expectation over uniform targets.  `worse` counts targets
where a peer has the lower objective, `least gap` is the least share by which the best peer is
above.  `minilm` are Hessians of a real network (minilm.py), named in the JSON layer by layer.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    arguments,
    autoregressive,
    cpu_seconds,
    e8_unit,
    random_rotation,
    report,
    solve_on_one_core,
    sphere_bound,
)
from minilm import problems
from peers import PEERS

from morsr_mpi.objectives.problem import QuadraticProblem

#: Kind, n, condition number or correlation; the bar: share of the gap closed at one CPU second.
CASES: list[tuple[str, int, float, float | None]] = [
    ("rotation", 64, 10.0, None),
    ("rotation", 64, 1000.0, None),
    ("rotation", 128, 1.0, None),
    ("rotation", 128, 100.0, 0.85),
    ("rotation", 128, 1000.0, 0.75),
    ("rotation", 256, 10.0, None),
    ("rotation", 256, 100.0, 0.80),
    ("rotation", 256, 1000.0, 0.60),
    ("rotation", 256, 10000.0, None),
    ("rotation", 1024, 100.0, 0.60),
    ("ar1", 256, 0.9, None),
    ("ar1", 1024, 0.9, None),
    ("minilm", 384, 0.0, None),
]


def instances(
    kind: str, n: int, parameter: float, args: argparse.Namespace
) -> Iterator[tuple[str, QuadraticProblem]]:
    """One Q after the other, with their names."""
    if kind == "minilm":
        for name, problem in problems(args.model, args.targets):
            if args.layers in name:
                yield name, problem
        return
    make = random_rotation if kind == "rotation" else autoregressive
    for seed in range(args.seeds):
        yield f"seed {seed}", make(n, parameter, seed, args.targets)


def measure(
    name: str, found: Iterator[tuple[str, QuadraticProblem]], args: argparse.Namespace
) -> dict[str, Any]:
    """Run morsr and the peers on all instances of a case."""
    runs = []
    for instance, problem in found:
        budget = args.seconds * args.targets
        spent, solution = cpu_seconds(lambda p=problem, b=budget: solve_on_one_core(p, None, b))
        unit, sphere = e8_unit(problem), sphere_bound(problem)
        run: dict[str, Any] = {
            "instance": instance,
            "morsr": (solution.objective / unit).tolist(),
            "sphere": sphere / unit,
            "CPU s": spent / args.targets,
        }
        for peer, method, largest in PEERS:
            if problem.n <= largest and peer not in args.without.split(","):
                seconds, value = cpu_seconds(lambda f=method, p=problem: f(p, args.seconds))
                run[peer] = (value / unit).tolist()
                run[peer + " s"] = seconds / args.targets
        runs.append(run)
    ours = [float(np.mean(run["morsr"])) for run in runs]
    base = [float(np.mean(run["LDLQ+CD"])) for run in runs]
    row: dict[str, Any] = {"case": name, "runs": runs, "morsr": statistics.mean(ours)}
    worse, gap = 0, np.inf
    for peer, _, _ in PEERS:
        if peer not in runs[0]:
            continue
        row[peer] = statistics.mean(float(np.mean(run[peer])) for run in runs)
        for run in runs:
            ratio = np.array(run[peer]) / np.array(run["morsr"])
            worse += int(np.sum(ratio < 1.0 - 1e-12))
            gap = min(gap, float(ratio.min()) - 1.0)
    shares = [(b - o) / (b - run["sphere"]) for b, o, run in zip(base, ours, runs, strict=True)]
    gains = [1.0 - o / b for b, o in zip(base, ours, strict=True)]
    row |= {
        "sphere": statistics.mean(run["sphere"] for run in runs),
        "closed": statistics.mean(shares),
        "gain": statistics.mean(gains),
        "least gain": min(gains),
        "worse": worse,
        "least gap": gap,
        "CPU s": statistics.mean(run["CPU s"] for run in runs),
    }
    return row


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """Bars of every method over the sphere bound; needs the extra `report`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    methods = [*(peer for peer, _, _ in PEERS), "morsr"]
    figure, axes = pyplot.subplots(figsize=(1.3 * len(rows) + 3, 4))
    for i, method in enumerate(methods):
        at = [x + 0.15 * i for x, row in enumerate(rows) if method in row]
        axes.bar(at, [row[method] for row in rows if method in row], 0.15, label=method)
    for x, row in enumerate(rows):
        axes.hlines(row["sphere"], x - 0.1, x + 0.7, colors="black", linewidth=1)
    axes.set_xticks([x + 0.3 for x in range(len(rows))])
    axes.set_xticklabels([row["case"] for row in rows], rotation=30, ha="right", fontsize=7)
    axes.set_ylabel("mean objective / (E8 cell); line: sphere bound")
    axes.set_ylim(0.75)
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--targets", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds per target")
    parser.add_argument("--cases", default="", help="only cases whose name contains this")
    parser.add_argument("--layers", default="", help="minilm: only layers whose name contains this")
    parser.add_argument("--without", default="", help="peers to leave out, comma-separated")
    parser.add_argument("--plot", type=Path, help="write a plot here (needs matplotlib)")
    parser.add_argument(
        "--model", type=Path, default=Path("minilm-model"), help="where MiniLM is, or is put"
    )
    args = parser.parse_args()
    rows = []
    for kind, n, parameter, bar in CASES:
        label = {"rotation": f" kappa={parameter:g}", "ar1": f" rho={parameter:g}"}.get(kind, "")
        name = f"{kind} n={n}{label}"
        if args.cases in name + " ":
            rows.append(measure(name, instances(kind, n, parameter, args), args) | {"bar": bar})
    columns = ["case", *(peer for peer, _, _ in PEERS), "morsr", "sphere", "closed", "bar"]
    report(args, rows, [*columns, "gain", "least gain", "worse", "least gap", "CPU s"])
    if args.plot:
        plot(args.plot, rows)


if __name__ == "__main__":
    main()
