"""Seeded problems and a driver without a network, shared by the tests of the search."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import Prepared, prepare
from morsr_mpi.search.state import Search
from morsr_mpi.search.tasks import Task


def random_problem(
    n: int, kappa: float, seed: int, k: int = 1, scale: float = 1.0, reach: float = 5.0
) -> QuadraticProblem:
    """A random rotation of a geometric spectrum with condition kappa; targets uniform."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    Q = (q * np.geomspace(1.0, kappa, n)) @ q.T
    targets = rng.uniform(-reach, reach, (k, n)) * scale
    return QuadraticProblem.create((Q + Q.T) / 2, targets, scale)


def run_task(explorer: Explorer, task: Task, slice_units: int = 4000) -> bytes:
    """Explore one task in slices."""
    run = explorer.begin(task)
    while not run.step(slice_units):
        pass
    return run.result()


def drive(
    problem: QuadraticProblem,
    options: SearchOptions,
    *,
    prepared: Prepared | None = None,
    search: Search | None = None,
    slice_units: int = 4000,
    watch: Callable[[Search, int, tuple[Task, ...], list[bytes]], None] | None = None,
) -> Search:
    """Run a search to its end on one rank, with the lag of its options."""
    prepared = prepared or prepare(problem)
    search = search or Search(problem, prepared, options)
    explorer = Explorer(problem, prepared)
    flight = deque(search.in_flight())
    while not search.finished:
        while len(flight) <= options.lag:
            pulse, tasks = search.plan()
            if not tasks:
                break
            flight.append((pulse, tasks))
        pulse, tasks = flight.popleft()
        results = [run_task(explorer, task, slice_units) for task in tasks]
        search.commit(pulse, results)
        if watch is not None:
            watch(search, pulse, tasks, results)
    return search


def histories_of(
    problem: QuadraticProblem, prepared: Prepared, options: SearchOptions
) -> tuple[Search, list[list[bytes]]]:
    """Run a search; the tasks and results of each target in the order they were committed."""
    history: list[list[bytes]] = [[] for _ in range(problem.k)]

    def watch(_: Search, __: int, tasks: tuple[Task, ...], results: list[bytes]) -> None:
        for task, result in zip(tasks, results, strict=True):
            history[task.target].append(task.task_id + result)

    return drive(problem, options, prepared=prepared, watch=watch), history
