/* The k nearest points of E8 under a tile's own metric, in canonical order.
 *
 * Points are doubled coordinates d (E8: all of one parity, sum divisible by 4), the point itself
 * is p = d/2.  U is upper triangular with a positive diagonal, row-major 8x8 (what lies below the
 * diagonal is not read), c the centre in the units of p.  The cost of a point is computed as
 *
 *     cost = base
 *     for i = 7..0:  s = 0;  for k = 7..i+1: s = fma(U[i][k], e[k], s)
 *                    z = fma(U[i][i], e[i], s);  cost = fma(z, z, cost)
 *
 * with e[k] = d[k]/2 - c[k] rounded once: the same bits on every CPU.  Canonical order is by
 * (cost, d), d lexicographically from d[0].  The search is exact with respect to these computed
 * costs: rounding can neither lose nor add a point.
 */
#ifndef MORSR_E8_KNEAREST_H
#define MORSR_E8_KNEAREST_H

#include <stdint.h>

#define E8_OK 0
#define E8_BAD_ARGUMENT 1 /* k < 1, NaN, or a diagonal entry that is not positive and finite */
#define E8_RANGE 2        /* coordinates beyond +-2^29: centre or conditional centre too far out */

typedef struct {
    double cost;
    int32_t d[8];
} e8_point;

/* A place in the canonical order. */
typedef e8_point e8_cursor;

/* Whether a comes before b in the canonical order. */
static inline int e8_before(const e8_point *a, const e8_point *b) {
    if (a->cost != b->cost) return a->cost < b->cost;
    for (int i = 0; i < 8; ++i)
        if (a->d[i] != b->d[i]) return a->d[i] < b->d[i];
    return 0;
}

/* Writes the first *count <= k points, in canonical order, among those with cost <= limit that
 * come strictly after *after (NULL: all).  *count < k means there are no more.  limit may be
 * infinite.  *nodes is increased by the number of candidates (partial points) whose cost was
 * computed: the same on every CPU.  out must hold k entries. */
typedef int e8_knearest_fn(const double U[64], const double c[8], double base, double limit,
                           const e8_cursor *after, int k, e8_point *out, int *count,
                           int64_t *nodes);

/* At the level in use (e8_decode.h), and at each level. */
e8_knearest_fn e8_knearest;
e8_knearest_fn e8_knearest_baseline, e8_knearest_avx2, e8_knearest_avx512;

#endif
