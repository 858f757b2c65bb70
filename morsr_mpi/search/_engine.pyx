# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Thin binding to csrc/include/engine.h: passes pointers, owns memory, releases the GIL.

Shapes and values are checked one floor up, in kernels.py; nothing here is for users.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t


TICKS_PER_UNIT = MORSR_TICKS_PER_UNIT
SHORT_BATCH = MORSR_SHORT_BATCH
WEIGHT_TILES = MORSR_WEIGHT_TILES
cdef const morsr_kernels *K = morsr_engine_level(morsr_cpu_level())


def best_level():
    return morsr_cpu_level()


def level_name():
    return (<bytes>K.level).decode()


def set_level(int level):
    """Use the kernels of one CPU level from now on; objects made before keep theirs."""
    global K
    cdef const morsr_kernels *table = morsr_engine_level(level)
    if table == NULL:
        raise ValueError("this CPU lacks that level")
    K = table


cdef _check(int status):
    if status == MORSR_NO_MEMORY:
        raise MemoryError("out of memory in the search kernels")
    if status == MORSR_RANGE:
        raise OverflowError("a coordinate left the range of 32-bit doubled coordinates")


def cholesky(double[:, ::1] a):
    cdef int n = <int>a.shape[0], pivot
    with nogil:
        pivot = K.cholesky(&a[0, 0], n)
    return pivot


def tri_inverse(const double[:, ::1] u, double[:, ::1] g):
    cdef int n = <int>u.shape[0]
    with nogil:
        K.tri_inverse(&u[0, 0], &g[0, 0], n)


def factor_blocks(const double[:, ::1] u, const double[:, ::1] g, double[::1] diag, double[::1] w):
    cdef int m = <int>(u.shape[0] // 8)
    with nogil:
        K.factor_blocks(&u[0, 0], &g[0, 0], &diag[0], &w[0], m)


def couplings(const double[::1] diag, const double[::1] w, const double[::1] weights,
              const double[::1] blocks, double[::1] out):
    """Of the blocks where there are any, else of the weights."""
    K.couplings(&diag[0], &w[0], &weights[0], &blocks[0] if blocks.shape[0] else NULL,
                <int>(diag.shape[0] // 64), &out[0])


def propose_weights(const double[:, ::1] g, double[::1] weights, double[:, ::1] s,
                    double[::1] work):
    cdef int m = <int>(g.shape[0] // 8)
    with nogil:
        K.propose_weights(&g[0, 0], m, &weights[0], &s[0, 0], &work[0])


def propose_blocks(const double[:, ::1] g, bint all, double least, double[::1] blocks,
                   double[::1] d, double[:, ::1] s, double[::1] work):
    cdef int m = <int>(g.shape[0] // 8)
    with nogil:
        K.propose_blocks(&g[0, 0], m, all, least, &blocks[0], &d[0], &s[0, 0], &work[0])


def short_tables(const double[::1] grams, const double[:, ::1] half, double bound, double least,
                 double most, float[::1] rows, int32_t[::1] counts, double[::1] limits):
    """Floats written to rows."""
    cdef int64_t written
    cdef int tiles = <int>(grams.shape[0] // 64), count = <int>half.shape[1]
    with nogil:
        written = K.short_tables(&grams[0], tiles, &half[0, 0], count, bound, least, most,
                                 &rows[0], &counts[0], &limits[0])
    if written < 0:
        raise MemoryError("out of memory for tables of short vectors")
    return written


def tile_quad(const double[::1] diag, double[::1] quad):
    K.tile_quad(&diag[0], <int>(diag.shape[0] // 64), &quad[0])


def factor_norms(const double[:, ::1] u, const double[:, ::1] g, double[::1] work):
    cdef double out[3]
    cdef int m = <int>(u.shape[0] // 8)
    with nogil:
        K.factor_norms(&u[0, 0], &g[0, 0], m, out, &work[0])
    return out[0], out[1], out[2]


def lambda_estimates(const double[:, ::1] g, int sizes, double[::1] out, double[::1] work):
    cdef int m = <int>(g.shape[0] // 8)
    with nogil:
        K.lambda_estimates(&g[0, 0], m, sizes, &out[0], &work[0])


def vblast(const double[:, ::1] g, double[:, ::1] p, int32_t[::1] order, double[::1] work):
    cdef int m = <int>(g.shape[0] // 8)
    with nogil:
        K.vblast(&g[0, 0], &p[0, 0], m, &order[0], &work[0])


def root_quad(const double[:, ::1] q, double[:, ::1] quad):
    cdef int m = <int>(q.shape[0] // 8)
    with nogil:
        K.root_quad(&q[0, 0], m, &quad[0, 0])


def free_bound(const double[::1] weights, const double[::1] centres, double[::1] part):
    return K.free_bound(&weights[0], &centres[0], <int>(weights.shape[0] // 8), &part[0])


cdef class Objective:
    """Q, one target and the scale, with the arrays kept alive."""

    cdef morsr_objective c
    cdef const double[:, ::1] q
    cdef const double[::1] target
    cdef double[::1] work

    def __init__(self, const double[:, ::1] q, const double[::1] target, double scale,
                 double[::1] work):
        self.q, self.target, self.work = q, target, work
        self.c.m = <int>(q.shape[0] // 8)
        self.c.scale = scale
        self.c.q = &self.q[0, 0]
        self.c.target = &self.target[0]

    def evaluate(self, const int32_t[::1] doubled):
        cdef double value
        with nogil:
            value = K.evaluate(&self.c, &doubled[0], &self.work[0])
        return value

    def descend(self, const double[:, ::1] quad, int32_t[::1] doubled, int max_sweeps):
        cdef int64_t ticks
        with nogil:
            ticks = K.descend(&self.c, &quad[0, 0], &doubled[0], max_sweeps, &self.work[0])
        return ticks


cdef class Tables:
    """morsr_tables over NumPy arrays that it keeps alive."""

    cdef morsr_tables c
    cdef const float[::1] rows
    cdef const int32_t[::1] counts
    cdef const int64_t[::1] starts
    cdef const double[::1] limits

    def __init__(self, const float[::1] rows, const int32_t[::1] counts,
                 const int64_t[::1] starts, const double[::1] limits):
        self.rows, self.counts, self.starts, self.limits = rows, counts, starts, limits
        self.c.rows = &self.rows[0]
        self.c.counts = &self.counts[0]
        self.c.starts = &self.starts[0]
        self.c.limits = &self.limits[0]


cdef class FactorView:
    """morsr_factor over NumPy arrays that it keeps alive; tables and what is empty are optional."""

    cdef morsr_factor c
    cdef const double[::1] diag
    cdef const double[::1] w
    cdef const double[::1] quad
    cdef const double[::1] bounds
    cdef const double[::1] coupling
    cdef const double[::1] weights
    cdef const double[::1] blocks
    cdef const double[::1] block_coupling
    cdef Tables children
    cdef Tables free

    def __init__(self, int m, const double[::1] diag, const double[::1] w,
                 const double[::1] quad, const double[::1] bounds,
                 const double[::1] weights, const double[::1] coupling, Tables children,
                 const double[::1] blocks, const double[::1] block_coupling, Tables free):
        self.diag, self.w, self.quad, self.bounds = diag, w, quad, bounds
        self.weights, self.coupling, self.blocks = weights, coupling, blocks
        self.children, self.free, self.block_coupling = children, free, block_coupling
        self.c.m = m
        self.c.diag = &self.diag[0]
        self.c.w = &self.w[0]
        self.c.quad = &self.quad[0]
        self.c.lambda_ = &self.bounds[0]
        self.c.coupling = &self.coupling[0]
        self.c.weights = &self.weights[0] if weights.shape[0] else NULL
        if children is not None:
            self.c.children = children.c
        if free is not None:
            self.c.free = free.c
            self.c.blocks = &self.blocks[0]
            self.c.block_coupling = &self.block_coupling[0]

    def block_bound(self, const double[::1] centres):
        """The look-ahead by blocks of a node with centres of its free tiles."""
        return K.block_bound(&self.c, <int>(centres.shape[0] // 8), &centres[0])

    def look_ahead(self, const double[::1] centres, const double[:, ::1] step,
                   const double[::1] start, bint crowded, double weight, double limit,
                   double[::1] key):
        """Tile look-aheads done; the children's keys go into `key`."""
        cdef int64_t seen
        cdef int j = <int>(centres.shape[0] // 8), count = <int>step.shape[1]
        with nogil:
            seen = K.look_ahead(&self.c, j, &centres[0], &step[0, 0], &start[0], count, crowded,
                                weight, limit, &key[0])
        if seen < 0:
            raise MemoryError("out of memory for a look-ahead")
        return seen


def rank_row(int j):
    """Where row j of the tables by level starts; row m is their size (csrc/src/engine_rank.inc)."""
    cdef int k = (j - 1) // 8
    return 0 if j < 1 else 32 * k * (k + 1) + ((j - 1) % 8) * 8 * (k + 1)


cdef class RankingView:
    """morsr_ranking over NumPy arrays that it fills and keeps alive."""

    cdef morsr_ranking c
    cdef FactorView factor
    cdef float[::1] w
    cdef float[::1] tiles
    cdef float[::1] levels

    def __init__(self, FactorView factor, float[::1] w, float[::1] tiles, float[::1] levels,
                 double[::1] work, int band=0):
        cdef int m = factor.c.m
        cdef float *upper = &tiles[0]
        cdef float *weight = &levels[0]
        cdef float *bend = &levels[levels.shape[0] // 2]
        self.factor, self.w, self.tiles, self.levels = factor, w, tiles, levels
        with nogil:
            self.c.unit = K.rank_tables(&factor.c, &w[0], upper, upper + 64 * m, upper + 128 * m,
                                        upper + 192 * m, weight, bend, &work[0])
        self.c.w, self.c.upper, self.c.metric = &w[0], upper, upper + 64 * m
        self.c.inverse, self.c.half_quad = upper + 128 * m, upper + 192 * m
        self.c.weight, self.c.bend, self.c.band = weight, bend, band

    @property
    def unit(self):
        return self.c.unit


include "_engine_runs.pxi"
