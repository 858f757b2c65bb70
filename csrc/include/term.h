/*
 * Tile terms: the objective (v - t)^T Q (v - t) + sum over tiles of f(v_b), and the heuristics that
 * search under one.  Conventions are those of engine.h; a term sees the doubled coordinates of a
 * tile as they are, everything else is relative to the target's origin.
 *
 * Products and sums are plain (no fused operations) and in one fixed order, so that the NumPy twin
 * of every function here gives the same bits.
 */
#ifndef MORSR_TERM_H
#define MORSR_TERM_H

#include <stddef.h>
#include <stdint.h>

#include "cpu_level.h"

enum { MORSR_TERM_OK = 0, MORSR_TERM_MORE = 1, MORSR_TERM_NO_MEMORY = -1, MORSR_TERM_RANGE = -2 };

/* Kinds of terms; what they need of the fields below. */
enum {
    MORSR_TERM_RADIAL = 1,    /* table[k] at squared norm 2k, k < count; infinite beyond */
    MORSR_TERM_SEPARABLE = 2, /* sum over i of table[i * count + d_i - first]; infinite beyond */
    MORSR_TERM_CQE = 3        /* the composite objective, constants as objectives/cqe.py lays out */
};

typedef struct morsr_term {
    int kind, count, first;
    const double *table;
    double rim; /* radial: norm of the longest vectors allowed */
} morsr_term;

/* One (Q, order) under a term; all memory is the caller's. */
typedef struct morsr_term_factor {
    int m;
    const double *diag;   /* as in morsr_factor */
    const double *w;      /* as in morsr_factor */
    const double *weight; /* [m][m]: weight of the look-ahead of tile b when tile j is decided */
    const double *roots;  /* [8][240] doubled coordinates of the roots */
    morsr_term term;      /* in lattice units */
} morsr_term_factor;

/* The objective of one target, in lattice units and natural order. */
typedef struct morsr_term_form {
    int m;
    const double *q;      /* [n][n] */
    const double *target; /* [n] target / scale */
    const double *quad;   /* [m][240] alpha^T Q_bb alpha, from root_quad */
    const double *roots;
    morsr_term term;
} morsr_term_form;

typedef struct morsr_term_beam morsr_term_beam;
typedef struct morsr_term_walk morsr_term_walk;

typedef struct morsr_term_kernels {
    const char *level;
    void (*values)(const morsr_term *t, const int32_t *points, int64_t count, double *out);
    /* quad[i] = ||U (p_i - c)||^2 and term[i] of points relative to the origin o. */
    void (*costs)(const morsr_term *t, const double *u, const double *c, const int32_t *o,
                  const int32_t *points, int64_t count, double *quad, double *term);
    /* The best children (at most `branch`) of each of `count` centres by cost with term; found[i]
       of them, the rest of a row is infinite. */
    int (*near)(const morsr_term *t, const double *roots, const double *u, const double *c,
                int64_t count, const int32_t *o, int branch, int32_t *points, double *total,
                int32_t *found);
    void (*root_quad)(const double *q, const double *roots, int m, double *quad);

    /* A beam of at most `width` nodes; centre and origin by position.  What costs more than
       `limit` is dropped. */
    morsr_term_beam *(*beam_new)(const morsr_term_factor *f, const double *centre,
                                 const int32_t *origin, int width, int branch, double gamma,
                                 double limit);
    int (*beam_step)(morsr_term_beam *b, int64_t ticks);
    int64_t (*beam_ticks)(const morsr_term_beam *b);
    /* After the last step: 1 and the best point, relative and by position; 0: none. */
    int (*beam_best)(const morsr_term_beam *b, int32_t *point, double *total);
    void (*beam_free)(morsr_term_beam *b);

    /* Descent over single roots, then a walk over them until `patience` steps have found nothing
       better (engine_walk.inc has the like without a term). */
    morsr_term_walk *(*walk_new)(const morsr_term_form *f, const int32_t *doubled,
                                 int64_t patience, uint64_t seed);
    int (*walk_step)(morsr_term_walk *w, int64_t ticks);
    int64_t (*walk_ticks)(const morsr_term_walk *w);
    /* The best point, and what the descent alone ended at (may be NULL). */
    void (*walk_best)(const morsr_term_walk *w, int32_t *doubled, int32_t *descent);
    void (*walk_free)(morsr_term_walk *w);
} morsr_term_kernels;

/* Kernels of a level: 0 baseline, 1 avx2, 2 avx512; NULL where this machine lacks it. */
const morsr_term_kernels *morsr_term_level(int level);

#endif
