/*
 * Search kernels of morsr: block triangular factors, beams, enumeration, descent.
 *
 * Conventions.  n = 8 m coordinates in m tiles of 8.  "Position" is a place in a tile order;
 * the tile at position m-1 is decided first, the one at position 0 last.  Lattice points are
 * doubled integer coordinates.  Costs are in lattice units: the objective divided by scale^2.
 *
 * Every function exists once per CPU level and gives the same bits on each: sums run in one
 * fixed order, vectors run over independent elements only, every fused operation is explicit.
 */
#ifndef MORSR_ENGINE_H
#define MORSR_ENGINE_H

#include <stddef.h>
#include <stdint.h>

/* Status codes; every function that can fail returns one. */
enum {
    MORSR_OK = 0,       /* done */
    MORSR_MORE = 1,     /* the budget is used, call again */
    MORSR_NO_MEMORY = -1,
    MORSR_RANGE = -2    /* a coordinate left the range of 32-bit doubled coordinates */
};

/* Vectors of the table of short vectors that are looked at together. */
#define SHORT_BATCH 32

/* Deterministic work: 64 ticks are one unit, about a microsecond of one current core. */
#define MORSR_TICKS_PER_UNIT 64

/* What depends on (Q, order) alone; shared by all targets.  All memory is the caller's. */
typedef struct morsr_factor {
    int m;                /* tiles */
    const double *diag;   /* [m][8][8] diagonal blocks U_jj, upper triangular, row-major */
    const double *w;      /* blocks W_bj = (U^-1)_bj U_jj, b < j, at (j(j-1)/2 + b) * 64, [k][i]:
                             column k of tile j, row i of tile b */
    const double *quad;   /* [m][240] alpha^T U_jj^T U_jj alpha for the roots, from tile_quad */
    /* Short vectors of E8, one of each pair a, -a, sorted by |U_jj a|^2: per tile 9 rows of
       short_count floats: a_0 .. a_7 and the squared norm, rounded to nearest.
       All vectors of squared norm below short_limit[j] are there; rows are filled up with
       infinite norms.  short_count is a multiple of SHORT_BATCH, or 0: no table. */
    int short_count;
    const float *short_vectors;
    const double *short_limit;
    /* [m] coupling[j] >= ||(U^-1)_Fj||_2 for the tiles F before j: how far deciding tile j at cost
       tau moves the centres of F, at most coupling[j] * sqrt(tau).  Used with a table only. */
    const double *coupling;
    const double *lambda; /* [m+1] lambda[j]: for the bound of the free tiles 0..j-1 */
} morsr_factor;

/* A factor as beams see it, in float32 and in units of `unit` (a power of four), from rank_tables. */
typedef struct morsr_ranking {
    double unit;
    const float *w;         /* as in morsr_factor */
    const float *upper;     /* [m][8][8] U_jj, column after column */
    const float *metric;    /* [m][8][8] U_jj^T U_jj */
    const float *inverse;   /* [m][8][8] its inverse */
    const float *half_quad; /* [m][120] half of alpha^T U_jj^T U_jj alpha, one of alpha, -alpha */
    /* Weights of the look-ahead and where its slope bends: for each j a row of j entries, filled up
       with zeros to a multiple of eight, one row after the other. */
    const float *weight, *bend;
} morsr_ranking;

typedef struct morsr_objective {
    int m;
    double scale;
    const double *q;      /* [n][n] */
    const double *target; /* [n] */
} morsr_objective;

typedef struct morsr_beam morsr_beam;
typedef struct morsr_prove morsr_prove;

/* One open chamber found by an interrupted enumeration (paper section 3.2, DESIGN section 2). */
typedef struct morsr_chamber {
    int32_t depth;   /* number of pinned tiles */
    int32_t has_after; /* 1: `after` holds the last child that was taken; 2: the first that was not;
                          0: no child was taken */
    int64_t skip;    /* number of children taken in canonical order */
    double bound;    /* lower bound of everything in it, lattice units, before delta */
} morsr_chamber;

typedef struct morsr_kernels {
    const char *level;

    /* A = U^T U in place (upper triangle; the rest is not touched).  Returns -1 or the index of
       the first pivot that is not positive; rows before it are then final. */
    int (*cholesky)(double *a, int n);
    /* G = U^-1 by back substitution, so that |U G - I| <= gamma_n |U||G|.  G is overwritten. */
    void (*tri_inverse)(const double *u, double *g, int n);
    /* Diagonal blocks and W of morsr_factor from U and G. */
    void (*factor_blocks)(const double *u, const double *g, double *diag, double *w, int m);
    /* out[j] >= ||(U^-1)_Fj||_2 from the blocks of W and U_jj. */
    void (*couplings)(const double *diag, const double *w, int m, double *out);
    void (*tile_quad)(const double *diag, int m, double *quad);
    /* out[0] >= || |U||G| ||_2^2, out[1] >= max_j || |U_jj||G_jj| ||_F, out[2] = trace of U^T U,
       up to the rounding of these sums themselves. */
    void (*factor_norms)(const double *u, const double *g, int m, double out[3], double *work);
    /* Estimates of the least eigenvalue of every leading block (not proven): power iteration on
       the leading blocks of G; work has 3n doubles. */
    void (*lambda_estimates)(const double *g, int m, int sizes, double *lambda, double *work);
    /* P = G G^T, then the V-BLAST order: position m-1 first.  p has n*n doubles. */
    void (*vblast)(const double *g, double *p, int m, int32_t *order, double *work);

    /* The objective at a lattice point, one fixed order of operations; work has 2n doubles. */
    double (*evaluate)(const morsr_objective *f, const int32_t *doubled, double *work);
    /* Root-move descent: changes `doubled` until no single root improves (or max_sweeps);
       returns ticks.  quad: [m][240] from root_quad; work has 2n doubles. */
    int64_t (*descend)(const morsr_objective *f, const double *quad, int32_t *doubled,
                       int max_sweeps, double *work);
    /* quad[b][r] = alpha_r^T Q_bb alpha_r for the 240 roots. */
    void (*root_quad)(const double *q, int m, double *quad);

    /* Sum over the tiles 0..j-1 of dist^2(c_b, E8): the look-ahead of one node. */
    double (*free_distance)(const double *centres, int j);

    /* Fills the arrays of a morsr_ranking and returns its unit; work has 2m doubles. */
    double (*rank_tables)(const morsr_factor *f, float *w, float *upper, float *metric,
                          float *inverse, float *half_quad, float *weight, float *bend,
                          double *work);
    morsr_beam *(*beam_new)(const morsr_factor *f, const morsr_ranking *r, const double *centre,
                            int width, int branch, double gamma, double limit);
    int (*beam_step)(morsr_beam *b, int64_t ticks);
    int64_t (*beam_ticks)(const morsr_beam *b);
    /* Once, after the last step: 1, the best completed point (doubled, relative to the origin of
       `centre`) and its cost in float64; 0 when there is none; or MORSR_RANGE. */
    int (*beam_best)(morsr_beam *b, int32_t *doubled, double *cost);
    void (*beam_free)(morsr_beam *b);
    /* Block Babai with root moves under each tile's metric; centre is overwritten. */
    int (*babai)(const morsr_factor *f, double *centre, int32_t *doubled, int64_t *ticks);

    /* Enumeration below one chamber.  prefix: doubled coordinates of positions m-1, m-2, ...
       (8 each); after: last child already taken, or NULL; inclusive: that child is still to be
       taken, those before it are not.  skip: number of children before.  Points costing more than `limit` are
       pruned; `split` > 0 hands back children of the chamber's own node instead of entering
       them, at most that many.  objective, base and order (tile at each position) let a better
       point be judged by its objective proper: limit shrinks with it by `slack` =
       1/(scale^2 (1 - delta)). */
    morsr_prove *(*prove_new)(const morsr_factor *f, const double *centre, const int32_t *prefix,
                              int depth, const int32_t *after, int inclusive, int64_t skip,
                              int64_t split, const morsr_objective *objective, const int32_t *base,
                              const int32_t *order, double best, double slack);
    int (*prove_step)(morsr_prove *p, int64_t ticks);
    int64_t (*prove_ticks)(const morsr_prove *p);
    /* Ticks since the chamber's own children were first listed: what a budget is held against, so
       that every enumeration gets beyond the cost of taking up its chamber. */
    int64_t (*prove_spent)(const morsr_prove *p);
    /* After the last step: stops where it stands and lists what is left as chambers. */
    int (*prove_close)(morsr_prove *p);
    int64_t (*prove_count)(const morsr_prove *p);
    const morsr_chamber *(*prove_chamber)(const morsr_prove *p, int64_t i,
                                          const int32_t **prefix, const int32_t **after);
    /* [m] by depth: rank of each tile of the i-th chamber's prefix among the children of its node in
       canonical order; 0 above the depth the enumeration began at. */
    const int64_t *(*prove_ranks)(const morsr_prove *p, int64_t i);
    int (*prove_best)(const morsr_prove *p, int32_t *doubled, double *objective);
    void (*prove_stats)(const morsr_prove *p, int64_t out[4]);
    void (*prove_free)(morsr_prove *p);
} morsr_kernels;

/* Kernels of a level: 0 baseline, 1 avx2, 2 avx512; NULL where this machine lacks it. */
const morsr_kernels *morsr_engine_level(int level);
/* The highest level this machine has. */
int morsr_engine_best_level(void);

#endif
