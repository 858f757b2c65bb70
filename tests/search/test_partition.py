"""Chambers: what an interrupted enumeration hands back is a partition, and its bounds hold.

Brute force lists every lattice point within a radius; each must be in exactly one returned
chamber, or be no better than what was found.
"""

from __future__ import annotations

import numpy as np
import pytest
from instances import random_problem, run_task

from morsr_mpi.base.errors import InternalError
from morsr_mpi.search.chambers import Chamber, Prefix, pack, unpack
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.factor import coordinates_of
from morsr_mpi.search.prepare import Part, Prepared, prepare
from morsr_mpi.search.reference import MAX_CHILDREN, Node, Tree, objective
from morsr_mpi.search.tasks import PROVE, Task, TaskResult


def prove(explorer: Explorer, chamber: Chamber, cutoff: float, split: int, budget: int) -> Task:
    body = (pack([chamber]), split, budget)
    return Task(PROVE, 0, 0, cutoff, body)


def tiles_of(tree: Tree, node: Node, origin: np.ndarray) -> list[bytes]:
    """Absolute tiles of a point, the one decided first in front."""
    absolute = [node.pinned[j] + origin[j] for j in range(tree.m)]
    return [tile.astype("<i4").tobytes() for tile in absolute[::-1]]


def holds(chamber: Chamber, tiles: list[bytes], ranks: list[int]) -> bool:
    prefix = [] if chamber.prefix is None else chamber.prefix.tiles()
    return tiles[: len(prefix)] == prefix and ranks[len(prefix)] >= chamber.skip


def ranks_of(tree: Tree, node: Node, limit: float) -> list[int]:
    """Rank of each tile of a point among the children of its node, in canonical order."""
    at, ranks = tree.root, []
    for j in range(tree.m - 1, -1, -1):
        children = tree.children(at, MAX_CHILDREN, limit)
        coordinates = [child.pinned[j].tolist() for child in children]
        ranks.append(coordinates.index(node.pinned[j].tolist()))
        at = children[ranks[-1]]
    return ranks


def setting(
    n: int, seed: int, radius: float = 0.12
) -> tuple[Part, Tree, np.ndarray, float, list[Node]]:
    problem = random_problem(n, 8.0, seed)
    prepared = prepare(problem).parts[0]
    order = prepared.vblast
    tree = Tree(problem.Q, order, prepared.centres[0], prepared.proof.eigenvalues)
    origin = prepared.origins[0][coordinates_of(order)].reshape(-1, 8)
    limit = float(radius * n * np.exp(np.linalg.slogdet(problem.Q)[1] / n))
    return prepared, tree, origin, limit, tree.points(tree.root, limit)


@pytest.mark.parametrize("split", [0, 3])
@pytest.mark.parametrize("seed", range(4))
def test_interrupted_enumerations_are_partitions(seed: int, split: int) -> None:
    prepared, tree, origin, limit, points = setting(16, seed)
    assert len(points) > 5
    places = [(tiles_of(tree, p, origin), ranks_of(tree, p, limit), p) for p in points]
    explorer = Explorer(prepared.problem, Prepared(prepared.problem, (prepared,)))
    open_chambers = [Chamber(None, 0, b"", 0.0)]
    best = limit
    seen_chambers = 0
    for _ in range(400):
        if not open_chambers:
            break
        chamber = open_chambers.pop(0)
        task = prove(explorer, chamber, best, split if chamber.depth == 0 else 0, 1)
        result = TaskResult.from_bytes(run_task(explorer, task))
        seen_chambers += len(result.chambers)
        best = min(best, result.objective)
        for tiles, ranks, point in places:
            if not holds(chamber, tiles, ranks):
                continue
            inside = [c for c in result.chambers if holds(c, tiles, ranks)]
            assert len(inside) <= 1, "a point in two chambers"
            if not inside:
                assert point.partial >= best * (1 - 1e-9), "a better point was dropped"
            for c in inside:
                assert c.bound <= point.partial * (1 + 1e-9), "a bound above a point"
        open_chambers.extend(result.chambers)
    assert not open_chambers
    assert seen_chambers > 0
    assert best == pytest.approx(min(p.partial for p in points), rel=1e-9)


def test_root_bound_is_below_every_point() -> None:
    prepared, tree, _, _, points = setting(16, 11)
    least = min(p.partial for p in points)
    assert 0.0 < prepared.root_bounds[0] <= least * (1 + 1e-9)
    assert tree.bound(tree.root) <= least * (1 + 1e-9)


def test_a_point_found_is_the_point_reported() -> None:
    prepared, _, _, limit, _ = setting(16, 2)
    problem = prepared.problem
    explorer = Explorer(problem, Prepared(problem, (prepared,)))
    task = prove(explorer, Chamber(None, 0, b"", 0.0), limit, 0, 10**6)
    result = TaskResult.from_bytes(run_task(explorer, task))
    point = np.frombuffer(result.point, dtype="<i4")
    value = objective(problem.Q, problem.targets[0], problem.scale, point)
    assert result.objective == pytest.approx(value, rel=1e-12)
    assert result.chambers == ()


def test_packed_chambers_come_back_with_shared_prefixes() -> None:
    tile = [bytes([i]) * 32 for i in range(5)]
    one = Prefix(None, tile[0], 0)
    two = Prefix(one, tile[1], 7)
    chambers = [
        Chamber(one, 2, tile[3], 1.5),
        Chamber(two, 0, b"", 2.5),
        Chamber(Prefix(two, tile[2], 1), 7, tile[4], 3.5),
        Chamber(None, 1, tile[0], 0.5),
    ]
    again = list(unpack(pack(chambers)))
    assert [(c.prefix_bytes(), c.skip, c.after, c.bound) for c in again] == [
        (c.prefix_bytes(), c.skip, c.after, c.bound) for c in chambers
    ]
    assert [c.key for c in again] == [c.key for c in chambers]
    assert again[2].prefix is not None
    assert again[2].prefix.parent is again[1].prefix


def test_chamber_ids_tell_chambers_apart_and_nothing_else() -> None:
    tile = [bytes([i]) * 32 for i in range(3)]
    one = Chamber(Prefix(None, tile[0], 0), 1, tile[1], 1.0)
    same = Chamber(Prefix(None, bytes(tile[0]), 0), 1, tile[1], 2.0)  # a bound may grow
    digest = bytes(32)
    assert one.chamber_id(digest, 0, 0) == same.chamber_id(digest, 0, 0)
    others = [
        one.chamber_id(b"\1" * 32, 0, 0),
        one.chamber_id(digest, 1, 0),
        one.chamber_id(digest, 0, 1),
        Chamber(one.prefix, 2, tile[2], 1.0).chamber_id(digest, 0, 0),
        Chamber(Prefix(one.prefix, tile[2], 0), 1, tile[1], 1.0).chamber_id(digest, 0, 0),
        Chamber(None, 1, tile[1], 1.0).chamber_id(digest, 0, 0),
    ]
    assert len({one.chamber_id(digest, 0, 0), *others}) == 7


def test_a_bundle_of_chambers_is_explored_like_its_members() -> None:
    """What one task leaves of several chambers covers exactly what it did not go through."""
    prepared, tree, origin, limit, points = setting(24, 3, 0.085)
    explorer = Explorer(prepared.problem, Prepared(prepared.problem, (prepared,)))
    root = Chamber(None, 0, b"", 0.0)
    first = TaskResult.from_bytes(run_task(explorer, prove(explorer, root, limit, 12, 1)))
    bundle = first.chambers
    assert len(bundle) > 2
    for budget in (1, 3, 10**6):
        task = Task(PROVE, 0, 0, limit, (pack(bundle), 0, budget))
        result = TaskResult.from_bytes(run_task(explorer, task))
        for point in points:
            tiles, ranks = tiles_of(tree, point, origin), ranks_of(tree, point, limit)
            inside = sum(holds(c, tiles, ranks) for c in result.chambers)
            assert inside <= 1
            if inside == 0 and any(holds(c, tiles, ranks) for c in bundle):
                assert point.partial >= min(limit, result.objective) * (1 - 1e-9)
    assert result.chambers == ()


@pytest.mark.parametrize(
    "item", [(0, b"x", 0, b"", 1.0), (5, b"", 0, b"", 1.0), (0, b"", 1, b"", 1.0), (0, b"", 0)]
)
def test_malformed_chambers_are_refused(item: tuple[object, ...]) -> None:
    with pytest.raises(InternalError):
        list(unpack([item]))
