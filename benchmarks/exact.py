"""Time to a certified optimum on one core, beside fpylll (LLL, enumeration with LDLQ+CD radius).

Both sides count everything from (Q, t) to the answer in CPU seconds; interpreter start is not
counted.  fpylll's point is re-evaluated in float64 from Q.  Nodes: tiles entered by our
enumeration, coordinates visited by fpylll's.  --limit stops a hard instance of ours after so many
CPU seconds; it then counts as not certified, with the gap it has.  --aside N: fpylll on the first N
instances only.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
from common import arguments, cpu_seconds, random_rotation, report, solve_on_one_core, sphere_bound
from fpylll import GSO, LLL, Enumeration, IntegerMatrix

from morsr_mpi.lattice.points import basis
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import Solution
from morsr_mpi.search.ldlq import ldlq_with_descent
from morsr_mpi.search.tasks import PROVE, Task, TaskResult


def fpylll_optimum(problem: QuadraticProblem) -> tuple[float, int]:
    """Objective of the point fpylll finds, and its nodes; its radius is LDLQ's with descent."""
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
    search = Enumeration(gso)
    found = search.enumerate(0, n, radius * unit**2 * (1 + 1e-7), 0, target=centre)
    U = np.array([[transform[i, j] for j in range(n)] for i in range(n)], dtype=float)
    error = np.array(found[0][1]) @ U @ points - target
    return float(error @ problem.Q @ error), int(search.get_nodes())


def certified(problem: QuadraticProblem, limit: float) -> tuple[Solution, int]:
    """Our solution, and the nodes its enumerations entered."""
    nodes = [0]

    def count(task: Task, result: bytes) -> None:
        if task.kind == PROVE:
            nodes[0] += TaskResult.from_bytes(result).counts[0]

    return solve_on_one_core(problem, None, limit, count), nodes[0]


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Times of both sides over the dimension; needs the extra `report`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5))
    for name, key in (("morsr", "all morsr s"), ("fpylll", "all fpylll s")):
        for kappa in sorted({float(str(row["kappa"])) for row in rows}):
            cases = [row for row in rows if row["kappa"] == kappa and row[key]]
            if not cases:
                continue
            dims = [int(str(row["n"])) for row in cases]
            middle = [statistics.median(row[key]) for row in cases]  # type: ignore[arg-type]
            line = axes.semilogy(dims, middle, marker="o", label=f"{name}, κ = {kappa:g}")[0]
            for n, row in zip(dims, cases, strict=True):
                every = list(row[key])  # type: ignore[call-overload]
                axes.plot([n] * len(every), every, ".", color=line.get_color(), alpha=0.3)
    axes.set_xlabel("dimension n")
    axes.set_ylabel("CPU seconds to the certified optimum")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def measure(n: int, kappa: float, seeds: int, limit: float, aside: int) -> dict[str, object]:
    """One row: every instance with us, the first `aside` with fpylll too."""
    ours, theirs, ratios, gaps = [], [], [], []
    nodes, peer_nodes, done = [], [], 0
    for seed in range(seeds):
        problem = random_rotation(n, kappa, seed)
        spent, (solution, entered) = cpu_seconds(lambda p=problem: certified(p, limit))
        value = float(solution.objective[0])
        ours.append(spent)
        nodes.append(entered)
        done += int(solution.certified[0])
        gaps.append(1.0 - float(solution.lower_bound[0]) / value)
        if seed >= aside:
            continue
        peer, (least, visited) = cpu_seconds(lambda p=problem: fpylll_optimum(p))
        theirs.append(peer)
        peer_nodes.append(visited)
        ratios.append(peer / spent)
        if solution.certified[0] and abs(least / value - 1) > 1e-7:
            raise SystemExit(f"n={n} seed={seed}: {value} against {least}")
    return {
        "n": n,
        "kappa": kappa,
        "certified": f"{done}/{seeds}",
        "morsr s": statistics.median(ours),
        "nodes": statistics.median(nodes),
        "fpylll s": statistics.median(theirs) if theirs else None,
        "fpylll nodes": statistics.median(peer_nodes) if theirs else None,
        "ratio": statistics.median(ratios) if ratios else None,
        "least ratio": min(ratios) if ratios else None,
        "gap": statistics.median(gaps),
        "over sphere bound": value / sphere_bound(problem),
        "all morsr s": ours,
        "all fpylll s": theirs,
        "all nodes": nodes,
        "all fpylll nodes": peer_nodes,
        "all gaps": gaps,
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--dims", default="64,72,80")
    parser.add_argument("--kappa", default="10")
    parser.add_argument("--limit", type=float, default=float("inf"), help="CPU seconds of ours")
    parser.add_argument("--aside", type=int, default=1 << 30, help="instances fpylll runs too")
    parser.add_argument("--alone", action="store_true", help="morsr only, for larger dimensions")
    parser.add_argument("--plot", type=Path, help="PNG of times over dimensions")
    args = parser.parse_args()
    # First-use tables of the process, on both sides.
    certified(random_rotation(16, 2.0, 0), 60.0)
    fpylll_optimum(random_rotation(16, 2.0, 0))
    aside = 0 if args.alone else args.aside
    rows = [
        measure(n, kappa, args.seeds, args.limit, aside)
        for kappa in map(float, args.kappa.split(","))
        for n in map(int, args.dims.split(","))
    ]
    columns = ["n", "kappa", "certified", "morsr s", "nodes", "fpylll s", "fpylll nodes"]
    report(args, rows, [*columns, "ratio", "least ratio", "gap"])
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
