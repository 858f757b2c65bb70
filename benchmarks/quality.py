"""Objective at equal CPU time per target, beside LDLQ with coordinate descent and plain K-best.

Every method counts all its set-up.  Figures are means over instances and targets in units of
(929/12960) n det(Q)^(1/n); `closed` is the share of the gap from LDLQ+10CD (better of natural and
diagonal order) to the sphere bound, an expectation over uniform targets.
"""

from __future__ import annotations

import statistics

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

from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.ldlq import ldlq_with_descent

#: Rotations: bars of the issue, in share of the gap closed at one CPU second per target.
CASES: list[tuple[str, int, float, float | None]] = [
    ("rotation", 128, 100.0, 0.85),
    ("rotation", 256, 100.0, 0.80),
    ("rotation", 128, 1000.0, 0.75),
    ("rotation", 256, 1000.0, 0.60),
    ("rotation", 1024, 100.0, 0.60),
    ("rotation", 64, 10.0, None),
    ("rotation", 256, 10.0, None),
    ("rotation", 256, 10000.0, None),
    ("ar1", 256, 0.9, None),
]


def instance(kind: str, n: int, parameter: float, seed: int, k: int) -> QuadraticProblem:
    """One Q with k targets."""
    make = random_rotation if kind == "rotation" else autoregressive
    return make(n, parameter, seed, k)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--targets", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds per target")
    parser.add_argument("--cases", default="", help="only cases whose name contains this")
    args = parser.parse_args()
    rows = []
    for kind, n, parameter, bar in CASES:
        name = f"{kind} n={n} {'kappa' if kind == 'rotation' else 'rho'}={parameter:g}"
        if args.cases not in name:
            continue
        ours, peer, closed, spent, worse = [], [], [], [], 0
        for seed in range(args.seeds):
            problem = instance(kind, n, parameter, seed, args.targets)
            budget = args.seconds * args.targets
            seconds, solution = cpu_seconds(
                lambda p=problem, b=budget: solve_on_one_core(p, None, b)
            )
            baseline = ldlq_with_descent(problem).objective
            unit, sphere = e8_unit(problem), sphere_bound(problem)
            spent.append(seconds / args.targets)
            ours.extend(solution.objective / unit)
            peer.extend(baseline / unit)
            worse += int(np.sum(solution.objective > baseline * (1 + 1e-12)))
            gap = float(np.mean(baseline)) - sphere
            closed.append((float(np.mean(baseline)) - float(np.mean(solution.objective))) / gap)
        rows.append(
            {
                "case": name,
                "LDLQ+CD": statistics.mean(peer),
                "morsr": statistics.mean(ours),
                "sphere": sphere / unit,
                "closed": statistics.mean(closed),
                "bar": bar,
                "worse": worse,
                "CPU s": statistics.mean(spent),
                "all closed": closed,
            }
        )
    report(args, rows, ["case", "LDLQ+CD", "morsr", "sphere", "closed", "bar", "worse", "CPU s"])


if __name__ == "__main__":
    main()
