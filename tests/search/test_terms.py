"""The search under a tile term: kernels and twins, brute force, partitions, never empty."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from instances import drive, random_problem, run_task

from morsr_mpi.lattice.e8 import cpu_level, cpu_levels
from morsr_mpi.lattice.points import contains
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search.chambers import Chamber, pack
from morsr_mpi.search.cpu import use_cpu_level
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.factor import coordinates_of
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.orders import DIAGONAL, VBLAST
from morsr_mpi.search.prepare import Part, prepare
from morsr_mpi.search.reference_terms import near, pin
from morsr_mpi.search.soundness import is_sound
from morsr_mpi.search.tasks import COMPLETE, PROVE, Task, TaskResult
from morsr_mpi.search.term_context import TermContext
from morsr_mpi.search.term_explore import TermCompleteRun

TERMS = {
    "ball": {"kind": "ball", "radius2": 6},
    "box": {"kind": "box", "lower": -1, "upper": 1.5},
    "shells": {"kind": "rate", "lambda": 0.2, "shells": [1.0, 4.0, 6.0, np.inf, 9.0]},
    "coordinates": {
        "kind": "rate",
        "lambda": 0.2,
        "coordinates": [4.0, 2.0, 1.0, 0.5, 1.0, 2.5, 6.0],
        "first": -3,
    },
}


def problem_of(name: str, n: int, seed: int, reach: float = 1.5, k: int = 1) -> QuadraticProblem:
    base = random_problem(n, 8.0, seed, k, 0.8, reach)
    return QuadraticProblem.create(base.Q, base.targets, base.scale, TERMS[name])


def allowed(problem: QuadraticProblem) -> tuple[np.ndarray, np.ndarray]:
    """All allowed points of a tile, doubled, and their values."""
    term = problem.term
    assert term is not None
    points = term.points(1 << 17)
    if points is None:
        grids = [[v for v in range(-3, 4) if v % 2 == parity] for parity in (0, 1)]
        points = np.array([p for grid in grids for p in product(grid, repeat=8) if not sum(p) % 4])
    f = term.values(points.astype(np.int32))
    return points[np.isfinite(f)], f[np.isfinite(f)]


def brute_force(problem: QuadraticProblem) -> float:
    """Least objective over all allowed points of one or two tiles.

    Of two tiles the first is taken in the order of what it costs at best, whatever the other is.
    """
    points, f = allowed(problem)
    e = points * (problem.scale / 2.0)
    t, Q = problem.targets[0], problem.Q
    first = e - t[:8]
    one = np.einsum("ki,ij,kj->k", first, Q[:8, :8], first) + f
    if problem.n == 8:
        return float(one.min())
    second = e - t[8:]
    two = np.einsum("ki,ij,kj->k", second, Q[8:, 8:], second) + f
    schur = Q[:8, :8] - Q[:8, 8:] @ np.linalg.solve(Q[8:, 8:], Q[8:, :8])
    alone = np.einsum("ki,ij,kj->k", first, schur, first) + f
    mixed, best = 2.0 * first @ Q[:8, 8:], np.inf
    for i in np.argsort(alone):
        if alone[i] > best:
            break
        best = min(best, float((one[i] + two + second @ mixed[i]).min()))
    return best


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("reach", [1.0, 4.0, 40.0])
def test_one_tile_is_certified_equal_to_brute_force(name: str, reach: float) -> None:
    for seed in range(2):
        problem = problem_of(name, 8, seed, reach)
        solution = drive(problem, SearchOptions(work=None)).solution()
        best = brute_force(problem)
        assert solution.certified[0]
        assert solution.objective[0] == pytest.approx(best, rel=1e-12)
        assert solution.lower_bound[0] <= best * (1 + 1e-12)
        assert contains(solution.doubled.reshape(-1, 8)).all()


@pytest.mark.parametrize("name", TERMS)
def test_two_tiles_are_certified_equal_to_brute_force(name: str) -> None:
    problem = problem_of(name, 16, 5)
    solution = drive(problem, SearchOptions(work=None)).solution()
    assert solution.certified[0]
    assert solution.objective[0] == pytest.approx(brute_force(problem), rel=1e-12)


@pytest.mark.parametrize("name", TERMS)
def test_beams_are_never_empty(name: str) -> None:
    """Targets far outside of what is allowed, in every direction."""
    base = random_problem(24, 50.0, 7, 6, 1.0, 100.0)
    problem = QuadraticProblem.create(base.Q, base.targets, base.scale, TERMS[name])
    prepared = prepare(problem)
    explorer = Explorer(problem, prepared)
    for target in range(problem.k):
        beam = (VBLAST.kind, 0, 4, 8, 0.5, 0)
        task = Task(COMPLETE, target, 0, float("inf"), (beam,))
        result = TaskResult.from_bytes(run_task(explorer, task))
        assert result.objective < float("inf")
        assert is_sound(explorer, task, result.to_bytes())


def complete(context: TermContext, explorer: Explorer, task: Task) -> bytes:
    run = TermCompleteRun(explorer.parts[0], context, task)
    while not run.step(3):
        pass
    return run.result()


@pytest.mark.parametrize("name", TERMS)
def test_beams_and_walks_have_the_bits_of_their_twins(name: str) -> None:
    problem = problem_of(name, 24, 3)
    prepared = prepare(problem)
    explorer = Explorer(problem, prepared)
    beams = ((VBLAST.kind, 0, 1, 1, 1.0, 0), (DIAGONAL.kind, 0, 5, 8, 0.6, 400))
    task = Task(COMPLETE, 0, 0, float("inf"), beams)
    twin = TermContext(prepared.parts[0], twins=True)
    expected = complete(twin, explorer, task)
    level = cpu_level()
    try:
        for other in cpu_levels():
            use_cpu_level(other)
            kernel = TermContext(prepared.parts[0])
            assert complete(kernel, explorer, task) == expected
    finally:
        use_cpu_level(level)


@pytest.mark.parametrize("name", TERMS)
def test_children_have_the_bits_of_their_twin(name: str) -> None:
    problem = problem_of(name, 8, 1)
    context = TermContext(prepare(problem).parts[0])
    term, kernel = context.term, context.kernel
    assert kernel is not None
    rng = np.random.default_rng(2)
    u = np.triu(rng.normal(0.0, 0.3, (8, 8)) + np.eye(8) * 2.0).reshape(-1)
    origin = np.array([2, 2, 0, 0, -2, 2, 0, 0], dtype=np.int32)
    for spread in (0.5, 2.0, 30.0):
        centres = rng.normal(0.0, spread, (12, 8))
        points = np.empty((12, 9, 8), dtype=np.int32)
        total, found = np.empty((12, 9)), np.empty(12, dtype=np.int32)
        kernel.near(context.roots, u, centres, origin, points, total, found)
        for i, centre in enumerate(centres):
            wanted, costs = near(term, context.unit, context.roots, u, centre, origin, 9)
            assert found[i] == len(costs) >= 1
            assert points[i, : found[i]].tolist() == wanted.tolist()
            assert total[i, : found[i]].tobytes() == costs.tobytes()
            quad, value = context.costs(u, centre, origin, wanted)
            assert (quad + value).tobytes() == costs.tobytes()


def holds(chamber: Chamber, rows: list[bytes], part: Part, context: TermContext) -> bool:
    """Whether a point, tiles in the order they are decided, lies in a chamber."""
    pinned = [] if chamber.prefix is None else chamber.prefix.tiles()
    if rows[: len(pinned)] != pinned:
        return False
    if not chamber.skip:
        return True
    factor = part.prover
    places = coordinates_of(factor.order)
    centres, origin = part.centres[0][places], context.origin(0, places)

    def relative(j: int, tile: bytes) -> np.ndarray:
        return (np.frombuffer(tile, dtype="<i4") - origin[8 * j : 8 * j + 8]).astype(np.int32)

    for depth, tile in enumerate(pinned):
        j = factor.tiles - 1 - depth
        centres = pin(factor.w, j, centres, relative(j, tile))
    j = factor.tiles - 1 - len(pinned)
    here = slice(8 * j, 8 * j + 8)
    u = factor.diag[64 * j : 64 * j + 64]
    own, cursor = (
        (float((quad + f)[0]), tuple(p))
        for p in (relative(j, rows[len(pinned)]), relative(j, chamber.after))
        for quad, f in [context.costs(u, centres[here], origin[here], p[None])]
    )
    return own >= cursor if chamber.inclusive else own > cursor


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("split", [0, 3])
def test_interrupted_enumerations_are_partitions(name: str, split: int) -> None:
    """Every good point lies in exactly one chamber that is left, or was judged."""
    problem = problem_of(name, 16, 11)
    prepared = prepare(problem)
    part = prepared.parts[0]
    explorer = Explorer(problem, prepared)
    context = explorer.parts[0].context
    assert context is not None
    order = part.proof.order
    points, _ = allowed(problem)
    objective = explorer.parts[0].objective(0)
    best = brute_force(problem)
    e, t, Q = points * (problem.scale / 2.0), problem.targets[0], problem.Q
    assert problem.term is not None
    f = problem.term.values(points.astype(np.int32))
    first, second = e - t[:8], e - t[8:]
    one = np.einsum("ki,ij,kj->k", first, Q[:8, :8], first) + f
    two = np.einsum("ki,ij,kj->k", second, Q[8:, 8:], second) + f
    limit, good = best, []
    while len(good) < 4:  # all points within the limit, by a search of our own over pairs
        limit, good = 1.2 * limit, []
        schur = Q[:8, :8] - Q[:8, 8:] @ np.linalg.solve(Q[8:, 8:], Q[8:, :8])
        alone = np.einsum("ki,ij,kj->k", first, schur, first) + f
        for i in np.flatnonzero(alone <= limit):
            costs = one[i] + two + second @ (2.0 * first[i] @ Q[:8, 8:])
            for k in np.flatnonzero(costs <= limit):
                good.append((float(costs[k]), np.concatenate([points[i], points[k]])))
    tiles = []
    for value, point in good:
        assert objective.evaluate(point.astype(np.int32)) == pytest.approx(value, rel=1e-9)
        rows = point.reshape(2, 8)[order[::-1]]
        tiles.append((value, [row.astype("<i4").tobytes() for row in rows]))
    open_chambers, cutoff, seen = [Chamber(None, 0, b"", 0.0)], limit, 0
    for _ in range(500):
        if not open_chambers:
            break
        chamber = open_chambers.pop(0)
        body = (pack([chamber]), split if chamber.depth == 0 else 0, 1)
        result = TaskResult.from_bytes(run_task(explorer, Task(PROVE, 0, 0, cutoff, body)))
        seen += len(result.chambers)
        cutoff = min(cutoff, result.objective)
        open_chambers.extend(result.chambers)
        for value, rows in tiles:
            if value >= cutoff * (1 - 1e-9):
                continue
            inside = [c for c in open_chambers if holds(c, rows, part, context)]
            assert len(inside) == 1, "a better point is in no chamber, or in two"
            assert inside[0].bound * part.unit <= value * (1 + 1e-9)
    assert not open_chambers
    assert seen > 0
    assert cutoff == pytest.approx(best, rel=1e-12)
