"""Block triangular factors of Q in a tile order, and what can be proven from them.

For a tile order, Q = UᵀU with U upper triangular; the tile at the last position is decided first.
Everything here decides results, so every sum is ours and in a fixed order (DESIGN section 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.base.errors import InputError
from morsr_mpi.search import _engine

UNIT_ROUNDOFF = 2.0**-53
#: Leading blocks whose least eigenvalue is estimated one by one; larger problems share estimates.
MAX_EIGENVALUE_SIZES = 64
SHARED_EIGENVALUE_SIZES = 16


@dataclass(frozen=True, eq=False)
class Factor:
    """What depends on (Q, order) alone; shared by all targets.

    order: int32 [m], the tile at each position.  diag: float64 [m*64], blocks U_jj.
    w: float64 [m(m-1)/2 * 64], blocks (U⁻¹)_bj U_jj.  quad: float64 [m*240], the roots' squared
    norms under each tile's metric.  eigenvalues: float64 [m+1], entry j for the
    leading block of j tiles: estimates for rankings, proven lower bounds for proofs.
    weights: float64 [4m(m+1)], of the enumeration's bound (bounds.py); empty where none is proven.
    children, free: tables of short vectors for the tiles and for the blocks, float64 [32m(m+1)],
    of its second bound; only what enumerates has them.
    """

    order: NDArray[np.int32]
    diag: NDArray[np.float64]
    w: NDArray[np.float64]
    quad: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    view: _engine.FactorView
    weights: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    blocks: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def tiles(self) -> int:
        """Number of tiles m."""
        return int(self.order.size)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        bounds = self.weights.nbytes + self.blocks.nbytes
        return int(self.diag.nbytes + self.w.nbytes + self.quad.nbytes + bounds)

    def with_bounds(self, eigenvalues: NDArray[np.float64], weights: NDArray[np.float64]) -> Factor:
        """Return the same factor with proven eigenvalues and weights."""
        return make_factor(self.order, self.diag, self.w, self.quad, eigenvalues, weights)

    def with_tables(
        self,
        children: _engine.Tables | None,
        blocks: NDArray[np.float64],
        free: _engine.Tables | None,
    ) -> Factor:
        """Return the same factor with proven blocks and tables (short_vectors.tables_of)."""
        parts = (self.order, self.diag, self.w, self.quad, self.eigenvalues, self.weights)
        return make_factor(*parts, children, blocks, free)


def make_factor(
    order: NDArray[np.int32],
    diag: NDArray[np.float64],
    w: NDArray[np.float64],
    quad: NDArray[np.float64],
    eigenvalues: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    children: _engine.Tables | None = None,
    blocks: NDArray[np.float64] | None = None,
    free: _engine.Tables | None = None,
) -> Factor:
    """Bind arrays to the kernels' view of them; without what enumeration needs by default."""
    m = int(order.size)
    coupling = np.zeros(m)
    if weights is None:
        weights = np.empty(0)
    if blocks is None:
        blocks = np.empty(0)
    block_coupling = np.zeros(m)
    if children is not None:
        _engine.couplings(diag, w, weights, np.empty(0), coupling)
    if free is not None:
        _engine.couplings(diag, w, weights, blocks, block_coupling)
    tables = (coupling, children, blocks, block_coupling, free)
    view = _engine.FactorView(m, diag, w, quad, eigenvalues, weights, *tables)
    return Factor(order, diag, w, quad, eigenvalues, view, weights, blocks)


def coordinates_of(order: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the coordinate (natural order) at each permuted place: int [8m]."""
    return (8 * order.astype(np.intp)[:, None] + np.arange(8)).reshape(-1)


def cholesky_of(
    Q: NDArray[np.float64],
    order: NDArray[np.int32],
    names: NDArray[np.intp] | None = None,
) -> NDArray[np.float64]:
    """Return U of PQPᵀ = UᵀU (float64 [n,n]; what lies below the diagonal is scratch).

    names: what a user calls each coordinate, where Q is part of a larger matrix.  Raises
    InputError naming the first pivot that is not positive.
    """
    places = coordinates_of(order)
    u = Q[np.ix_(places, places)]
    pivot = _engine.cholesky(u)
    if pivot >= 0:
        place = int(places[pivot])
        name = place if names is None else int(names[place])
        raise InputError(
            f"Q is not positive definite: pivot {pivot} of its Cholesky factorisation (coordinate "
            f"{name}) is not positive; add a small multiple of the identity or check Q"
        )
    return u


def inverse_of(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return U⁻¹ (float64 [n,n], zeros below the diagonal) with a small right residual."""
    g = np.empty_like(u)
    _engine.tri_inverse(u, g)
    return g


def factor_of(u: NDArray[np.float64], g: NDArray[np.float64], order: NDArray[np.int32]) -> Factor:
    """Blocks for the search, with estimated eigenvalues of the leading blocks."""
    m = int(order.size)
    diag = np.empty(64 * m)
    w = np.empty(max(1, 32 * m * (m - 1)))
    _engine.factor_blocks(u, g, diag, w)
    quad = np.empty(240 * m)
    _engine.tile_quad(diag, quad)
    eigenvalues = np.zeros(m + 1)
    sizes = m if m <= MAX_EIGENVALUE_SIZES else SHARED_EIGENVALUE_SIZES
    _engine.lambda_estimates(g, sizes, eigenvalues, np.empty(16 * m))
    return make_factor(order, diag, w, quad, eigenvalues)


def gamma(k: int) -> float:
    """γ_k = k u / (1 − k u), the bound of k roundings (Higham 2002, lemma 3.1)."""
    return k * UNIT_ROUNDOFF / (1.0 - k * UNIT_ROUNDOFF)


def norms_of(u: NDArray[np.float64], g: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return ‖|U||U⁻¹|‖₂² (an upper bound), max_j ‖|U_jj||U_jj⁻¹|‖_F and tr(UᵀU)."""
    product, chi, trace = _engine.factor_norms(u, g, np.empty(3 * int(u.shape[0])))
    return product, chi, trace


def tolerance_of(n: int, norms: tuple[float, float, float], least_eigenvalue: float) -> float:
    """Return δ: the relative error of every computed bound and objective (docs/method.md).

    norms: from norms_of.  1.0 when nothing can be promised (too ill-conditioned for float64).
    """
    product, chi, trace = norms
    if not least_eigenvalue > 0.0 or not np.isfinite(product):
        return 1.0
    big = 1.0 + 1e-6  # the norms themselves are rounded
    m2 = product * big
    m1 = float(np.sqrt(m2)) * big
    t2 = trace * big / least_eigenvalue
    t1 = float(np.sqrt(t2)) * big
    chi *= big
    drift = gamma(n + 12) * (2.0 * m1 * chi + 2.0 * m1 + 2.0 * t1 + chi + 1.0)
    cholesky = gamma(n + 1) * m2
    evaluation = gamma(2 * n + 8) * (t2 + 2.0)
    delta = 2.0 * (2.0 * drift + cholesky + evaluation)
    return delta if delta < 1e-2 else 1.0
