# What runs in steps: beams, walks, enumerations.  Included by _engine.pyx.

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


cdef class Walk:
    """Root moves from a point until `patience` of them found none better; seed: one of many walks."""

    cdef morsr_walk *w
    cdef const morsr_kernels *k
    cdef Objective objective

    def __init__(self, Objective objective, const int32_t[::1] doubled, int64_t patience,
                 uint64_t seed):
        self.objective = objective
        self.k = K
        with nogil:
            self.w = K.walk_new(&objective.c, &doubled[0], patience, seed,
                                &objective.work[0])
        if self.w == NULL:
            raise MemoryError("out of memory for a walk")

    def __dealloc__(self):
        if self.w != NULL:
            self.k.walk_free(self.w)

    def step(self, int64_t ticks):
        cdef int status
        with nogil:
            status = self.k.walk_step(self.w, ticks)
        return status == MORSR_OK

    @property
    def ticks(self):
        return self.k.walk_ticks(self.w)

    def best(self, int32_t[::1] out):
        self.k.walk_best(self.w, &out[0])


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
        if factor.c.weights == NULL:
            raise ValueError("an enumeration needs a factor with weights")
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
        """Nodes entered, enumeration nodes, tile look-aheads, completed points, block look-aheads."""
        cdef int64_t out[5]
        self.k.prove_stats(self.p, out)
        return out[0], out[1], out[2], out[3], out[4]
