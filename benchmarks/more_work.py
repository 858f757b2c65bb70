"""Objective of one large target against work: doubling budgets of one run.

A run with W units is an exact prefix of one with 2 W, so one run to the largest budget shows all.
Means are over seeded targets of one random rotation, each a problem of its own (k = 1).
"""

from __future__ import annotations

import statistics
from typing import Any

from common import arguments, e8_unit, random_rotation, report, sphere_bound

from morsr_mpi.app.rerun import explore
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search


def trajectory(problem: QuadraticProblem, budgets: list[int]) -> list[float]:
    """Objective of the incumbent when each budget is used up, rising."""
    prepared = prepare(problem)
    search = Search(problem, prepared, SearchOptions(budgets[-1]))
    explorer = Explorer(problem, prepared)
    out: list[float] = []
    while len(out) < len(budgets):
        while len(out) < len(budgets) and search.progress().work_done >= budgets[len(out)]:
            out.append(float(search.solution().objective[0]))
        if search.finished:
            break
        pulse, tasks = search.plan()
        results = [explore(explorer, task) for task in tasks]
        search.commit(pulse, results)
    return out + [float(search.solution().objective[0])] * (len(budgets) - len(out))


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--n", type=int, default=1024)
    parser.add_argument("--kappa", type=float, default=100.0)
    parser.add_argument("--first", type=int, default=200_000, help="least budget, work units")
    parser.add_argument("--doublings", type=int, default=3)
    args = parser.parse_args()
    budgets = [args.first << i for i in range(args.doublings + 1)]
    whole = random_rotation(args.n, args.kappa, 0, args.seeds)
    unit = e8_unit(whole)
    runs = []
    for target in whole.targets:
        alone = QuadraticProblem.create(whole.Q, target[None, :].copy(), whole.scale)
        runs.append([value / unit for value in trajectory(alone, budgets)])
    rows: list[dict[str, Any]] = []
    for i, budget in enumerate(budgets):
        values = [run[i] for run in runs]
        rows.append(
            {
                "n": args.n,
                "kappa": args.kappa,
                "work": budget,
                "mean": statistics.mean(values),
                "better than first": sum(run[i] < run[0] for run in runs),
                "targets": len(runs),
                "sphere": sphere_bound(whole) / unit,
                "all": values,
            }
        )
    report(args, rows, ["n", "kappa", "work", "mean", "better than first", "targets", "sphere"])


if __name__ == "__main__":
    main()
