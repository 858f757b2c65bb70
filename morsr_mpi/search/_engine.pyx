# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Thin binding to csrc/include/engine.h: passes pointers, owns memory, releases the GIL.

Shapes and values are checked one floor up, in kernels.py; nothing here is for users.
"""

from libc.stdint cimport int32_t, int64_t


cdef extern from "engine.h":
    enum:
        MORSR_OK
        MORSR_MORE
        MORSR_NO_MEMORY
        MORSR_RANGE
        MORSR_TICKS_PER_UNIT
        MORSR_SHORT_BATCH "SHORT_BATCH"

    ctypedef struct morsr_factor:
        int m
        const double *diag
        const double *w
        const double *quad
        int short_count
        const float *short_vectors
        const double *short_limit
        const double *coupling
        const double *lambda_ "lambda"

    ctypedef struct morsr_ranking:
        double unit
        const float *w
        const float *upper
        const float *metric
        const float *inverse
        const float *half_quad
        const float *weight
        const float *bend

    ctypedef struct morsr_objective:
        int m
        double scale
        const double *q
        const double *target

    ctypedef struct morsr_chamber:
        int32_t depth
        int32_t has_after
        int64_t skip
        double bound

    ctypedef struct morsr_beam:
        pass

    ctypedef struct morsr_prove:
        pass

    ctypedef struct morsr_kernels:
        const char *level
        int (*cholesky)(double *, int) nogil
        void (*tri_inverse)(const double *, double *, int) nogil
        void (*factor_blocks)(const double *, const double *, double *, double *, int) nogil
        void (*couplings)(const double *, const double *, int, double *) nogil
        void (*tile_quad)(const double *, int, double *) nogil
        void (*factor_norms)(const double *, const double *, int, double *, double *) nogil
        void (*lambda_estimates)(const double *, int, int, double *, double *) nogil
        void (*vblast)(const double *, double *, int, int32_t *, double *) nogil
        double (*evaluate)(const morsr_objective *, const int32_t *, double *) nogil
        int64_t (*descend)(const morsr_objective *, const double *, int32_t *, int, double *) nogil
        void (*root_quad)(const double *, int, double *) nogil
        double (*free_distance)(const double *, int) nogil
        double (*rank_tables)(const morsr_factor *, float *, float *, float *, float *, float *,
                              float *, float *, double *) nogil
        morsr_beam *(*beam_new)(const morsr_factor *, const morsr_ranking *, const double *, int,
                                int, double, double) nogil
        int (*beam_step)(morsr_beam *, int64_t) nogil
        int64_t (*beam_ticks)(const morsr_beam *) nogil
        int (*beam_best)(morsr_beam *, int32_t *, double *) nogil
        void (*beam_free)(morsr_beam *) nogil
        int (*babai)(const morsr_factor *, double *, int32_t *, int64_t *) nogil
        morsr_prove *(*prove_new)(const morsr_factor *, const double *, const int32_t *, int,
                                  const int32_t *, int, int64_t, int64_t, const morsr_objective *,
                                  const int32_t *, const int32_t *, double, double) nogil
        int (*prove_step)(morsr_prove *, int64_t) nogil
        int64_t (*prove_ticks)(const morsr_prove *) nogil
        int64_t (*prove_spent)(const morsr_prove *) nogil
        int (*prove_close)(morsr_prove *) nogil
        int64_t (*prove_count)(const morsr_prove *) nogil
        const morsr_chamber *(*prove_chamber)(const morsr_prove *, int64_t, const int32_t **,
                                              const int32_t **) nogil
        const int64_t *(*prove_ranks)(const morsr_prove *, int64_t) nogil
        int (*prove_best)(const morsr_prove *, int32_t *, double *) nogil
        void (*prove_stats)(const morsr_prove *, int64_t *) nogil
        void (*prove_free)(morsr_prove *) nogil

    const morsr_kernels *morsr_engine_level(int)
    int morsr_engine_best_level()


TICKS_PER_UNIT = MORSR_TICKS_PER_UNIT
SHORT_BATCH = MORSR_SHORT_BATCH
cdef const morsr_kernels *K = morsr_engine_level(morsr_engine_best_level())


def best_level():
    return morsr_engine_best_level()


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


def couplings(const double[::1] diag, const double[::1] w, double[::1] out):
    K.couplings(&diag[0], &w[0], <int>(diag.shape[0] // 64), &out[0])


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


def free_distance(const double[::1] centres, int tiles):
    return K.free_distance(&centres[0], tiles)


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


cdef class FactorView:
    """morsr_factor over NumPy arrays that it keeps alive."""

    cdef morsr_factor c
    cdef const double[::1] diag
    cdef const double[::1] w
    cdef const double[::1] quad
    cdef const double[::1] bounds
    cdef const float[::1] vectors
    cdef const double[::1] limits
    cdef const double[::1] coupling

    def __init__(self, int m, const double[::1] diag, const double[::1] w,
                 const double[::1] quad, const double[::1] bounds,
                 const float[::1] vectors, const double[::1] limits,
                 const double[::1] coupling):
        self.diag, self.w, self.quad, self.bounds = diag, w, quad, bounds
        self.vectors, self.limits, self.coupling = vectors, limits, coupling
        self.c.coupling = &self.coupling[0]
        self.c.short_count = <int>(vectors.shape[0] // (9 * m))
        self.c.short_vectors = &self.vectors[0] if vectors.shape[0] else NULL
        self.c.short_limit = &self.limits[0]
        self.c.m = m
        self.c.diag = &self.diag[0]
        self.c.w = &self.w[0]
        self.c.quad = &self.quad[0]
        self.c.lambda_ = &self.bounds[0]


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
                 double[::1] work):
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
        self.c.weight, self.c.bend = weight, bend

    @property
    def unit(self):
        return self.c.unit


cdef class Beam:
    cdef morsr_beam *b
    cdef const morsr_kernels *k
    cdef RankingView ranking

    def __init__(self, RankingView ranking, const double[::1] centre, int width, int branch,
                 double gamma, double limit):
        self.ranking = ranking
        self.k = K
        self.b = K.beam_new(&ranking.factor.c, &ranking.c, &centre[0], width, branch, gamma, limit)
        if self.b == NULL:
            raise MemoryError("out of memory for a beam; use a smaller width")

    def __dealloc__(self):
        if self.b != NULL:
            self.k.beam_free(self.b)

    def step(self, int64_t ticks):
        cdef int status
        with nogil:
            status = self.k.beam_step(self.b, ticks)
        _check(status)
        return status == MORSR_OK

    @property
    def ticks(self):
        return self.k.beam_ticks(self.b)

    def best(self, int32_t[::1] out):
        """Once, after the last step: the cost of the best point, which goes into out, or None."""
        cdef int found
        cdef double cost = 0.0
        with nogil:
            found = self.k.beam_best(self.b, &out[0], &cost)
        _check(found)
        return cost if found == 1 else None


def babai(FactorView factor, double[::1] centre, int32_t[::1] out):
    """Block Babai; centre is overwritten.  Returns the ticks."""
    cdef int64_t ticks = 0
    cdef int status
    with nogil:
        status = K.babai(&factor.c, &centre[0], &out[0], &ticks)
    _check(status)
    return ticks


cdef class Prove:
    cdef morsr_prove *p
    cdef const morsr_kernels *k
    cdef FactorView factor
    cdef Objective objective
    cdef const int32_t[::1] base
    cdef const int32_t[::1] order
    cdef int n

    def __init__(self, FactorView factor, const double[::1] centre, const int32_t[::1] prefix,
                 int depth, const int32_t[::1] after, bint inclusive, int64_t skip, int64_t split,
                 Objective objective, const int32_t[::1] base, const int32_t[::1] order,
                 double best, double slack):
        self.factor, self.objective, self.base, self.order = factor, objective, base, order
        self.k = K
        self.n = 8 * factor.c.m
        # Both arrays have at least one entry; a chamber without a last child has skip 0.
        self.p = K.prove_new(&factor.c, &centre[0], &prefix[0], depth,
                             &after[0] if skip > 0 else NULL, inclusive, skip, split, &objective.c,
                             &self.base[0], &self.order[0], best, slack)
        if self.p == NULL:
            raise MemoryError("out of memory for an enumeration")

    def __dealloc__(self):
        if self.p != NULL:
            self.k.prove_free(self.p)

    def step(self, int64_t ticks):
        cdef int status
        with nogil:
            status = self.k.prove_step(self.p, ticks)
        _check(status)
        return status == MORSR_OK

    def close(self):
        _check(self.k.prove_close(self.p))

    @property
    def ticks(self):
        return self.k.prove_ticks(self.p)

    @property
    def spent(self):
        return self.k.prove_spent(self.p)

    @property
    def count(self):
        return self.k.prove_count(self.p)

    def chamber(self, int64_t i, int32_t[::1] prefix, int64_t[::1] ranks, int32_t[::1] after):
        """(depth, skip, bound, inclusive); coordinates and ranks go into the arrays."""
        cdef const int64_t *from_ranks = self.k.prove_ranks(self.p, i)
        cdef const int32_t *from_prefix
        cdef const int32_t *from_after
        cdef const morsr_chamber *c = self.k.prove_chamber(self.p, i, &from_prefix, &from_after)
        cdef int j
        for j in range(8 * c.depth):
            prefix[j] = from_prefix[j]
        for j in range(c.depth):
            ranks[j] = from_ranks[j]
        for j in range(8):
            after[j] = from_after[j]
        return c.depth, c.skip, c.bound, c.has_after == 2

    def best(self, int32_t[::1] out):
        cdef double value = 0.0
        return value if self.k.prove_best(self.p, &out[0], &value) else None

    def stats(self):
        """Nodes entered, enumeration nodes, tile look-aheads, completed points."""
        cdef int64_t out[4]
        self.k.prove_stats(self.p, out)
        return out[0], out[1], out[2], out[3]
