# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""Thin binding to csrc/include/term.h: passes pointers, owns memory, releases the GIL.

Shapes and values are checked above, in the kinds of terms and in search/term_kernels.py.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t


cdef extern from "term.h" nogil:
    enum:
        MORSR_TERM_OK
        MORSR_TERM_NO_MEMORY
        MORSR_TERM_RANGE
        MORSR_TERM_RADIAL
        MORSR_TERM_SEPARABLE
        MORSR_TERM_CQE

    ctypedef struct morsr_term:
        int kind
        int count
        int first
        const double *table
        double rim

    ctypedef struct morsr_term_factor:
        int m
        const double *diag
        const double *w
        const double *weight
        const double *roots
        morsr_term term

    ctypedef struct morsr_term_form:
        int m
        const double *q
        const double *target
        const double *quad
        const double *roots
        morsr_term term

    ctypedef struct morsr_term_beam:
        pass
    ctypedef struct morsr_term_walk:
        pass

    ctypedef struct morsr_term_kernels:
        const char *level
        void (*values)(const morsr_term *, const int32_t *, int64_t, double *) noexcept nogil
        void (*costs)(const morsr_term *, const double *, const double *, const int32_t *,
                      const int32_t *, int64_t, double *, double *) noexcept nogil
        int (*near)(const morsr_term *, const double *, const double *, const double *, int64_t,
                    const int32_t *, int, int32_t *, double *, int32_t *) noexcept nogil
        void (*root_quad)(const double *, const double *, int, double *) noexcept nogil
        morsr_term_beam *(*beam_new)(const morsr_term_factor *, const double *, const int32_t *,
                                     int, int, double, double) noexcept nogil
        int (*beam_step)(morsr_term_beam *, int64_t) noexcept nogil
        int64_t (*beam_ticks)(const morsr_term_beam *) noexcept nogil
        int (*beam_best)(const morsr_term_beam *, int32_t *, double *) noexcept nogil
        void (*beam_free)(morsr_term_beam *) noexcept nogil
        morsr_term_walk *(*walk_new)(const morsr_term_form *, const int32_t *, int64_t, uint64_t) noexcept nogil
        int (*walk_step)(morsr_term_walk *, int64_t) noexcept nogil
        int64_t (*walk_ticks)(const morsr_term_walk *) noexcept nogil
        void (*walk_best)(const morsr_term_walk *, int32_t *, int32_t *) noexcept nogil
        void (*walk_free)(morsr_term_walk *) noexcept nogil

    const morsr_term_kernels *morsr_term_level(int)
    int morsr_cpu_level()


RADIAL = MORSR_TERM_RADIAL
SEPARABLE = MORSR_TERM_SEPARABLE
CQE = MORSR_TERM_CQE
cdef const morsr_term_kernels *K = morsr_term_level(morsr_cpu_level())


def set_level(int level):
    """Use the kernels of one CPU level from now on; objects made before keep theirs."""
    global K
    cdef const morsr_term_kernels *table = morsr_term_level(level)
    if table == NULL:
        raise ValueError("this CPU lacks that level")
    K = table


cdef _check(int status):
    if status == MORSR_TERM_NO_MEMORY:
        raise MemoryError("out of memory in the kernels of tile terms")
    if status == MORSR_TERM_RANGE:
        raise OverflowError("a coordinate left the range of 32-bit doubled coordinates")


cdef class Term:
    """morsr_term over a table that it keeps alive."""

    cdef morsr_term c
    cdef const double[::1] table

    def __init__(self, int kind, int count, int first, const double[::1] table, double rim):
        self.table = table
        self.c.kind, self.c.count, self.c.first, self.c.rim = kind, count, first, rim
        self.c.table = &self.table[0]

    def values(self, const int32_t[:, ::1] points, double[::1] out):
        cdef int64_t count = points.shape[0]
        with nogil:
            K.values(&self.c, &points[0, 0], count, &out[0])

    def costs(self, const double[::1] u, const double[::1] centre, const int32_t[::1] origin,
              const int32_t[:, ::1] points, double[::1] quad, double[::1] term):
        cdef int64_t count = points.shape[0]
        with nogil:
            K.costs(&self.c, &u[0], &centre[0], &origin[0], &points[0, 0], count, &quad[0],
                    &term[0])

    def near(self, const double[:, ::1] roots, const double[::1] u, const double[:, ::1] centres,
             const int32_t[::1] origin, int32_t[:, :, ::1] points, double[:, ::1] total,
             int32_t[::1] found):
        cdef int64_t count = centres.shape[0]
        cdef int status, branch = <int>total.shape[1]
        with nogil:
            status = K.near(&self.c, &roots[0, 0], &u[0], &centres[0, 0], count, &origin[0],
                            branch, &points[0, 0, 0], &total[0, 0], &found[0])
        _check(status)


def root_quad(const double[:, ::1] q, const double[:, ::1] roots, double[:, ::1] quad):
    cdef int m = <int>(q.shape[0] // 8)
    with nogil:
        K.root_quad(&q[0, 0], &roots[0, 0], m, &quad[0, 0])


cdef class Beam:
    """One beam under a term, in steps; centre and origin by position."""

    cdef morsr_term_beam *b
    cdef const morsr_term_kernels *k
    cdef morsr_term_factor c
    cdef const double[::1] diag
    cdef const double[::1] w
    cdef const double[:, ::1] weight
    cdef const double[:, ::1] roots
    cdef Term term

    def __init__(self, const double[::1] diag, const double[::1] w, const double[:, ::1] weight,
                 const double[:, ::1] roots, Term term, const double[::1] centre,
                 const int32_t[::1] origin, int width, int branch, double gamma, double limit):
        self.diag, self.w, self.weight, self.roots, self.term = diag, w, weight, roots, term
        self.c.m = <int>(centre.shape[0] // 8)
        self.c.diag, self.c.w = &self.diag[0], &self.w[0]
        self.c.weight, self.c.roots = &self.weight[0, 0], &self.roots[0, 0]
        self.c.term = term.c
        self.k = K
        self.b = K.beam_new(&self.c, &centre[0], &origin[0], width, branch, gamma, limit)
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
        return status == MORSR_TERM_OK

    @property
    def ticks(self):
        return self.k.beam_ticks(self.b)

    def best(self, int32_t[::1] out):
        """After the last step: the cost of the best point, which goes into out, or None."""
        cdef double total = 0.0
        return total if self.k.beam_best(self.b, &out[0], &total) == 1 else None


cdef class Walk:
    """Descent and walk over root moves under a term; doubled: absolute, natural order."""

    cdef morsr_term_walk *w
    cdef const morsr_term_kernels *k
    cdef morsr_term_form c
    cdef const double[:, ::1] q
    cdef const double[::1] target
    cdef const double[:, ::1] quad
    cdef const double[:, ::1] roots
    cdef Term term

    def __init__(self, const double[:, ::1] q, const double[::1] target,
                 const double[:, ::1] quad, const double[:, ::1] roots, Term term,
                 const int32_t[::1] doubled, int64_t patience, uint64_t seed):
        self.q, self.target, self.quad, self.roots, self.term = q, target, quad, roots, term
        self.c.m = <int>(q.shape[0] // 8)
        self.c.q, self.c.target = &self.q[0, 0], &self.target[0]
        self.c.quad, self.c.roots = &self.quad[0, 0], &self.roots[0, 0]
        self.c.term = term.c
        self.k = K
        with nogil:
            self.w = self.k.walk_new(&self.c, &doubled[0], patience, seed)
        if self.w == NULL:
            raise MemoryError("out of memory for a walk")

    def __dealloc__(self):
        if self.w != NULL:
            self.k.walk_free(self.w)

    def step(self, int64_t ticks):
        cdef int status
        with nogil:
            status = self.k.walk_step(self.w, ticks)
        return status == MORSR_TERM_OK

    @property
    def ticks(self):
        return self.k.walk_ticks(self.w)

    def best(self, int32_t[::1] out, int32_t[::1] descent):
        """The best point, and what the descent alone ended at."""
        self.k.walk_best(self.w, &out[0], &descent[0])
