"""Folding: open chambers go back into the remainder of their parent when the frontier is full.

The open chambers below a node, seen in depth-first order (children by rank, the remainder last),
are where a sequential search would go next.  Folding child t of rank q into its node P replaces
all open chambers at P from t on by one, "the children of P from t on", with the least of their
bounds.  It covers all of them, so nothing is dropped; what was done between them is done again.

Only the end of the depth-first order is folded.  The first open chamber, and whatever is in
flight, is never covered: a search that keeps exploring the first one therefore ends, at any limit
(docs/decisions/0010-frontier.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from morsr_mpi.search.chambers import Chamber, Prefix


@dataclass(eq=False, slots=True)
class _Node:
    """A node of the trie: the children of `link` that hold open chambers, and its own remainder.

    fixed: whether a chamber that must stay as it is lies here or below.  held: whether the node's
    own remainder is such a chamber.  size: open chambers here and below.
    """

    link: Prefix | None
    children: dict[bytes, _Node] = field(default_factory=dict)
    own: Chamber | None = None
    held: bool = False
    fixed: bool = False
    size: int = 0


def fold(
    chambers: Iterable[Chamber], fixed: Sequence[Chamber], excess: int
) -> tuple[list[Chamber], list[Chamber]]:
    """Return (gone, new): chambers to take out and to put in, some `excess` fewer in all.

    fixed: chambers that nothing may cover: those in flight, and the first open one, which may be
    among `chambers`.  Fewer are saved where these stand in the way: what can always be reached is
    one chamber per node on their paths.
    """
    nodes = _trie(chambers, fixed)
    gone: list[Chamber] = []
    new: list[Chamber] = []
    # Depth first by hand: a path may be longer than Python's recursion allows.
    todo = [(nodes[b""], _last_first(nodes[b""]), True)]
    while todo and excess > 0:
        node, children, free = todo.pop()
        while children and excess > 0:
            child = children.pop()
            free = free and not node.held and not child.fixed
            # The only one to fold here, and no remainder to fold it into: nothing is saved.
            alone = child.size == 1 and node.own is None and (not children or children[-1].fixed)
            if free and child.size <= excess and not alone:
                excess -= _swallow(node, child, gone, new)
                continue
            # It stays, so that nothing before it can be folded into this node.
            free = False
            if child.size > 1:
                todo.append((node, children, free))
                todo.append((child, _last_first(child), True))
                break
    removed = {chamber.key for chamber in gone}
    added = {chamber.key for chamber in new}
    # A remainder that grew twice was made in between and is neither here nor there.
    return (
        [chamber for chamber in gone if chamber.key not in added],
        [chamber for chamber in new if chamber.key not in removed],
    )


def _trie(chambers: Iterable[Chamber], fixed: Sequence[Chamber]) -> dict[bytes, _Node]:
    """Nodes by the digest of their prefix; sizes and marks are those of whole subtrees."""
    nodes: dict[bytes, _Node] = {b"": _Node(None)}

    def node_of(prefix: Prefix | None) -> _Node:
        missing: list[Prefix] = []
        at = prefix
        while at is not None and at.digest not in nodes:
            missing.append(at)
            at = at.parent
        node = nodes[b"" if at is None else at.digest]
        for link in reversed(missing):
            child = nodes[link.digest] = node.children[link.tile] = _Node(link)
            node = child
        return node

    for chamber in fixed:
        node = node_of(chamber.prefix)
        node.held = node.fixed = True
    for chamber in chambers:
        node = node_of(chamber.prefix)
        node.own = chamber
        node.size = 1
    # A node is made after its parent, so that the reverse order goes upward.
    for node in reversed(nodes.values()):
        if node.link is not None:
            parent = nodes[b"" if node.link.parent is None else node.link.parent.digest]
            parent.size += node.size
            parent.fixed = parent.fixed or node.fixed
    return nodes


def _last_first(node: _Node) -> list[_Node]:
    """Children in ascending rank, so that pop() gives the last in depth-first order."""
    return sorted(node.children.values(), key=_rank)


def _rank(node: _Node) -> int:
    assert node.link is not None
    return node.link.rank


def _swallow(node: _Node, child: _Node, gone: list[Chamber], new: list[Chamber]) -> int:
    """Fold one child, and what is open below, into its node; return how many fewer are open."""
    inside: list[Chamber] = [] if node.own is None else [node.own]
    stack = [child]
    while stack:
        at = stack.pop()
        if at.own is not None:
            inside.append(at.own)
        stack.extend(at.children.values())
    assert child.link is not None
    rank = child.link.rank
    bound = min(chamber.bound for chamber in inside)
    tile = child.link.tile if rank else b""
    gone.extend(inside)
    node.own = Chamber(node.link, rank, tile, bound, inclusive=rank > 0)
    new.append(node.own)
    del node.children[child.link.tile]
    return len(inside) - 1
