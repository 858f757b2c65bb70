"""What is proven of the leading blocks of Q in a tile order: eigenvalues, and the weights of the
look-ahead bound (docs/method.md, theorem 1).

Proofs are Cholesky factorisations in floating point that run to their end, with a margin for their
rounding (Rump 2006, theorem 2.3); how a figure was guessed does not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from morsr_mpi.lattice.e8 import k_nearest_batch
from morsr_mpi.search import _engine
from morsr_mpi.search.factor import UNIT_ROUNDOFF, coordinates_of, gamma

#: Shares of proposed weights that are tried in turn; all but the first are for hopeless rounding.
WEIGHT_SHARES = (1.0, 0.99, 0.9, 0.5)


def margins_of(diagonal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Error of a factorisation of each leading block of whole tiles, float64 [m+1].

    If the floating-point Cholesky factorisation of A (order n, diagonal at most `diagonal`) runs
    to its end, λ_min(A) ≥ −γ_{n+1}/(1 − γ_{n+1}) tr(A).  Twice that, which also covers
    the rounding of this sum.
    """
    traces = [0.0]
    for entry in diagonal:  # summed by hand: the order of additions decides results
        traces.append(traces[-1] + float(entry))
    m = diagonal.size // 8
    return 2.0 * gamma(8 * m + 4) * (1.0 + 1e-6) * np.array(traces[::8])


def proven_eigenvalues(
    Q: NDArray[np.float64],
    order: NDArray[np.int32],
    estimate: NDArray[np.float64],
    ladder: bool = True,
) -> NDArray[np.float64]:
    """Return lower bounds of the least eigenvalue of every leading block, float64 [m+1].

    A shift is proven by a successful Cholesky factorisation of the block minus the shift, less
    the error margin of that factorisation (Rump 2006, theorem 2.3).  A factorisation that breaks
    down in tile t still proves its shift for all leading blocks of at most t tiles, so a ladder
    of rising shifts serves all of them; by interlacing a bound for a block holds for every
    smaller one.  Entries are 0 where nothing could be proven.  ladder: False settles for one bound.
    """
    m = int(order.size)
    places = coordinates_of(order)
    permuted = Q[np.ix_(places, places)]
    margin = margins_of(np.ascontiguousarray(np.diagonal(permuted)))
    proven = np.zeros(m + 1)
    # Finer ladders for smaller problems, where a factorisation costs little.
    step = 1.03 if m <= 32 else 1.25 if m <= 128 else 2.0

    def attempt(shift: float) -> int:
        trial = permuted.copy()
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
    reached = m if ladder else 0
    while reached >= 1 and shift < 64.0 * float(estimate[1]):
        reached = attempt(shift)
        shift *= step
    return np.maximum(proven, 0.0)


def constant_weights(eigenvalues: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights from a bound of the least eigenvalue of each leading block: float64 [4m(m+1)]."""
    m = eigenvalues.size - 1
    return np.repeat(eigenvalues[1:], 8 * np.arange(1, m + 1))


def proven_weights(
    Q: NDArray[np.float64],
    order: NDArray[np.int32],
    g: NDArray[np.float64],
    eigenvalues: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return weights D ≥ 0 with D ⪯ Q_FF for every leading block F of whole tiles.

    float64 [4m(m+1)], 8j of them for each j = 1 … m.  g: U⁻¹ in the order; eigenvalues: proven,
    [m+1].  Up to WEIGHT_TILES tiles D has a large trace, beyond it is λI.  The proof: with margin
    M of the factorisation, one of Q_FF − D − 2M I that runs to its end shows Q_FF − D ⪰ M I ⪰ 0;
    the second M covers the rounding of the subtractions.
    """
    m = int(order.size)
    constant = constant_weights(eigenvalues)
    if m > _engine.WEIGHT_TILES:
        return constant
    n = 8 * m
    proposed = np.empty(constant.size)
    _engine.propose_weights(g, proposed, np.empty((n, n)), np.empty(18 * n))
    places = coordinates_of(order)
    permuted = Q[np.ix_(places, places)]
    diagonal = np.ascontiguousarray(np.diagonal(permuted))
    margin = margins_of(diagonal)
    for j in range(1, m + 1):
        at = slice(4 * j * (j - 1), 4 * j * (j + 1))
        size = 8 * j
        for share in WEIGHT_SHARES:
            weights = share * proposed[at]
            trial = permuted[:size, :size].copy()
            trial[np.arange(size), np.arange(size)] -= weights + 2.0 * float(margin[j])
            if _engine.cholesky(trial) < 0:
                # Where rounding spoils the proposal, one eigenvalue for all can be better.
                if np.sum(weights) > np.sum(constant[at]):
                    constant[at] = weights
                break
    return constant


def proven_blocks(
    Q: NDArray[np.float64], order: NDArray[np.int32], eigenvalues: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return 8x8 blocks D_b with blockdiag(D_b) ⪯ Q_FF for every leading block F of whole tiles.

    float64 [32m(m+1)], j blocks for each j = 1 … m ≤ WEIGHT_TILES; eigenvalues: proven, [m+1].
    Proven like the weights; where that fails the blocks are zero, which bounds nothing.
    """
    m = int(order.size)
    places = coordinates_of(order)
    permuted = Q[np.ix_(places, places)]
    margin = margins_of(np.ascontiguousarray(np.diagonal(permuted)))
    proposed = propose_blocks(permuted, float(eigenvalues[m]), all_depths=True)
    for j in range(1, m + 1):
        at = slice(32 * j * (j - 1), 32 * j * (j + 1))
        proposed[at] = prove_blocks(permuted[: 8 * j, : 8 * j], proposed[at], float(margin[j]))
    return proposed


def propose_blocks(
    permuted: NDArray[np.float64], least: float, *, all_depths: bool
) -> NDArray[np.float64]:
    """Blocks that prove_blocks may prove, for every number of free tiles or for all free alone."""
    n = int(permuted.shape[0])
    m = n // 8
    proposed = np.zeros(32 * m * (m + 1) if all_depths else 64 * m)
    shift = 0.5 * least
    shifted = permuted.copy()
    shifted[np.arange(n), np.arange(n)] -= shift
    if _engine.cholesky(shifted) >= 0:
        return proposed
    g = np.empty((n, n))
    _engine.tri_inverse(shifted, g)
    scratch = np.empty(64 * m), np.empty((n, n)), np.empty(18 * n)
    _engine.propose_blocks(g, all_depths, shift, proposed, *scratch)
    return proposed


def prove_blocks(
    block: NDArray[np.float64], proposed: NDArray[np.float64], margin: float
) -> NDArray[np.float64]:
    """The proposed blocks (float64 [64j]), shrunk until blockdiag ⪯ block − margin·I is proven."""
    j = int(block.shape[0]) // 8
    for share in WEIGHT_SHARES:
        own = (share * proposed).reshape(j, 8, 8)
        own = 0.5 * (own + own.transpose(0, 2, 1))
        trial = block.copy()
        for b in range(j):
            trial[8 * b : 8 * b + 8, 8 * b : 8 * b + 8] -= own[b]
        trial[np.arange(8 * j), np.arange(8 * j)] -= 2.0 * margin
        if _engine.cholesky(trial) < 0:
            return own.reshape(-1)
    return np.zeros(64 * j)


def root_block_bounds(
    Q: NDArray[np.float64], least: float, centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Lower bounds of the cost of k targets before any tile is decided, float64 [k], lattice units.

    Q [n,n] and centres [k,n] in natural order; least: proven bound of Q's least eigenvalue.  Each
    tile's minimum under its own block is found exactly, with the Cholesky factor U of the block
    in the block's place: the difference is within the margin that the blocks leave.
    """
    n = int(Q.shape[0])
    margin = float(margins_of(np.ascontiguousarray(np.diagonal(Q)))[-1])
    blocks = prove_blocks(Q, propose_blocks(Q, least, all_depths=False), margin)
    total = np.zeros(len(centres))
    for b in range(n // 8):
        u = blocks[64 * b : 64 * b + 64].reshape(8, 8).copy()
        if _engine.cholesky(u) >= 0:
            continue
        u = np.triu(u)
        g = np.empty((8, 8))
        _engine.tri_inverse(u, g)
        _, chi, _ = _engine.factor_norms(u, g, np.empty(24))
        # A cost ‖U(p − c)‖² is computed to 2 γ_10 χ, to first order; twice that.
        safe = 1.0 - 4.0 * gamma(12) * chi
        if safe > 0.0:
            near = k_nearest_batch(centres[:, 8 * b : 8 * b + 8], 1, metric=u)
            total += safe * near.cost[:, 0]
    return total
