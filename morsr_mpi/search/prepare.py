"""What a problem needs before the search: components, factors, proven eigenvalues, δ, origins.

Every rank computes it for itself from the same bytes and gets the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.lattice.e8 import nearest
from morsr_mpi.objectives.problem import QuadraticProblem
from morsr_mpi.search import _engine
from morsr_mpi.search.bands import band_in, band_of
from morsr_mpi.search.bounds import (
    proven_blocks,
    proven_eigenvalues,
    proven_weights,
    root_block_bounds,
)
from morsr_mpi.search.components import components_of, coupled_tiles, restrict
from morsr_mpi.search.factor import (
    Factor,
    cholesky_of,
    coordinates_of,
    factor_of,
    inverse_of,
    norms_of,
    tolerance_of,
)
from morsr_mpi.search.factor_store import FactorStore, PrivateFactors
from morsr_mpi.search.orders import (
    VBLAST,
    OrderName,
    natural_order,
    order_by_name,
    vblast_order,
)
from morsr_mpi.search.short_vectors import (
    BLOCK_LENGTH,
    CHILD_LENGTH,
    MAX_TABLE_TILES,
    grams_of,
    tables_of,
)

#: Tiles up to which the root is bounded by blocks where enumerations have none: O(n³) more.
MAX_ROOT_BLOCK_TILES = 128


@dataclass(eq=False)
class Part:
    """One component of a problem: what its targets share.

    problem: restricted to the component.  coordinates: int [n], where they lie in the whole.
    rank: factor in the V-BLAST order; proof: the same with proven eigenvalues and weights, which
    is what certificates rest on.
    tolerance: δ, 1.0 where nothing can be certified.  quad: float64 [m,240], root moves.
    origins: int32 [k,n] doubled coordinates, the lattice point nearest to each target tile by
    tile; centres: float64 [k,n], the target relative to it in units of the lattice.
    root_bounds: float64 [k], lower bounds of the objective before any search.
    store: keeps the factors of further orders.
    """

    problem: QuadraticProblem
    coordinates: NDArray[np.intp]
    vblast: NDArray[np.int32]
    rank: Factor
    proof: Factor
    tolerance: float
    quad: NDArray[np.float64]
    origins: NDArray[np.int32]
    centres: NDArray[np.float64]
    root_bounds: NDArray[np.float64]
    store: FactorStore = field(default_factory=PrivateFactors)

    @property
    def unit(self) -> float:
        """Objective of one unit of cost: scale squared, as a product (pow differs by libm)."""
        return self.problem.scale * self.problem.scale

    @property
    def slack(self) -> float:
        """Factor from an incumbent's objective to the pruning limit in lattice units, ≥ exact.

        Where nothing can be certified the enumeration is one more heuristic, with a small margin.
        """
        delta = self.tolerance if self.tolerance < 1.0 else 1e-2
        return float(1.0 / (self.unit * (1.0 - delta))) * (1.0 + 2.0**-50)

    @cached_property
    def prover(self) -> Factor:
        """The proof factor with blocks and tables where they pay; made on first use."""
        if self.problem.m > MAX_TABLE_TILES:
            return self.proof
        children = tables_of(grams_of(self.proof.diag), CHILD_LENGTH)
        if self.problem.m > _engine.WEIGHT_TILES:
            return self.proof.with_tables(children, np.empty(0), None)
        blocks = proven_blocks(self.problem.Q, self.vblast, self.proof.eigenvalues)
        return self.proof.with_tables(children, blocks, tables_of(blocks, BLOCK_LENGTH))

    @cached_property
    def coupled(self) -> NDArray[np.bool_]:
        """Whether Q couples two tiles: bool [m,m]."""
        return coupled_tiles(self.problem.Q)

    @cached_property
    def band(self) -> int:
        """Width of the band of Q in tiles, in its best order; 0 where there is none to be used."""
        return band_of(self.coupled)

    def band_in(self, order: NDArray[np.int32]) -> int:
        """Width of the band in another order; 0 where it is too wide to be used."""
        return band_in(self.coupled, order) if self.band else 0

    def factor(self, name: OrderName) -> Factor | None:
        """Return the factor of an order, from a store bounded in bytes (least recently used).

        None while another rank of this node makes it.
        """
        if name == VBLAST:
            return self.rank

        def make() -> Factor:
            Q = self.problem.Q
            order = order_by_name(name, Q, self.vblast)
            u = cholesky_of(Q, order)
            return factor_of(u, inverse_of(u), order)

        return self.store.get(name, make)

    def lower_bound(self, bound: float) -> float:
        """Turn a computed bound in lattice units into a proven bound of the objective."""
        if self.tolerance >= 1.0:
            return 0.0
        value = bound * self.unit * (1.0 - self.tolerance) * (1.0 - 2.0**-50)
        return max(0.0, float(np.nextafter(value, -np.inf)))


def origin_of(
    targets: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return (origins, centres): int32 and float64 [k,n].

    The search works around the nearest lattice point of every tile, so that what it adds up is of
    the size of a tile however far out the target lies.  t − s·origin is one fused operation in
    exact arithmetic's place: here it is computed without cancellation error by splitting.
    """
    k, n = targets.shape
    origins = nearest((targets / scale).reshape(-1, 8)).reshape(k, n).astype(np.int32)
    return origins, fused_residual(targets, origins, scale)


def fused_residual(
    targets: NDArray[np.float64], doubled: NDArray[np.int32], scale: float
) -> NDArray[np.float64]:
    """(t − s·d/2) / s with the product and difference rounded once, as fma would.

    Dekker's exact product in float64: s·(d/2) = high + low without error, and t − high is exact
    here (Sterbenz: high is within a few units of the lattice of t) or its error is below one
    rounding of the result's size; NumPy has no fma, and this decides results.
    """
    point = 0.5 * doubled
    high = scale * point
    split = 134217729.0  # 2^27 + 1
    a = split * scale
    a_high = a - (a - scale)
    a_low = scale - a_high
    b = split * point
    b_high = b - (b - point)
    b_low = point - b_high
    low = ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low
    return np.ascontiguousarray(((targets - high) - low) / scale)


def prepare_part(problem: QuadraticProblem, coordinates: NDArray[np.intp]) -> Part:
    """Factor Q, find the V-BLAST order, prove eigenvalues, bound the rounding errors.

    Raises InputError naming the pivot when Q is not positive definite.
    """
    Q = problem.Q
    natural = natural_order(problem.m)
    g = inverse_of(cholesky_of(Q, natural, coordinates))
    vblast = vblast_order(g)
    del g
    u = cholesky_of(Q, vblast, coordinates)
    g = inverse_of(u)
    rank = factor_of(u, g, vblast)
    norms = norms_of(u, g)
    proven = proven_eigenvalues(Q, vblast, rank.eigenvalues, problem.m > _engine.WEIGHT_TILES)
    weights = proven_weights(Q, vblast, g, proven)
    del u, g
    tolerance = tolerance_of(problem.n, norms, float(proven[problem.m]))
    quad = np.empty((problem.m, 240))
    _engine.root_quad(Q, quad)
    origins, centres = origin_of(problem.targets, problem.scale)
    part = Part(
        problem,
        coordinates,
        vblast,
        rank,
        rank.with_bounds(proven, weights),
        tolerance,
        quad,
        origins,
        centres,
        np.zeros(problem.k),
    )
    places = coordinates_of(vblast)
    for t in range(problem.k):
        centre = np.ascontiguousarray(centres[t][places])
        free = _engine.free_bound(weights[-problem.n :], centre, np.empty(problem.m))
        part.root_bounds[t] = part.lower_bound(free)
    if _engine.WEIGHT_TILES < problem.m <= MAX_ROOT_BLOCK_TILES:
        better = root_block_bounds(Q, float(proven[problem.m]), centres)
        bounds = np.array([part.lower_bound(float(cost)) for cost in better])
        part.root_bounds = np.maximum(part.root_bounds, bounds)
    return part


@dataclass(frozen=True, eq=False)
class Prepared:
    """A problem and its independent components; tolerance: the largest of theirs."""

    problem: QuadraticProblem
    parts: tuple[Part, ...]

    @property
    def tolerance(self) -> float:
        """δ of the whole; 1.0 where some component cannot be certified."""
        return max(part.tolerance for part in self.parts)


def rescaled(prepared: Prepared, scale: float) -> Prepared:
    """Return the same Q and targets with a lattice of another scale, nothing factored anew.

    Bounds before any search are left at zero.
    """
    whole = replace(prepared.problem, scale=scale)
    parts = []
    for part in prepared.parts:
        problem = replace(part.problem, scale=scale)
        origins, centres = origin_of(problem.targets, scale)
        zeros = np.zeros(problem.k)
        parts.append(
            replace(part, problem=problem, origins=origins, centres=centres, root_bounds=zeros)
        )
    return Prepared(whole, tuple(parts))


def prepare(problem: QuadraticProblem) -> Prepared:
    """Split a problem into its components and prepare each.

    Raises InputError naming the pivot when Q is not positive definite.
    """
    components = components_of(problem.Q)
    if len(components) == 1:
        return Prepared(problem, (prepare_part(problem, np.arange(problem.n)),))
    places = [coordinates_of(tiles) for tiles in components]
    return Prepared(problem, tuple(prepare_part(restrict(problem, at), at) for at in places))
