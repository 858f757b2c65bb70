"""Certified answers against fpylll's, and δ against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import drive, random_problem, run_task

from morsr_mpi.base.errors import InputError
from morsr_mpi.lattice.points import basis
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search import _engine
from morsr_mpi.search.chambers import Chamber, pack
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.factor import coordinates_of
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import prepare
from morsr_mpi.search.ranking import ranking_of
from morsr_mpi.search.reference import objective
from morsr_mpi.search.tasks import PROVE, Task, TaskResult


def fpylll_optimum(problem: QuadraticProblem) -> float:
    """Optimum of a problem with one target by LLL and enumeration, re-evaluated from Q."""
    fpylll = pytest.importorskip("fpylll")
    n = problem.n
    target, scale = problem.targets[0], problem.scale
    upper = np.linalg.cholesky(problem.Q).T
    points = np.kron(np.eye(n // 8), basis() / 2.0) * scale
    unit = 2.0**30
    rows = [[round(x * unit) for x in row] for row in points @ upper.T]
    lattice = fpylll.IntegerMatrix.from_matrix(rows)
    transform = fpylll.IntegerMatrix.identity(n)
    gso = fpylll.GSO.Mat(lattice, U=transform)
    gso.update_gso()
    fpylll.LLL.Reduction(gso)()
    gso.update_gso()
    U = np.array([[transform[i, j] for j in range(n)] for i in range(n)], dtype=float)
    centre = gso.from_canonical(tuple(upper @ target * unit))

    def value(coefficients: object) -> float:
        error = np.array(coefficients, dtype=float) @ U @ points - target
        return float(error @ problem.Q @ error)

    radius = value(gso.babai(tuple(upper @ target * unit)))
    search = fpylll.Enumeration(gso)
    _, found = search.enumerate(0, n, radius * unit * unit * 1.0001, 0, target=centre)[0]
    return value(found)


@pytest.mark.parametrize("kappa", [1.0, 3.0, 10.0, 30.0, 100.0])
@pytest.mark.parametrize("n", [8, 16, 24, 32, 40])
def test_certified_optima_equal_those_of_fpylll(n: int, kappa: float) -> None:
    for seed in (n, n + 1000):
        problem = random_problem(n, kappa, seed + int(kappa), scale=0.5 + seed % 3)
        search = drive(problem, SearchOptions(work=None))
        solution = search.solution()
        assert solution.certified[0] == 1
        assert solution.objective[0] == pytest.approx(fpylll_optimum(problem), rel=1e-9)


def exact_objective(problem: QuadraticProblem, doubled: np.ndarray) -> Fraction:
    scale = Fraction(problem.scale)
    error = [
        scale * int(d) / 2 - Fraction(float(t))
        for d, t in zip(doubled, problem.targets[0], strict=True)
    ]
    total = Fraction(0)
    for i in range(problem.n):
        row = Fraction(0)
        for j in range(problem.n):
            row += Fraction(float(problem.Q[i, j])) * error[j]
        total += error[i] * row
    return total


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    log_kappa=st.floats(0.0, 6.0),
    scale=st.sampled_from([1.0, 0.1, 3e-5, 1e4]),
    reach=st.sampled_from([0.6, 5.0, 1e6]),
)
def test_delta_covers_the_rounding_of_costs_and_objectives(
    seed: int, log_kappa: float, scale: float, reach: float
) -> None:
    """A beam's cost and an evaluation, both in float64, against the rational truth."""
    problem = random_problem(16, 10.0**log_kappa, seed, scale=scale, reach=reach)
    prepared = prepare(problem).parts[0]
    places = coordinates_of(prepared.vblast)
    centre = np.ascontiguousarray(prepared.centres[0][places])
    ranking = ranking_of(prepared.proof)
    beam = _engine.Beam(ranking.view, centre, 4, 4, 1.0, float("inf"))
    while not beam.step(10**6):
        pass
    found = np.empty(16, dtype=np.int32)
    cost = beam.best(found)
    assert cost is not None
    doubled = prepared.origins[0].copy()
    doubled[places] += found
    truth = exact_objective(problem, doubled)
    delta = Fraction(prepared.tolerance)
    assert abs(Fraction(cost) * Fraction(scale) ** 2 - truth) <= delta * truth
    kernel = _engine.Objective(problem.Q, problem.targets[0], scale, np.empty(32))
    assert abs(Fraction(kernel.evaluate(doubled)) - truth) <= delta * truth


def test_hopeless_conditioning_is_never_certified() -> None:
    problem = random_problem(16, 1e15, 3)
    solution = drive(problem, SearchOptions(work=20_000)).solution()
    assert solution.certified[0] == 0
    assert solution.lower_bound[0] == 0.0
    value = objective(problem.Q, problem.targets[0], 1.0, solution.doubled[0])
    assert solution.objective[0] == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("factor", [2.0**-200, 2.0**-150, 2.0**-90, 2.0**90, 2.0**130, 2.0**200])
@pytest.mark.parametrize("seed", [1, 4])
def test_an_enumeration_finds_the_optimum_however_large_q_is(seed: int, factor: float) -> None:
    """The table of short vectors works in float32; outside its range it must step back."""
    plain = random_problem(24, 8.0, seed)
    best = float(drive(plain, SearchOptions(None)).solution().objective[0])
    problem = QuadraticProblem.create(plain.Q * factor, plain.targets, 1.0)
    prepared = prepare(problem)
    root = Chamber(None, 0, b"", 0.0)
    task = Task(PROVE, 0, 0, 1.3 * best * factor, (pack([root]), 0, 10**6))
    result = TaskResult.from_bytes(run_task(Explorer(problem, prepared), task))
    assert result.chambers == ()
    assert result.objective == best * factor


def test_the_unit_of_cost_is_a_product() -> None:
    """pow(s, 2) is not correctly rounded and differs between versions of the C library."""
    for scale in (0.890644009757339, 1.263554708668362):
        part = prepare(random_problem(16, 3.0, 1, scale=scale)).parts[0]
        assert part.unit == scale * scale


def test_overflowing_coordinates_are_an_error_of_the_data() -> None:
    Q = np.eye(16)
    Q[0, 0], Q[0, 8], Q[8, 0], Q[8, 8] = 1e-20, 1e-10 * (1 - 1e-12), 1e-10 * (1 - 1e-12), 1.0
    with pytest.raises(InputError, match="ill-conditioned"):
        drive(QuadraticProblem.create(Q, np.full(16, 0.3)), SearchOptions(10**6))
