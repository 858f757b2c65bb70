"""`morsr plan`: a dry run that says what a problem needs before ranks are asked for.

Reads and checks the problem, factors it (so that a Q that is not positive definite is
found here), and works on the first pulses for a moment to see how fast this machine is and
how many tasks a pulse has.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from morsr_mpi.adapters.hdf5_problem import load_problem
from morsr_mpi.app.environment import apply_cpu_level
from morsr_mpi.app.node_data import SMALLEST_BYTES
from morsr_mpi.base.config import FACTOR_CACHE_BYTES, FRONTIER_HIGH_WATER, RANKING_CACHE_BYTES
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search import schedule
from morsr_mpi.search.diversity import COUNTS
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.frontier import LEAST_PER_TILE
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.orders import VBLAST
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.state import Search

#: Length of the trial; whole tasks only, so that it may take a little longer.
TRIAL_SECONDS = 2.0
#: Interpreter, NumPy, h5py and cryptography of one rank: 54 MiB alone, 66 MiB with MPI.
BASE_BYTES = 60 << 20
MPI_BYTES = 12 << 20
#: Beams need less work than the schedule predicts, so that more of them fit into a budget.
PREDICTION_SHARE = 0.6
#: Enumeration leaves about one chamber open per so many units; what one takes as Python objects.
UNITS_PER_CHAMBER = 100
CHAMBER_BYTES = 1200
#: With --work inf, where everything that is bounded has reached its bound.
ENDLESS_WORK = 1 << 40
STEP_UNITS = 4000
#: Before so many pulses a large problem still factors tile orders; then its speed is taken to
#: be what the unit is meant to be.
SETTLED_PULSES = 8
NOMINAL_SPEED = 1e6


@dataclass
class Plan:
    """What `morsr plan` reports; bytes, seconds, work units.

    memory_bytes_shared: what the ranks of one node have in common, once per node.
    pulse_tasks: tasks of the first pulses in turn. ranks_fed: how many ranks the pulses of
    the second half of the trial keep busy on average: work over that of the longest tasks.
    seconds: None when no end can be foreseen (--work inf).
    """

    n: int
    k: int
    scale: float
    problem_digest: str
    ranks: int
    work: int | None
    memory_bytes_per_rank: int
    memory_bytes_shared: int
    tolerance: float = 0.0
    prepare_seconds: float = 0.0
    pulse_tasks: list[int] = field(default_factory=list)
    ranks_fed: int = 0
    units_per_second: float = NOMINAL_SPEED
    seconds: float | None = None
    trial_finished: bool = False
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the object that `morsr plan --json` prints."""
        return dict(self.__dict__)


def begin_plan(path: Path, ranks: int, options: SearchOptions) -> tuple[QuadraticProblem, Plan]:
    """Read the problem and return it with what can be said without computing.

    Raises InputError for a problem that cannot be used.
    """
    apply_cpu_level()
    problem = load_problem(path)
    need = memory_of(problem.n, problem.k, options, ranks)
    plan = Plan(
        problem.n,
        problem.k,
        problem.scale,
        problem.digest.hex(),
        ranks,
        options.work,
        need.per_rank,
        need.shared,
    )
    have = _physical_bytes()
    total = need.shared + need.per_rank * ranks
    if have and total > have:
        plan.warnings.append(
            f"{ranks} ranks need {total / 2**30:.1f} GiB, this machine has "
            f"{have / 2**30:.1f} GiB: start fewer ranks on each host"
        )
    return problem, plan


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak. shared: once for the ranks of a node; per_rank: of each besides."""

    shared: int
    per_rank: int


def memory_of(n: int, k: int, options: SearchOptions, ranks: int) -> Memory:
    """Return the memory that ranks of one node need, for a budget in work units per target.

    Shared: Q; while a factor is computed (by one rank at a time), its U, its inverse and a copy;
    the factors of the tile orders that the schedule comes to within the budget, up to the bound
    of their cache. Of each rank: its widest beam, and the open chambers. A rank alone shares
    nothing and has all of it. Measured within a sixth for n = 80 to 2048; a problem that is
    certified before needs less.
    """
    work = options.work
    m = n // 8
    square = 8 * n * n
    factor = 256 * m * (m - 1) + 512 * m
    total = ENDLESS_WORK if work is None else work
    share = schedule.proof_share(n)
    budget = total / PREDICTION_SHARE / (1.0 + share)
    limit = max(options.frontier_limit / k, LEAST_PER_TILE * m)
    most = min(FRONTIER_HIGH_WATER, limit)
    chambers = min(most, total * share / (1.0 + share) / UNITS_PER_CHAMBER)
    spent, rung, widest, orders = 0.0, 0, 1, set()
    while spent < budget and rung < 40:
        beams = schedule.rung(rung, m, k, max(COUNTS))
        for beam in beams:
            if spent < budget:
                spent += beam.units(m)
                orders.add(beam.order)
                widest = max(widest, beam.width)
        rung += 1 if beams else 40
    kept = min(FACTOR_CACHE_BYTES, len(orders) * factor)
    # A beam's state is 13 bytes per node and coordinate; a ranking is half a factor more, and each
    # rank has its own.
    beam_bytes = 13 * widest * n + min(RANKING_CACHE_BYTES, (1 + len(orders)) * factor // 2)
    open_chambers = int(k * chambers * CHAMBER_BYTES)
    if ranks == 1 or square < SMALLEST_BYTES:
        work_room = max(3 * square, kept + 2 * square + beam_bytes + open_chambers)
        return Memory(0, BASE_BYTES + square + factor + work_room + 40 * k * n)
    # What is computed first is dropped before the factors of further orders fill their cache.
    further = min(FACTOR_CACHE_BYTES, len(orders - {VBLAST}) * factor)  # the one being made too
    shared = square + factor + max(3 * square, further + 2 * square) + 40 * k * n
    return Memory(shared, BASE_BYTES + MPI_BYTES + beam_bytes + open_chambers)


def complete_plan(problem: QuadraticProblem, options: SearchOptions, plan: Plan) -> None:
    """Fill in what only computing shows; takes the factorisation and about TRIAL_SECONDS.

    Raises InputError when Q is not positive definite.
    """
    begin = time.monotonic()
    prepared = prepare(problem)
    plan.prepare_seconds = time.monotonic() - begin
    plan.tolerance = prepared.tolerance
    search = Search(problem, prepared, options)
    explorer = Explorer(problem, prepared)
    spent, seconds = 0, 0.0
    pulses: list[list[int]] = []
    begin = time.monotonic()
    while seconds < TRIAL_SECONDS:
        number, tasks = search.plan()
        if not tasks:
            break
        plan.pulse_tasks.append(len(tasks))
        results: list[bytes] = []
        pulses.append([])
        for task in tasks:
            run = explorer.begin(task)
            while not run.step(STEP_UNITS):
                pass
            spent += run.work
            pulses[-1].append(run.work)
            results.append(run.result())
            seconds = time.monotonic() - begin
            if seconds >= TRIAL_SECONDS:
                break
        if len(results) < len(tasks):
            break
        search.commit(number, results)
        seconds = time.monotonic() - begin
    plan.trial_finished = search.finished
    if plan.trial_finished:
        plan.memory_bytes_shared = 0
        plan.memory_bytes_per_rank = (
            MPI_BYTES + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )
    plan.ranks_fed = ranks_fed(pulses)
    measured = len(pulses) >= SETTLED_PULSES and seconds > 0.0
    plan.units_per_second = spent / seconds if measured else NOMINAL_SPEED
    _judge(plan, spent)


def ranks_fed(pulses: Sequence[Sequence[int]]) -> int:
    """Return how many ranks the later half of these pulses keeps busy on average.

    pulses: work units of the tasks of each pulse. A pulse ends with its longest task, so
    that its work over that of this task is the most it can gain.
    """
    half = sum(sum(tasks) for tasks in pulses) / 2
    total = longest = 0
    for tasks in reversed(pulses):
        if tasks and total < half:
            total += sum(tasks)
            longest += max(tasks)
    return max(1, round(total / longest)) if longest else 1


def _judge(plan: Plan, spent: int) -> None:
    """Estimate the time and say what will not go well."""
    work = spent if plan.trial_finished else None if plan.work is None else plan.work * plan.k
    busy = max(1, min(plan.ranks, plan.ranks_fed))
    if work is not None and plan.units_per_second > 0.0:
        plan.seconds = plan.prepare_seconds + work / (plan.units_per_second * busy)
    if plan.ranks_fed < plan.ranks and not plan.trial_finished:
        plan.warnings.append(
            f"after {TRIAL_SECONDS:.0f} s of work a pulse feeds about {plan.ranks_fed} "
            f"rank{'s' if plan.ranks_fed != 1 else ''}, {plan.ranks} are asked for: the others "
            "wait until it has widened; use fewer ranks or put more targets into one problem"
        )
    if plan.tolerance >= 1.0:
        plan.warnings.append(
            "Q is too badly conditioned for a certificate: the run will give good points "
            "without a proof"
        )


def _physical_bytes() -> int | None:
    """Return the memory of this machine, None when it is not known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
