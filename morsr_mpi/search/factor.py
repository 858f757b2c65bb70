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
    """

    order: NDArray[np.int32]
    diag: NDArray[np.float64]
    w: NDArray[np.float64]
    quad: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    view: _engine.FactorView
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    @property
    def tiles(self) -> int:
        """Number of tiles m."""
        return int(self.order.size)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return int(self.diag.nbytes + self.w.nbytes + self.quad.nbytes + self.vectors.nbytes)

    def with_eigenvalues(self, eigenvalues: NDArray[np.float64]) -> Factor:
        """Return the same factor with other eigenvalue bounds (say, proven ones)."""
        return make_factor(self.order, self.diag, self.w, self.quad, eigenvalues)

    def with_table(self, vectors: NDArray[np.float32], limits: NDArray[np.float64]) -> Factor:
        """Return the same factor with tables of short vectors (short_vectors.table_of)."""
        parts = (self.order, self.diag, self.w, self.quad, self.eigenvalues)
        return make_factor(*parts, vectors, limits)


def make_factor(
    order: NDArray[np.int32],
    diag: NDArray[np.float64],
    w: NDArray[np.float64],
    quad: NDArray[np.float64],
    eigenvalues: NDArray[np.float64],
    vectors: NDArray[np.float32] | None = None,
    limits: NDArray[np.float64] | None = None,
) -> Factor:
    """Bind arrays to the kernels' view of them; without a table of short vectors by default."""
    m = int(order.size)
    coupling = np.zeros(m)
    if vectors is None or limits is None:
        vectors, limits = np.empty(0, dtype=np.float32), np.zeros(m)
    else:
        _engine.couplings(diag, w, coupling)
    view = _engine.FactorView(m, diag, w, quad, eigenvalues, vectors, limits, coupling)
    return Factor(order, diag, w, quad, eigenvalues, view, vectors)


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


def proven_eigenvalues(
    Q: NDArray[np.float64],
    order: NDArray[np.int32],
    estimate: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return lower bounds of the least eigenvalue of every leading block, float64 [m+1].

    A shift is proven by a successful Cholesky factorisation of the block minus the shift, less
    the error margin of that factorisation (Rump 2006, theorem 2.3).  A factorisation that breaks
    down in tile t still proves its shift for all leading blocks of at most t tiles, so a ladder
    of rising shifts serves all of them; by interlacing a bound for a block holds for every
    smaller one.  Entries are 0 where nothing could be proven.
    """
    m = int(order.size)
    places = coordinates_of(order)
    traces = [0.0]
    for place in places:  # summed by hand: the order of additions decides results
        traces.append(traces[-1] + float(Q[place, place]))
    margin = 2.0 * gamma(8 * m + 4) * (1.0 + 1e-6) * np.array(traces[::8])
    proven = np.zeros(m + 1)
    # Finer ladders for smaller problems, where a factorisation costs little.
    step = 1.03 if m <= 32 else 1.25 if m <= 128 else 2.0

    def attempt(shift: float) -> int:
        trial = Q[np.ix_(places, places)]
        trial[np.arange(8 * m), np.arange(8 * m)] -= shift
        pivot = _engine.cholesky(trial)
        tiles = m if pivot < 0 else pivot // 8
        # The subtraction rounds once more, relative to the larger of its operands.
        safe = shift * (1.0 - 4.0 * UNIT_ROUNDOFF) - margin[: tiles + 1]
        proven[1 : tiles + 1] = np.maximum(proven[1 : tiles + 1], safe[1:])
        return int(tiles)

    start = float(estimate[m])
    shift, tries = 0.98 * start, 0
    while attempt(shift) < m and tries < 24:
        shift *= 0.97 if m <= 32 else 0.9 if m <= 128 else 0.6
        tries += 1
    shift = start * step
    reached = m
    while reached >= 1 and shift < 64.0 * float(estimate[1]):
        reached = attempt(shift)
        shift *= step
    return np.maximum(proven, 0.0)


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
