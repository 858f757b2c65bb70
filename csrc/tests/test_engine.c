/* The search kernels: every level the same bits, exact buffers, laws that need no second opinion. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "e8_knearest.h"
#include "engine.h"

typedef struct {
    int m, n;
    double *q, *u, *g, *diag, *w, *quad, *lambda, *target, *centre, *work;
    int32_t *order, *base;
} setting;

static void *need(size_t bytes) {
    void *p = malloc(bytes ? bytes : 1);
    if (!p) abort();
    return p;
}

/* Q = A A^T / n + ridge, factored by the kernels of one level in natural order. */
static setting make(const morsr_kernels *k, int m, double ridge) {
    setting s = {.m = m, .n = 8 * m};
    const size_t n = (size_t)s.n;
    double *a = need(n * n * sizeof *a);
    check_state = (uint64_t)m;
    for (size_t i = 0; i < n * n; ++i) a[i] = check_uniform();
    s.q = need(n * n * sizeof(double));
    for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < n; ++j) {
            double t = i == j ? ridge : 0;
            for (size_t l = 0; l < n; ++l) t += a[i * n + l] * a[j * n + l] / (double)n;
            s.q[i * n + j] = t;
        }
    free(a);
    s.u = need(n * n * sizeof(double));
    memcpy(s.u, s.q, n * n * sizeof(double));
    CHECK(k->cholesky(s.u, s.n) == -1);
    s.g = need(n * n * sizeof(double));
    k->tri_inverse(s.u, s.g, s.n);
    s.diag = need((size_t)m * 64 * sizeof(double));
    s.w = need((size_t)m * (size_t)(m - 1) / 2 * 64 * sizeof(double));
    k->factor_blocks(s.u, s.g, s.diag, s.w, m);
    s.quad = need((size_t)m * 240 * sizeof(double));
    k->tile_quad(s.diag, m, s.quad);
    s.lambda = need(((size_t)m + 1) * sizeof(double));
    s.work = need(9 * n * sizeof(double));
    k->lambda_estimates(s.g, m, m, s.lambda, s.work);
    for (int j = 0; j <= m; ++j) s.lambda[j] *= 0.5; /* surely a bound */
    s.target = need(n * sizeof(double));
    s.centre = need(n * sizeof(double));
    s.base = need(n * sizeof(int32_t));
    s.order = need((size_t)m * sizeof(int32_t));
    for (int i = 0; i < s.n; ++i) s.target[i] = s.centre[i] = 2 * check_uniform(), s.base[i] = 0;
    for (int j = 0; j < m; ++j) s.order[j] = j;
    return s;
}

static void drop(setting *s) {
    free(s->q), free(s->u), free(s->g), free(s->diag), free(s->w), free(s->quad), free(s->lambda);
    free(s->target), free(s->centre), free(s->work), free(s->order), free(s->base);
}

static void linear_algebra(const morsr_kernels *k, int m) {
    setting s = make(k, m, 0.1);
    const size_t n = (size_t)s.n;
    for (size_t i = 0; i < n; ++i)
        for (size_t j = i; j < n; ++j) {
            double t = 0, e = 0;
            for (size_t l = 0; l <= i; ++l) t += s.u[l * n + i] * s.u[l * n + j];
            for (size_t l = i; l <= j; ++l) e += s.u[i * n + l] * s.g[l * n + j];
            CHECK(fabs(t - s.q[i * n + j]) < 1e-12);
            CHECK(fabs(e - (i == j)) < 1e-11);
        }
    double *p = need(n * n * sizeof *p);
    int32_t *order = need((size_t)m * sizeof *order);
    k->vblast(s.g, p, m, order, s.work);
    int64_t sum = 0;
    for (int j = 0; j < m; ++j) sum += order[j];
    CHECK(sum == (int64_t)m * (m - 1) / 2);
    double out[3];
    k->factor_norms(s.u, s.g, m, out, s.work);
    CHECK(out[0] >= 1 && out[1] >= 1 && out[2] > 0);
    s.q[(n - 3) * n + n - 3] = -1; /* breaks definiteness in a known place */
    memcpy(p, s.q, n * n * sizeof *p);
    CHECK(k->cholesky(p, s.n) == s.n - 3);
    free(p), free(order);
    drop(&s);
}

/* One of each pair a, -a of the E8 vectors of squared length 2 and 4: [8][1200]. */
enum { HALF = 1200 };

static double *half_of_the_short_vectors(void) {
    enum { ALL = 2401 };
    double identity[64] = {0}, zero[8] = {0}, *half = need(8 * HALF * sizeof *half);
    e8_point *near = need(ALL * sizeof *near);
    int found = 0, kept = 0;
    int64_t nodes = 0;
    for (int i = 0; i < 8; ++i) identity[9 * i] = 1;
    CHECK(e8_knearest_baseline(identity, zero, 0, 4.5, NULL, ALL, near, &found, &nodes) == E8_OK);
    CHECK(found == ALL);
    for (int i = 0; i < found; ++i) {
        int first = 0;
        while (first < 8 && near[i].d[first] == 0) ++first;
        if (first == 8 || near[i].d[first] < 0) continue;
        for (int k = 0; k < 8; ++k) half[k * HALF + kept] = 0.5 * near[i].d[k];
        ++kept;
    }
    CHECK(kept == HALF);
    free(near);
    return half;
}

/* Every vector of the tables is where its norm puts it, and none of norm below the limit is
   missing; the tables are then given to `out`.  Returns the memory to free. */
static void *give_tables(const morsr_kernels *k, const double *grams, int tiles,
                         morsr_tables *out) {
    double *half = half_of_the_short_vectors();
    const size_t room = 9 * (size_t)tiles * (HALF + SHORT_BATCH) * sizeof(float);
    char *memory = need((size_t)tiles * 24 + room);
    double *limits = (double *)(void *)memory;
    int64_t *starts = (int64_t *)(void *)(limits + tiles);
    int32_t *counts = (int32_t *)(void *)(starts + tiles);
    float *rows = (float *)(void *)(memory + (size_t)tiles * 24);
    const int64_t written =
        k->short_tables(grams, tiles, half, HALF, 6.0, 1e-25, 1e25, rows, counts, limits);
    int64_t at = 0;
    for (int t = 0; t < tiles; ++t) {
        starts[t] = at;
        int within = 0, there = 0;
        for (int i = 0; i < HALF; ++i) {
            double norm = 0;
            for (int p = 0; p < 8; ++p)
                for (int q = 0; q < 8; ++q)
                    norm += half[p * HALF + i] * grams[64 * t + 8 * p + q] * half[q * HALF + i];
            within += norm < limits[t];
        }
        const float *norm = rows + at + 8 * (int64_t)counts[t];
        for (int i = 0; i < counts[t]; ++i) {
            CHECK(i == 0 || norm[i - 1] <= norm[i]);
            there += norm[i] < HUGE_VALF;
        }
        CHECK(counts[t] % SHORT_BATCH == 0 && there >= within && there - within < 8);
        at += 9 * (int64_t)counts[t];
    }
    CHECK(at == written);
    free(half);
    out->rows = rows, out->counts = counts, out->starts = starts, out->limits = limits;
    return memory;
}

/* What an enumeration needs besides the factor: weights and blocks, surely bounds, and tables. */
typedef struct {
    double *weights, *blocks, *coupling, *grams;
    void *children, *free;
} bounds;

static bounds give_bounds(const morsr_kernels *k, const setting *s, morsr_factor *f, int tables) {
    const size_t m = (size_t)s->m, n = 8 * m, pairs = m * (m + 1) / 2;
    bounds b = {need(8 * pairs * sizeof(double)), need(64 * pairs * sizeof(double)),
                need(2 * m * sizeof(double)), need(64 * m * sizeof(double)), NULL, NULL};
    double *scratch = need(n * n * sizeof *scratch), *work = need(18 * n * sizeof *work);
    double *g = need(n * n * sizeof *g), *u = need(n * n * sizeof *u);
    k->propose_weights(s->g, s->m, b.weights, scratch, work);
    for (size_t i = 0; i < 8 * pairs; ++i) b.weights[i] *= 0.999;
    f->weights = b.weights;
    f->coupling = b.coupling;
    k->couplings(s->diag, s->w, b.weights, NULL, s->m, b.coupling);
    if (tables) {
        memcpy(u, s->q, n * n * sizeof *u);
        for (size_t i = 0; i < n; ++i) u[i * n + i] -= 0.01;
        CHECK(k->cholesky(u, s->n) == -1);
        k->tri_inverse(u, g, s->n);
        double *d = need(64 * m * sizeof *d);
        k->propose_blocks(g, s->m, 1, 0.01, b.blocks, d, scratch, work);
        free(d);
        for (size_t i = 0; i < 64 * pairs; ++i) b.blocks[i] *= 0.999;
        for (size_t j = 0; j < m; ++j)
            for (size_t p = 0; p < 8; ++p)
                for (size_t q = 0; q < 8; ++q) {
                    double t = 0;
                    for (size_t r = 0; r < 8; ++r)
                        t += s->diag[64 * j + 8 * r + p] * s->diag[64 * j + 8 * r + q];
                    b.grams[64 * j + 8 * p + q] = t;
                }
        b.children = give_tables(k, b.grams, s->m, &f->children);
        b.free = give_tables(k, b.blocks, (int)pairs, &f->free);
        f->blocks = b.blocks;
        f->block_coupling = b.coupling + m;
        k->couplings(s->diag, s->w, NULL, b.blocks, s->m, b.coupling + m);
        /* Q_FF - D stays positive definite at every depth. */
        for (size_t j = 1; j <= m; ++j)
            for (int kind = 0; kind < 2; ++kind) {
                const size_t size = 8 * j;
                for (size_t p = 0; p < size; ++p)
                    for (size_t q = 0; q < size; ++q) u[p * size + q] = s->q[p * n + q];
                for (size_t p = 0; p < size; ++p)
                    if (kind == 0)
                        u[p * size + p] -= b.weights[4 * j * (j - 1) + p];
                    else
                        for (size_t q = 0; q < 8; ++q)
                            u[p * size + p / 8 * 8 + q] -= b.blocks[32 * j * (j - 1) + 8 * p + q];
                CHECK(k->cholesky(u, (int)size) == -1);
            }
    }
    free(scratch), free(work), free(g), free(u);
    return b;
}

static void drop_bounds(bounds *b) {
    free(b->weights), free(b->blocks), free(b->coupling), free(b->grams);
    free(b->children), free(b->free);
}

/* A beam and an exhausted enumeration; returns a checksum that must not depend on the level. */
static uint64_t searches(const morsr_kernels *k, int m, int table, double *optimum) {
    setting s = make(k, m, 0.4);
    morsr_factor f;
    memset(&f, 0, sizeof f);
    f.m = m, f.diag = s.diag, f.w = s.w, f.quad = s.quad, f.lambda = s.lambda;
    bounds extra = give_bounds(k, &s, &f, table);
    const morsr_objective objective = {m, 1.0, s.q, s.target};
    int32_t *point = need((size_t)s.n * sizeof *point), *best = need((size_t)s.n * sizeof *best);
    double *quad = need((size_t)m * 240 * sizeof *quad);
    double cost = 0;
    uint64_t sum = 0, bits;
    const size_t tiles = (size_t)m;
    float *ranks = need(((tiles * (tiles - 1) / 2) * 64 + tiles * 312 + 2 * 8 * tiles) * sizeof *ranks);
    float *upper = ranks + tiles * (tiles - 1) / 2 * 64, *levels = upper + tiles * 312;
    morsr_ranking r = {0, ranks, upper, upper + 64 * m, upper + 128 * m, upper + 192 * m, levels,
                       levels + 8 * m, 0};
    r.unit = k->rank_tables(&f, ranks, upper, upper + 64 * m, upper + 128 * m, upper + 192 * m, levels,
                            levels + 8 * m, s.work);
    for (size_t i = 0; i < tiles * 312; ++i) {
        uint32_t rank_bits;
        memcpy(&rank_bits, upper + i, sizeof rank_bits);
        sum = sum * 31 + rank_bits;
    }
    for (r.band = 1; r.band >= 0; --r.band) { /* merging equal residues, then as it is */
        morsr_beam *beam = k->beam_new(&f, &r, s.centre, 5, 3, 0.8, HUGE_VAL);
        CHECK(beam != NULL);
        while (k->beam_step(beam, 64) == MORSR_MORE) {}
        CHECK(k->beam_best(beam, point, &cost) == 1);
        for (int i = 0; i < s.n; ++i) sum = sum * 31 + (uint32_t)point[i];
        sum += (uint64_t)k->beam_ticks(beam);
        k->beam_free(beam);
    }
    free(ranks);
    double value = k->evaluate(&objective, point, s.work);
    CHECK(fabs(value - cost) < 1e-9 * cost);
    int32_t *rounded = need((size_t)s.n * sizeof *rounded);
    double *moved = need((size_t)s.n * sizeof *moved);
    int64_t spent = 0;
    memcpy(moved, s.centre, (size_t)s.n * sizeof *moved);
    CHECK(k->babai(&f, moved, rounded, &spent) == MORSR_OK && spent > 0);
    for (int i = 0; i < s.n; ++i) sum = sum * 31 + (uint32_t)rounded[i];
    free(rounded), free(moved);
    k->root_quad(s.q, m, quad);
    sum += (uint64_t)k->descend(&objective, quad, point, 20, s.work);
    const double after = k->evaluate(&objective, point, s.work);
    CHECK(after <= value * (1 + 1e-12));
    morsr_walk *walk = k->walk_new(&objective, point, 1500, 3, s.work);
    CHECK(walk != NULL);
    while (k->walk_step(walk, 500) == MORSR_MORE) {}
    k->walk_best(walk, best);
    CHECK(k->evaluate(&objective, best, s.work) <= after * (1 + 1e-9));
    for (int i = 0; i < s.n; ++i) sum = sum * 31 + (uint32_t)best[i];
    sum += (uint64_t)k->walk_ticks(walk);
    k->walk_free(walk);

    /* Chambers of interrupted runs are explored until none is left; the optimum must be that of
       one uninterrupted run. */
    const int32_t none[8] = {0};
    double whole = HUGE_VAL, pieces = HUGE_VAL;
    const double start = after * (1 + 1e-9), slack = 1 + 1e-9;
    morsr_prove *p = k->prove_new(&f, s.centre, none, 0, NULL, 0, 0, 0, &objective, s.base, s.order,
                                  start, slack);
    CHECK(p != NULL);
    while (k->prove_step(p, 1 << 16) == MORSR_MORE) {}
    CHECK(k->prove_close(p) == MORSR_OK && k->prove_count(p) == 0);
    CHECK(k->prove_best(p, best, &whole) == 1);
    sum += (uint64_t)k->prove_ticks(p);
    k->prove_free(p);
    enum { ROOM = 4096 };
    typedef struct {
        morsr_chamber c;
        int32_t *prefix, after[8];
    } kept;
    kept *todo = need(ROOM * sizeof *todo);
    int count = 1, taken = 0;
    todo[0].c = (morsr_chamber){0, 0, 0, 0.0};
    todo[0].prefix = need(1);
    while (taken < count && count < ROOM - 64) {
        kept *t = &todo[taken++];
        p = k->prove_new(&f, s.centre, t->c.depth ? t->prefix : none, t->c.depth,
                         t->c.has_after ? t->after : NULL, t->c.has_after == 2, t->c.skip,
                         taken % 3 == 0 ? 4 : 0,
                         &objective, s.base, s.order, pieces < start ? pieces : start, slack);
        CHECK(p != NULL);
        while (k->prove_step(p, 256) == MORSR_MORE && k->prove_spent(p) < 4096) {}
        CHECK(k->prove_close(p) == MORSR_OK);
        double v;
        if (k->prove_best(p, point, &v)) pieces = v;
        for (int64_t i = 0; i < k->prove_count(p) && count < ROOM; ++i) {
            const int32_t *prefix, *last;
            kept *u = &todo[count++];
            u->c = *k->prove_chamber(p, i, &prefix, &last);
            u->prefix = need((size_t)u->c.depth * 8 * sizeof *prefix);
            memcpy(u->prefix, prefix, (size_t)u->c.depth * 8 * sizeof *prefix);
            memcpy(u->after, last, sizeof u->after);
            const int64_t *ranks = k->prove_ranks(p, i);
            for (int d = t->c.depth; d < u->c.depth; ++d) {
                /* A remainder of the same node goes on after the child on the path. */
                CHECK(ranks[d] >= (d == t->c.depth ? t->c.skip : 0));
                for (int64_t o = 0; o < i; ++o) {
                    const int32_t *unused, *cursor;
                    const morsr_chamber *r = k->prove_chamber(p, o, &unused, &cursor);
                    if (taken % 3 && r->depth == d) CHECK(r->skip > ranks[d]);
                }
            }
        }
        k->prove_free(p);
    }
    CHECK(taken == count);
    CHECK(pieces == whole);
    for (int i = 0; i < count; ++i) free(todo[i].prefix);
    sum += (uint64_t)count;
    memcpy(&bits, &whole, sizeof bits);
    *optimum = whole;
    drop_bounds(&extra);
    free(todo), free(point), free(best), free(quad);
    drop(&s);
    return sum * 31 + bits;
}

int main(void) {
    uint64_t first[2][4] = {{0}};
    double optimum[2];
    for (int level = 0; level <= morsr_cpu_level(); ++level) {
        const morsr_kernels *k = morsr_engine_level(level);
        CHECK(k != NULL);
        for (int m = 1; m <= 10; m += 3) linear_algebra(k, m);
        linear_algebra(k, 17);
        for (int m = 1; m <= 4; ++m) {
            for (int table = 0; table < 2; ++table) {
                const uint64_t sum = searches(k, m, table, &optimum[table]);
                if (level == 0) first[table][m - 1] = sum;
                CHECK(sum == first[table][m - 1]);
            }
            /* However children are listed, the answer is the same. */
            CHECK(optimum[0] == optimum[1]);
        }
    }
    CHECK(morsr_engine_level(-1) == NULL && morsr_engine_level(3) == NULL);
    CHECK_DONE("test_engine");
}
