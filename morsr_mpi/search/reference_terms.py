"""NumPy twins of the kernels of tile terms: same bits, and the path of terms written in Python.

Slow and obvious: csrc/src/term_*.inc say what each function means.  What they share with the
kernels is the order of every sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.lattice.e8 import nearest_with_distance
from morsr_mpi.objectives.tile_term import TileTerm

Array = NDArray[np.float64]
Doubled = NDArray[np.int32]

NEAR_ROUNDS = 64
TERM_LOOKS = 3
SWEEPS = 64
RESTART = 1000


def tile_norm(u: Array, e: Array) -> Array:
    """||U e||^2 of vectors (..., 8); rows of U, float64 [64], in ascending order."""
    total = np.zeros(e.shape[:-1])
    for i in range(8):
        z = u[9 * i] * e[..., i]
        for k in range(i + 1, 8):
            z = z + u[8 * i + k] * e[..., k]
        total = total + z * z
    return total


def term_costs(
    term: TileTerm, unit: float, u: Array, c: Array, o: Doubled, points: Doubled
) -> tuple[Array, Array]:
    """||U (p - c)||^2 and the term of points (..., 8) relative to the origin o, lattice units."""
    return tile_norm(u, 0.5 * points - c), scaled(term, unit, points + o)


def scaled(term: TileTerm, unit: float, points: Doubled) -> Array:
    """Values in lattice units, as the kernels' tables hold them."""
    native = term.native(unit)
    if native is None:
        return term.values(points) / unit
    out = np.empty(points.size // 8)
    native.values(np.ascontiguousarray(points, dtype=np.int32).reshape(-1, 8), out)
    return out.reshape(points.shape[:-1])


def near_points(
    term: TileTerm, unit: float, roots: Array, u: Array, c: Array, o: Doubled
) -> tuple[Doubled, float, Array]:
    """The point near one centre that no root improves, its cost, and the costs with each root."""
    steps = roots.T.astype(np.int32)
    p = term.start((c + 0.5 * o)[None])[0] - o

    def cost(points: Doubled) -> Array:
        quad, value = term_costs(term, unit, u, c, o, points)
        return np.asarray(quad + value)

    own, lost, rounds = float(cost(p)), 0, 0
    while True:
        value = cost(p + steps)
        best = int(np.argmin(value))
        if value[best] < own:
            if rounds >= NEAR_ROUNDS:
                return p, own, value
            p, own = p + steps[best], float(value[best])
        elif own < np.inf:
            return p, own, value
        elif lost < NEAR_ROUNDS:
            lost += 1
            length = np.sum((p + o + steps).astype(np.int64) ** 2, axis=1)
            p = p + steps[int(np.argmin(length))]
            own = float(cost(p))
        else:
            p = -o
            own = float(cost(p))
        rounds += 1


def near(
    term: TileTerm, unit: float, roots: Array, u: Array, c: Array, o: Doubled, branch: int
) -> tuple[Doubled, Array]:
    """The best children of one centre: points (found, 8), costs (found,)."""
    p, own, value = near_points(term, unit, roots, u, c, o)
    steps = np.concatenate([np.zeros((1, 8), dtype=np.int32), roots.T.astype(np.int32)])
    costs = np.concatenate([[own], value])
    order = np.argsort(costs, kind="stable")[:branch]
    order = order[np.isfinite(costs[order])]
    return (p + steps[order]).astype(np.int32), costs[order]


def pin(w: Array, j: int, centres: Array, p: Doubled) -> Array:
    """Centres of the tiles before j once tile j is p: float64 [8 j]."""
    e = 0.5 * p - centres[8 * j : 8 * j + 8]
    x = centres[: 8 * j].reshape(j, 8)
    at = j * (j - 1) // 2
    blocks = w[64 * at : 64 * (at + j)].reshape(j, 8, 8)
    for k in range(8):
        x = x + blocks[:, k, :] * e[k]
    return x.reshape(-1)


def root_quad(Q: Array, roots: Array) -> Array:
    """alpha^T Q_bb alpha of every tile and root, [m, 240]."""
    m = len(Q) // 8
    out = np.zeros((m, 240))
    a = 0.5 * roots
    for b in range(m):
        for i in range(8):
            row = np.zeros(240)
            for k in range(8):
                row = row + Q[8 * b + i, 8 * b + k] * a[k]
            out[b] = out[b] + row * a[i]
    return out


class TwinBeam:
    """Twin of the kernel's beam; a step is one position."""

    def __init__(
        self,
        term: TileTerm,
        unit: float,
        diag: Array,
        w: Array,
        weight: Array,
        roots: Array,
        centre: Array,
        origin: Doubled,
        width: int,
        branch: int,
        gamma: float,
        limit: float,
    ) -> None:
        self.term, self.unit, self.diag, self.w = term, unit, diag, w
        self.weight, self.roots, self.origin = weight, roots, origin
        self.width, self.branch, self.gamma, self.limit = width, branch, gamma, limit
        self.position = centre.size // 8 - 1
        # A node: its cost, what its look-ahead says beyond the next tile, centres, path.
        self.nodes: list[tuple[float, float, Array, tuple[Doubled, ...]]] = [
            (0.0, 0.0, np.asarray(centre), ())
        ]
        self.ticks = 0

    def step(self, ticks: int) -> bool:
        """Decide one tile; True when all are."""
        del ticks
        if self.position >= 0 and self.nodes:
            self._level(self.position)
            self.position -= 1
        return self.position < 0 or not self.nodes

    def _level(self, j: int) -> None:
        u, o = self.diag[64 * j : 64 * j + 64], self.origin[8 * j : 8 * j + 8]
        offers = []
        for parent, (partial, rest, centres, _) in enumerate(self.nodes):
            c = centres[8 * j : 8 * j + 8]
            points, costs = near(self.term, self.unit, self.roots, u, c, o, self.branch)
            self.ticks += 256
            for i, (p, cost) in enumerate(zip(points, costs.tolist(), strict=True)):
                total = partial + cost
                offers.append((total + self.gamma * rest, parent * self.branch + i, total, p))
        offers.sort(key=lambda offer: offer[:2])
        looks = []
        for _, name, total, p in offers[: TERM_LOOKS * self.width]:
            if total > self.limit:
                continue
            _, _, centres, path = self.nodes[name // self.branch]
            child = pin(self.w, j, centres, p)
            rest, every = self._look(j, child) if j else (0.0, 0.0)
            key = total + self.gamma * every if j else total
            looks.append((key, name, (total, rest, child, (*path, p))))
        looks.sort(key=lambda look: look[:2])
        self.nodes = [node for _, _, node in looks[: self.width]]
        self.ticks += len(self.nodes) * (j + 8)

    def _look(self, j: int, centres: Array) -> tuple[float, float]:
        x = (centres + 0.5 * self.origin[: 8 * j]).reshape(j, 8)
        points, spread = nearest_with_distance(x)
        if np.isfinite(self.term.rim):
            norm = np.zeros(j)
            for i in range(8):
                norm = norm + x[:, i] * x[:, i]
            over = np.sqrt(norm) - self.term.rim
            spread = np.where((over > 0.0) & (over * over > spread), over * over, spread)
        value = scaled(self.term, self.unit, points)
        part = self.weight[j, :j] * spread
        part = np.where(np.isfinite(value), part + np.where(np.isfinite(value), value, 0.0), part)
        rest = every = 0.0
        for item in part.tolist():
            rest, every = every, every + item
        self.ticks += 4 * j
        return rest, every

    def best(self, out: Doubled) -> float | None:
        """The cost of the best point, which goes into out by position, or None."""
        if not self.nodes:
            return None
        total, _, _, path = self.nodes[0]
        for at, p in enumerate(path):
            j = len(path) - 1 - at
            out[8 * j : 8 * j + 8] = p
        return total


class TwinWalk:
    """Twin of the kernel's descent and walk; a step is one tile or one move."""

    def __init__(
        self,
        term: TileTerm,
        unit: float,
        Q: Array,
        target: Array,
        quad: Array,
        roots: Array,
        doubled: Doubled,
        patience: int,
        seed: int,
    ) -> None:
        self.term, self.unit, self.Q, self.target = term, unit, Q, target
        self.quad, self.roots, self.patience, self.state = quad, roots, patience, seed
        self.m = len(Q) // 8
        self.point = doubled.astype(np.int32)
        self.half = np.zeros((self.m, 240))
        self.own = np.zeros(self.m)
        self.until = np.zeros(self.m, dtype=np.int64)
        self.ticks = 0
        for b in range(self.m):
            self._refresh(b)
        self._gradient()
        self.noise = 1e-11 * self.value
        self.walking = self.done = False
        self.sweep = self.tile = self.moved = 0
        self.moves = self.since = 0

    def _refresh(self, b: int) -> None:
        d = self.point[8 * b : 8 * b + 8]
        values = scaled(self.term, self.unit, np.vstack([d, d + self.roots.T.astype(np.int32)]))
        self.own[b] = values[0]
        self.half[b] = 0.5 * (self.quad[b] + (values[1:] - values[0]))
        self.ticks += 64

    def _gradient(self) -> None:
        e = 0.5 * self.point - self.target
        h = np.zeros(len(e))
        for k in range(len(e)):
            h = h + self.Q[k] * e[k]
        self.h = h
        total = 0.0
        for item in (e * h).tolist():
            total += item
        for item in self.own.tolist():
            total += item
        self.value = total
        self.ticks += len(e) * len(e) // 64 + len(e) // 8

    def _changes(self, b: int) -> Array:
        h = self.h[8 * b : 8 * b + 8]
        dot = h[0] * self.roots[0]
        for i in range(1, 8):
            dot = dot + h[i] * self.roots[i]
        return np.asarray(0.5 * dot + self.half[b])

    def _take(self, b: int, r: int) -> None:
        for k in range(8):
            a = float(self.roots[k, r])
            if a != 0.0:
                self.h = self.h + self.Q[8 * b + k] * (0.5 * a)
        self.point[8 * b : 8 * b + 8] += self.roots[:, r].astype(np.int32)
        self._refresh(b)
        self.ticks += len(self.h) // 8

    def step(self, ticks: int) -> bool:
        """Go on for about so many ticks; True when patience is used up."""
        end = self.ticks + ticks
        while not self.done and self.ticks < end:
            if self.walking:
                self._walk()
            else:
                self._descend()
        return self.done

    def _descend(self) -> None:
        b, self.tile = self.tile, self.tile + 1
        for _ in range(8):
            value = self._changes(b)
            r = int(np.argmin(value))
            self.ticks += 24
            if not 2.0 * value[r] < -self.noise:
                break
            self._take(b, r)
            self.moved = 1
        if self.tile < self.m:
            return
        more = False
        if self.moved:
            self.sweep += 1
            more = self.sweep < SWEEPS
        self.tile = self.moved = 0
        self._gradient()
        self.noise = 1e-11 * self.value
        if not more:
            self.descent, self.found = self.point.copy(), self.point.copy()
            self.best_value = self.value
            self.walking = self.patience > 0
            self.done = not self.walking

    def _least_change(self, b: int) -> float:
        a = [abs(x) for x in self.h[8 * b : 8 * b + 8].tolist()]
        total = first = second = 0.0
        for x in a:
            total += x
            if x > first:
                first, second = x, first
            elif x > second:
                second = x
        most = max(first + second, 0.5 * total)
        return float(np.min(self.half[b])) - most * (1.0 + 1e-9)

    def _walk(self) -> None:
        least, tile, root = np.inf, -1, 0
        bar = self.best_value * (1.0 - 1e-12)
        for b in range(self.m):
            if not self._least_change(b) < least:
                continue
            value = self._changes(b)
            r = int(np.argmin(value))
            self.ticks += 16
            if not value[r] < least:
                continue
            if self.moves < self.until[b] and not self.value + 2.0 * value[r] < bar:
                continue
            least, tile, root = float(value[r]), b, r
        self.ticks += self.m // 2
        self.moves += 1
        self.since += 1
        if tile >= 0:
            self.value += 2.0 * least
            self._take(tile, root)
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
            self.until[tile] = self.moves + 2 + (self.state >> 33) % 5
            if self.value < bar:
                self.best_value, self.found, self.since = self.value, self.point.copy(), 0
        if self.since >= self.patience:
            self.done = True
        elif self.since > 0 and self.since % RESTART == 0:
            self.point = self.found.copy()
            for b in range(self.m):
                self._refresh(b)
            self._gradient()

    def best(self, out: Doubled, descent: Doubled) -> None:
        """The best point, and what the descent alone ended at."""
        out[:], descent[:] = self.found, self.descent
