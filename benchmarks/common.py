"""What all benchmarks share: seeded instances, CPU time, the machine, JSON, a plain table."""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from morsr_mpi.app.rerun import explore
from morsr_mpi.base.version import __version__
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.objectives.solution import Solution
from morsr_mpi.search import cpu
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search
from morsr_mpi.search.tasks import Task

T = TypeVar("T")


def random_rotation(n: int, kappa: float, seed: int, k: int = 1) -> QuadraticProblem:
    """A random rotation of a geometric spectrum of condition kappa; uniform targets."""
    rng = np.random.default_rng([n, int(1000 * kappa), seed])
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    Q = (q * np.geomspace(1.0, kappa, n)) @ q.T
    return QuadraticProblem.create((Q + Q.T) / 2, rng.uniform(-4.0, 4.0, (k, n)), 1.0)


def autoregressive(n: int, rho: float, seed: int, k: int = 1) -> QuadraticProblem:
    """Covariance of an AR(1) process, as activations of neighbouring channels have it."""
    rng = np.random.default_rng([n, int(1000 * rho), seed])
    at = np.arange(n)
    Q = rho ** np.abs(at[:, None] - at[None, :])
    return QuadraticProblem.create(Q, rng.uniform(-4.0, 4.0, (k, n)), 1.0)


def e8_unit(problem: QuadraticProblem) -> float:
    """(929/12960) n s^2 det(Q)^(1/n): the mean cost if every tile were an isotropic E8 cell."""
    log_det = float(np.linalg.slogdet(problem.Q)[1])
    return 929 / 12960 * problem.n * problem.scale**2 * math.exp(log_det / problem.n)


def sphere_bound(problem: QuadraticProblem) -> float:
    """Mean optimum over uniform targets if cells were balls: an expectation, no certificate."""
    n = problem.n
    g = math.exp(2.0 / n * math.lgamma(n / 2 + 1)) / ((n + 2) * math.pi)
    log_det = float(np.linalg.slogdet(problem.Q)[1])
    return n * g * problem.scale**2 * math.exp(log_det / n)


def solve_on_one_core(
    problem: QuadraticProblem,
    work: int | None,
    seconds: float = math.inf,
    watch: Callable[[Task, bytes], None] | None = None,
) -> Solution:
    """Everything from the problem to its solution in this process; stops after CPU seconds.

    watch sees every task with its result.
    """
    start = time.process_time()
    prepared = prepare(problem)
    search = Search(problem, prepared, SearchOptions(work))
    explorer = Explorer(problem, prepared)
    while not search.finished and time.process_time() - start < seconds:
        pulse, tasks = search.plan()
        results = []
        for task in tasks:
            results.append(explore(explorer, task))
            if watch is not None:
                watch(task, results[-1])
        search.commit(pulse, results)
    return search.solution()


def cpu_seconds(call: Callable[[], T]) -> tuple[float, T]:
    """CPU time of a call, and what it returned."""
    start = time.process_time()
    value = call()
    return time.process_time() - start, value


def machine() -> dict[str, str]:
    """What a reader must know to compare figures."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "date": date.today().isoformat(),
        "cpu": model,
        "level": cpu.cpu_level(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "morsr": __version__,
    }


def arguments(description: str) -> argparse.ArgumentParser:
    """Options every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="write every measurement here")
    parser.add_argument("--seeds", type=int, default=20, help="instances per case")
    return parser


def report(args: argparse.Namespace, rows: list[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print the table and write the JSON."""
    table(rows, columns)
    if args.json:
        write(args.json, {"rows": rows})


def table(rows: list[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print some columns of the rows."""
    text = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(c), *(len(line[i]) for line in text)) for i, c in enumerate(columns)]
    print("  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)))
    for line in text:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def write(path: Path, measured: dict[str, Any]) -> None:
    """Write measurements as JSON, with the machine they are of."""
    path.write_text(json.dumps({"machine": machine(), **measured}, indent=1))


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
