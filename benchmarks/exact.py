"""Time to a certified optimum on one core, beside fpylll (LLL, enumeration with LDLQ+CD radius).

Both sides count everything from (Q, t) to the answer in CPU seconds; interpreter start is not
counted.  fpylll's point is re-evaluated in float64 from Q.
"""

from __future__ import annotations

import statistics

import numpy as np
from common import arguments, cpu_seconds, random_rotation, report, solve_on_one_core
from fpylll import GSO, LLL, Enumeration, IntegerMatrix

from morsr_mpi.lattice.points import basis
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.ldlq import ldlq_with_descent


def fpylll_optimum(problem: QuadraticProblem) -> float:
    """Objective of the point fpylll finds; its radius is the cost of LDLQ with descent."""
    n, target = problem.n, problem.targets[0]
    upper = np.linalg.cholesky(problem.Q).T
    points = np.kron(np.eye(n // 8), basis() / 2.0) * problem.scale
    unit = 2.0**30
    rows = [[round(x * unit) for x in row] for row in points @ upper.T]
    lattice = IntegerMatrix.from_matrix(rows)
    transform = IntegerMatrix.identity(n)
    gso = GSO.Mat(lattice, U=transform)
    gso.update_gso()
    LLL.Reduction(gso)()
    gso.update_gso()
    centre = gso.from_canonical(tuple(upper @ target * unit))
    radius = float(ldlq_with_descent(problem).objective[0])
    found = Enumeration(gso).enumerate(0, n, radius * unit**2 * (1 + 1e-7), 0, target=centre)
    U = np.array([[transform[i, j] for j in range(n)] for i in range(n)], dtype=float)
    error = np.array(found[0][1]) @ U @ points - target
    return float(error @ problem.Q @ error)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--dims", default="64,72,80")
    parser.add_argument("--kappa", type=float, default=10.0)
    parser.add_argument("--alone", action="store_true", help="morsr only, for larger dimensions")
    args = parser.parse_args()
    solve_on_one_core(random_rotation(16, 2.0, 0), None)  # first-use tables of the process
    rows = []
    for n in map(int, args.dims.split(",")):
        ours, theirs, ratios, certified = [], [], [], 0
        for seed in range(args.seeds):
            problem = random_rotation(n, args.kappa, seed)
            spent, solution = cpu_seconds(lambda p=problem: solve_on_one_core(p, None))
            ours.append(spent)
            certified += int(solution.certified[0])
            if args.alone:
                continue
            peer, value = cpu_seconds(lambda p=problem: fpylll_optimum(p))
            theirs.append(peer)
            ratios.append(peer / spent)
            if abs(value / solution.objective[0] - 1) > 1e-7:
                raise SystemExit(f"n={n} seed={seed}: {solution.objective[0]} against {value}")
        rows.append(
            {
                "n": n,
                "kappa": args.kappa,
                "certified": f"{certified}/{args.seeds}",
                "morsr s": statistics.median(ours),
                "fpylll s": statistics.median(theirs) if theirs else None,
                "ratio": statistics.median(ratios) if ratios else None,
                "least ratio": min(ratios) if ratios else None,
                "all morsr s": ours,
                "all fpylll s": theirs,
            }
        )
    report(args, rows, ["n", "kappa", "certified", "morsr s", "fpylll s", "ratio", "least ratio"])


if __name__ == "__main__":
    main()
