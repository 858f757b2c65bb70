"""The frontier against its slow twin; folding keeps a partition and lets a search end."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from instances import drive, random_problem, run_task
from test_partition import holds, ranks_of, setting, tiles_of
from trees import Leaf, Tree, tile_of

from morsr_mpi.base.errors import InternalError
from morsr_mpi.search import frontier as fast
from morsr_mpi.search import frontier_reference as slow
from morsr_mpi.search import schedule
from morsr_mpi.search.chambers import Chamber, Prefix, pack
from morsr_mpi.search.explore import Explorer
from morsr_mpi.search.folding import fold
from morsr_mpi.search.frontier import Frontier, place
from morsr_mpi.search.frontier_codec import decode_frontier, encode_frontier
from morsr_mpi.search.options import SearchOptions
from morsr_mpi.search.prepare import Prepared, prepare
from morsr_mpi.search.set_digest import SetDigest
from morsr_mpi.search.state import Search
from morsr_mpi.search.tasks import PROVE, Task, TaskResult

trees = st.builds(
    Tree, depth=st.integers(1, 3), branches=st.integers(2, 5), seed=st.integers(0, 99)
)


def contents(chambers: object) -> set[bytes]:
    return {chamber.content() for chamber in chambers}  # type: ignore[attr-defined]


@settings(max_examples=80, deadline=None)
@given(tree=trees, data=st.data())
def test_a_frontier_does_what_its_twin_does_and_stays_a_partition(
    tree: Tree, data: st.DataObject
) -> None:
    """Random takes, explorations in any order, results that come late, prunings."""
    one, two = Frontier(1, 1), slow.Frontier(1, 1)
    limit = one.limit
    level = min(2, tree.depth - 1)
    start = [tree.chamber(path, 0) for path in product(range(tree.branches), repeat=level)]
    for frontier in (one, two):
        frontier.add(start)
        frontier.shrink(list)
    done: set[Leaf] = set()
    flight: list[Chamber] = []
    cutoff = 1.0
    for _ in range(25):
        if len(one) and (not flight or data.draw(st.booleans())):
            count = data.draw(st.integers(1, 6))
            taken = one.take(count)
            assert [c.content() for c in taken] == [c.content() for c in two.take(count)]
            flight.extend(taken)
        elif flight:
            chamber = flight.pop(data.draw(st.integers(0, len(flight) - 1)))
            leaves = tree.covered(chamber)
            at = data.draw(st.integers(0, len(leaves) - 1))
            done.update(leaves[: at + 1])
            if data.draw(st.integers(0, 9)) == 0:
                cutoff = data.draw(st.floats(0.5, cutoff))
                for frontier in (one, two):
                    frontier.prune(cutoff)
            opened = tree.explore(chamber, leaves[at])
            for frontier in (one, two):
                frontier.add(opened, cutoff)
                frontier.shrink(lambda: flight)
        else:
            break
        assert contents(one) == contents(two.chambers)
        assert one.digest() != b""
        assert one._digest.digest() == two.root()
        assert (one.least, one.folded, one.deep) == (two.least, two.folded, two.deep)
        assert len(one) <= limit or flight  # what is in flight may stand in the way of folding
        seen: dict[Leaf, float] = {}
        for chamber in (*one, *flight):
            for leaf in tree.covered(chamber):
                assert leaf not in seen, "a leaf in two chambers"
                seen[leaf] = chamber.bound
        for leaf in tree.leaves():
            if leaf not in done and tree.value(leaf) <= cutoff:
                assert seen[leaf] <= tree.value(leaf), "a bound above a leaf"
    event(f"folded: {one.folded}")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), width=st.integers(1, 8))
def test_a_search_that_keeps_folding_ends(seed: int, width: int) -> None:
    """Depth 4 with 5 children each has 625 leaves; 16 open chambers are enough to see them all."""
    tree = Tree(4, 5, seed)
    frontier = Frontier(16, 4)
    frontier.add([tree.chamber((i, j), 0) for i in range(5) for j in range(5)])
    frontier.shrink(list)
    assert frontier.folded
    assert len(frontier) == 8
    rng = np.random.default_rng(seed)
    seen: set[Leaf] = set()
    steps = 0
    while len(frontier):
        steps += 1
        assert steps < 20_000
        opened = []
        for chamber in frontier.take(width):
            leaves = tree.covered(chamber)
            at = min(len(leaves), 1 + int(rng.integers(0, 6))) - 1
            seen.update(leaves[: at + 1])
            opened.extend(tree.explore(chamber, leaves[at]))
        frontier.add(opened)
        frontier.shrink(list)
        assert len(frontier) <= frontier.limit
    assert seen == set(tree.leaves())


def test_places_sort_as_a_depth_first_search_meets_them() -> None:
    wanted = [((0, 1), 299), ((0,), 2), ((2,), 256), ((), 3), ((200, 9), 0), ((255,), 7), ((), 256)]
    found = [place(Chamber(None, 0, b"", 0.0))]
    for path, skip in wanted:
        prefix = None
        for rank in path:
            prefix = Prefix(prefix, tile_of(rank), rank)
        found.append(place(Chamber(prefix, skip, tile_of(0) if skip else b"", 0.0)))
    assert found == sorted(found)
    assert len(set(found)) == len(found)


def test_folding_saves_nothing_where_only_one_chamber_is_open() -> None:
    tree = Tree(3, 3, 5)
    alone = tree.chamber((1, 2), 1)
    assert fold([alone], [], 1) == ([], [])
    first = tree.chamber((0, 1), 1)
    assert fold([first, alone], [first], 1) == ([], [])
    rest = tree.chamber((), 2)
    gone, new = fold([first, alone, rest], [first], 1)
    bound = min(alone.bound, rest.bound)
    assert contents(new) == {Chamber(None, 1, tile_of(1), bound, inclusive=True).content()}
    assert contents(gone) == {alone.content(), rest.content()}


def test_a_chamber_opened_twice_is_an_error() -> None:
    frontier = Frontier(100, 3)
    chamber = Tree(3, 3, 1).chamber((0,), 1)
    frontier.add([chamber])
    with pytest.raises(InternalError, match="twice"):
        frontier.add([chamber])


@settings(max_examples=60, deadline=None)
@given(
    members=st.lists(st.binary(min_size=32, max_size=32), unique=True, max_size=40),
    gone=st.integers(0, 40),
    capacity=st.sampled_from([1, 64, 65, 5000, 1 << 24]),
)
def test_set_digests_know_the_set_and_not_its_history(
    members: list[bytes], gone: int, capacity: int
) -> None:
    one, two = SetDigest(capacity), SetDigest(capacity)
    for leaf in members:
        one.add(leaf)
        one.digest()
    for leaf in members[:gone]:
        one.remove(leaf)
    for leaf in reversed(members[gone:]):
        two.add(leaf)
    assert one.digest() == two.digest()
    if members[gone:]:
        two.remove(members[-1])
        assert one.digest() != two.digest()


def test_frontiers_survive_their_columns() -> None:
    tree = Tree(4, 5, 3)
    frontier = Frontier(16, 4)
    frontier.add([tree.chamber((i, j), 0) for i in range(5) for j in range(5)])
    for step in range(40):
        taken = frontier.take(3)
        frontier.add([c for x in taken for c in tree.explore(x, tree.covered(x)[0])])
        frontier.shrink(list)
        columns = encode_frontier(frontier.view())
        again = decode_frontier(columns, 4)
        assert encode_frontier(again.view()) == columns
        assert again.digest() == frontier.digest()
        assert contents(again) == contents(frontier)
        if step % 5 == 0:
            assert contents(again.take(4)) == contents(decode_frontier(columns, 4).take(4))
    assert frontier.folded


def test_damaged_columns_are_refused() -> None:
    tree = Tree(3, 3, 1)
    frontier = Frontier(16, 3)
    frontier.add([tree.chamber((0, 1), 1), tree.chamber((1,), 2)])
    limit, folded, links, chambers = encode_frontier(frontier.view())
    assert isinstance(links, tuple)
    assert isinstance(chambers, tuple)
    bad_link = (b"\x09" + links[0][1:], *links[1:])
    bad_stand = (b"\x09" + chambers[0][1:], *chambers[1:])
    bad_cursor = (*chambers[:2], b"\x03" + chambers[2][1:], *chambers[3:])
    short = (*chambers[:4], chambers[4][:-1])
    for columns in (
        (limit, folded, bad_link, chambers),
        (limit, folded, links, bad_stand),
        (limit, folded, links, bad_cursor),
        (limit, folded, links, short),
        (limit, folded, links),
    ):
        with pytest.raises(InternalError):
            decode_frontier(columns, 3)


@pytest.mark.parametrize("seed", range(3))
def test_real_enumerations_under_a_limit_of_eight_lose_no_point(seed: int) -> None:
    """Brute force: until it is found or beaten, every point lies in exactly one open chamber."""
    prepared, tree, origin, limit, points = setting(16, seed)
    places = [(tiles_of(tree, p, origin), ranks_of(tree, p, limit), p) for p in points]
    explorer = Explorer(prepared.problem, Prepared(prepared.problem, (prepared,)))
    frontier = Frontier(1, 2)
    assert frontier.limit == 8
    frontier.add([Chamber(None, 0, b"", 0.0)])
    best = limit
    for _ in range(5000):
        taken = frontier.take(3)
        if not taken:
            break
        opened: list[Chamber] = []
        for chamber in taken:
            body = (pack([chamber]), 3 if chamber.depth == 0 and not frontier.folded else 0, 1)
            result = TaskResult.from_bytes(run_task(explorer, Task(PROVE, 0, 0, best, body)))
            best = min(best, result.objective)
            opened.extend(result.chambers)
        frontier.prune(best)
        frontier.add(opened, best)
        frontier.shrink(list)
        for tiles, ranks, point in places:
            inside = [c for c in frontier if holds(c, tiles, ranks)]
            assert len(inside) <= 1
            if not inside:
                assert point.partial >= best * (1 - 1e-9)
            for c in inside:
                assert c.bound <= point.partial * (1 + 1e-9)
    assert not len(frontier)
    assert best == pytest.approx(min(p.partial for p in points), rel=1e-9)


@pytest.fixture
def tiny_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enumerations end soon, so that a small problem has many open chambers."""
    monkeypatch.setattr(schedule, "proof_budget", lambda work: 20)


@pytest.mark.usefixtures("tiny_tasks")
@pytest.mark.parametrize("lag", [0, 2])
def test_a_limit_of_a_hundred_gives_the_certificate_of_a_large_one(lag: int) -> None:
    problem = random_problem(56, 40.0, 2)
    prepared = prepare(problem)
    most: list[int] = []

    def watch(search: Search, *_: object) -> None:
        most.append(len(search.units[0].frontier))

    small = SearchOptions(None, lag=lag, frontier_limit=100)
    bounded = drive(problem, small, prepared=prepared, watch=watch)
    assert bounded.units[0].frontier.folded
    assert max(most) <= 100
    most.clear()
    free = drive(problem, SearchOptions(None, lag=lag), prepared=prepared, watch=watch)
    assert max(most) > 100
    one, two = bounded.solution(), free.solution()
    assert one.certified.tolist() == two.certified.tolist() == [1]
    assert np.array_equal(one.doubled, two.doubled)
    assert np.array_equal(one.objective, two.objective)


@pytest.mark.usefixtures("tiny_tasks")
def test_a_folding_search_goes_on_from_its_snapshot() -> None:
    problem = random_problem(56, 40.0, 2)
    prepared = prepare(problem)
    options = SearchOptions(None, frontier_limit=100)
    snapshots: list[bytes] = []
    whole = drive(
        problem,
        options,
        prepared=prepared,
        watch=lambda search, *_: snapshots.append(search.snapshot()),
    )
    assert whole.units[0].frontier.folded
    for snapshot in snapshots[:: max(1, len(snapshots) // 6)]:
        again = Search.restore(problem, prepared, options, snapshot)
        assert again.snapshot() == snapshot
        done = drive(problem, options, prepared=prepared, search=again)
        assert done.state_digest() == whole.state_digest()


def test_high_water_is_one_figure_for_both() -> None:
    assert fast.FRONTIER_HIGH_WATER == slow.FRONTIER_HIGH_WATER


def test_a_view_stays_as_it_was_while_the_frontier_goes_on() -> None:
    tree = Tree(3, 4, 2)
    frontier = Frontier(64, 3)
    frontier.add([tree.chamber((i, j), 0) for i in range(4) for j in range(4)])
    before = encode_frontier(frontier.view())
    view = frontier.view()
    taken = frontier.take(len(frontier) // 2)
    assert taken
    assert encode_frontier(frontier.view()) != before
    assert encode_frontier(view) == before
    frontier.add(taken)
    assert encode_frontier(frontier.view()) == before
