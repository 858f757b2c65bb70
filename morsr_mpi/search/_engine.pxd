# cython: language_level=3
# The kernels of csrc/include/engine.h as _engine.pyx sees them.

from libc.stdint cimport int32_t, int64_t, uint64_t


cdef extern from "engine.h":
    enum:
        MORSR_OK
        MORSR_MORE
        MORSR_NO_MEMORY
        MORSR_RANGE
        MORSR_TICKS_PER_UNIT
        MORSR_SHORT_BATCH "SHORT_BATCH"
        MORSR_WEIGHT_TILES

    ctypedef struct morsr_tables:
        const float *rows
        const int32_t *counts
        const int64_t *starts
        const double *limits

    ctypedef struct morsr_factor:
        int m
        const double *diag
        const double *w
        const double *quad
        morsr_tables children
        const double *coupling
        const double *block_coupling
        const double *lambda_ "lambda"
        const double *weights
        const double *blocks
        morsr_tables free

    ctypedef struct morsr_ranking:
        double unit
        const float *w
        const float *upper
        const float *metric
        const float *inverse
        const float *half_quad
        const float *weight
        const float *bend
        int band

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

    ctypedef struct morsr_walk:
        pass

    ctypedef struct morsr_beam:
        pass

    ctypedef struct morsr_prove:
        pass

    ctypedef struct morsr_kernels:
        const char *level
        int (*cholesky)(double *, int) nogil
        void (*tri_inverse)(const double *, double *, int) nogil
        void (*factor_blocks)(const double *, const double *, double *, double *, int) nogil
        void (*couplings)(const double *, const double *, const double *, const double *, int,
                          double *) nogil
        void (*propose_weights)(const double *, int, double *, double *, double *) nogil
        void (*propose_blocks)(const double *, int, int, double, double *, double *, double *,
                               double *) nogil
        int64_t (*short_tables)(const double *, int, const double *, int, double, double, double,
                                float *, int32_t *, double *) nogil
        void (*tile_quad)(const double *, int, double *) nogil
        void (*factor_norms)(const double *, const double *, int, double *, double *) nogil
        void (*lambda_estimates)(const double *, int, int, double *, double *) nogil
        void (*vblast)(const double *, double *, int, int32_t *, double *) nogil
        double (*evaluate)(const morsr_objective *, const int32_t *, double *) nogil
        int64_t (*descend)(const morsr_objective *, const double *, int32_t *, int, double *) nogil
        void (*root_quad)(const double *, int, double *) nogil
        double (*free_bound)(const double *, const double *, int, double *) nogil
        double (*block_bound)(const morsr_factor *, int, const double *) nogil
        int64_t (*look_ahead)(const morsr_factor *, int, const double *, const double *,
                              const double *, int, int, double, double, double *) nogil
        double (*rank_tables)(const morsr_factor *, float *, float *, float *, float *, float *,
                              float *, float *, double *) nogil
        morsr_beam *(*beam_new)(const morsr_factor *, const morsr_ranking *, const double *, int,
                                int, double, double) nogil
        int (*beam_step)(morsr_beam *, int64_t) nogil
        int64_t (*beam_ticks)(const morsr_beam *) nogil
        int (*beam_best)(morsr_beam *, int32_t *, double *) nogil
        void (*beam_free)(morsr_beam *) nogil
        morsr_walk *(*walk_new)(const morsr_objective *, const int32_t *, int64_t,
                                uint64_t, double *) nogil
        int (*walk_step)(morsr_walk *, int64_t) nogil
        int64_t (*walk_ticks)(const morsr_walk *) nogil
        void (*walk_best)(const morsr_walk *, int32_t *) nogil
        void (*walk_free)(morsr_walk *) nogil
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
    int morsr_cpu_level()
