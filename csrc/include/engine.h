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

#include "cpu_level.h"

/* Status codes; every function that can fail returns one. */
enum {
    MORSR_OK = 0,       /* done */
    MORSR_MORE = 1,     /* the budget is used, call again */
    MORSR_NO_MEMORY = -1,
    MORSR_RANGE = -2    /* a coordinate left the range of 32-bit doubled coordinates */
};

/* Vectors of the table of short vectors that are looked at together. */
#define SHORT_BATCH 16

/* Tiles up to which weights are made coordinate by coordinate (propose_weights). */
#define MORSR_WEIGHT_TILES 16

/* Deterministic work: 64 ticks are one unit, about a microsecond of one current core. */
#define MORSR_TICKS_PER_UNIT 64

/* Tables of short vectors of E8 (engine_table.inc). */
typedef struct morsr_tables {
    const float *rows; /* NULL: no tables */
    const int32_t *counts;
    const int64_t *starts; /* of each table, in floats */
    const double *limits;
} morsr_tables;

/* What depends on (Q, order) alone; shared by all targets.  All memory is the caller's. */
typedef struct morsr_factor {
    int m;                /* tiles */
    const double *diag;   /* [m][8][8] diagonal blocks U_jj, upper triangular, row-major */
    const double *w;      /* blocks W_bj = (U^-1)_bj U_jj, b < j, at (j(j-1)/2 + b) * 64, [k][i]:
                             column k of tile j, row i of tile b */
    const double *quad;   /* [m][240] alpha^T U_jj^T U_jj alpha for the roots, from tile_quad */
    /* Short vectors under the metric of each tile, U_jj^T U_jj: m tables, or none. */
    morsr_tables children;
    /* [m] coupling[j] >= ||D^(1/2) (U^-1)_Fj||_2 for the tiles F before j and their weights D: how
       far deciding tile j at cost tau moves the centres of F, at most coupling[j] * sqrt(tau) in
       the norm of the weights.  Used with a table only. */
    const double *coupling;
    const double *block_coupling; /* the same for the blocks below */
    const double *lambda; /* [m+1] lambda[j]: a beam's weight of the free tiles 0..j-1 */
    /* Of the enumeration's look-ahead: for each j = 1 .. m the 8 j weights of the tiles 0 .. j-1,
       one list after the other; the list of j begins at 4 j (j - 1). */
    const double *weights;
    /* Its second look-ahead, m <= MORSR_WEIGHT_TILES: for each j the 8x8 blocks of the tiles 0 ..
       j-1 and a table for each, those of j from j (j - 1) / 2 on.  NULL: none. */
    const double *blocks;
    morsr_tables free;
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
    int band; /* width in tiles of the band of Q in this order; 0: none to be used */
} morsr_ranking;

typedef struct morsr_objective {
    int m;
    double scale;
    const double *q;      /* [n][n] */
    const double *target; /* [n] */
} morsr_objective;

typedef struct morsr_beam morsr_beam;
typedef struct morsr_walk morsr_walk;
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
    /* morsr_factor.coupling from the blocks of W and U_jj and the weights, or block_coupling (then
       weights are not read). */
    void (*couplings)(const double *diag, const double *w, const double *weights,
                      const double *blocks, int m, double *out);
    /* Weights and blocks for morsr_factor (m <= MORSR_WEIGHT_TILES), not proven (engine_bound.inc).
       g: of Q, of Q - least I; s has n*n doubles, work 18 n. */
    void (*propose_weights)(const double *g, int m, double *weights, double *s, double *work);
    void (*propose_blocks)(const double *g, int m, int all, double least, double *blocks,
                           double *d, double *s, double *work);
    int64_t (*short_tables)(const double *grams, int tiles, const double *half, int count,
                            double next, double least, double most, float *out, int32_t *counts,
                            double *limits);
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

    /* Look-ahead of one node with the tiles 0..j-1 free, under the weights of j (8 j of them);
       part[b]: what tile b adds. */
    double (*free_bound)(const double *weights, const double *centres, int j, double *part);
    /* The same by blocks. */
    double (*block_bound)(const morsr_factor *f, int j, const double *centres);
    /* Two look-aheads of `count` children of the node with these centres, tile j being decided:
       step[k][i] is coordinate k of p - c for child i (count doubles a row), start their partial
       costs.  Beams (crowded = 0): key = start + weight sum dist^2, eight children at a time, no
       longer than one of the eight is within `limit`.  Enumerations: the weights of the factor,
       children above `limit` get an infinite key.  Returns the tile look-aheads done (in eights),
       or -1: no memory. */
    int64_t (*look_ahead)(const morsr_factor *f, int j, const double *centres, const double *step,
                          const double *start, int count, int crowded, double weight, double limit,
                          double *key);

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
    /* Walk over root moves from a point, until `patience` steps have found none better
       (engine_walk.inc); work has n doubles and is used by walk_new alone. */
    morsr_walk *(*walk_new)(const morsr_objective *f, const int32_t *doubled, int64_t patience,
                            uint64_t seed, double *work);
    int (*walk_step)(morsr_walk *w, int64_t ticks);
    int64_t (*walk_ticks)(const morsr_walk *w);
    void (*walk_best)(const morsr_walk *w, int32_t *doubled);
    void (*walk_free)(morsr_walk *w);
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
    /* Nodes entered, enumeration nodes, tile look-aheads, completed points, look-aheads by blocks. */
    void (*prove_stats)(const morsr_prove *p, int64_t out[5]);
    void (*prove_free)(morsr_prove *p);
} morsr_kernels;

/* Kernels of a level: 0 baseline, 1 avx2, 2 avx512; NULL where this machine lacks it. */
const morsr_kernels *morsr_engine_level(int level);

#endif
