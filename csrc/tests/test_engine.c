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

enum { SHORT = 2401 };

/* Gives a factor a table of its shortest vectors; returns the memory to free. */
static void *give_table(morsr_factor *f) {
    const int m = f->m, count = (SHORT / 2 + SHORT_BATCH - 1) / SHORT_BATCH * SHORT_BATCH;
    const size_t floats = (size_t)m * 9 * (size_t)count;
    char *memory = need(floats * sizeof(float) + 2 * (size_t)m * sizeof(double));
    float *vectors = (float *)(void *)(memory + 2 * (size_t)m * sizeof(double));
    double *limits = (double *)(void *)memory, *coupling = limits + m;
    e8_point *near = need(SHORT * sizeof *near);
    for (size_t i = 0; i < floats; ++i) vectors[i] = 0;
    for (int j = 0; j < m; ++j) {
        const double zero[8] = {0};
        float *table = vectors + (size_t)j * 9 * (size_t)count;
        int found = 0, kept = 0;
        int64_t nodes = 0;
        CHECK(e8_knearest_baseline(f->diag + j * 64, zero, 0, HUGE_VAL, NULL, SHORT, near, &found,
                                   &nodes) == E8_OK);
        for (int i = 0; i < found; ++i) {
            int first = 0;
            while (first < 8 && near[i].d[first] == 0) ++first;
            if (first == 8 || near[i].d[first] < 0) continue;
            if (kept == count) break;
            for (int k = 0; k < 8; ++k) table[k * count + kept] = 0.5f * (float)near[i].d[k];
            table[8 * count + kept++] = (float)near[i].cost;
        }
        for (; kept < count; ++kept) table[8 * count + kept] = HUGE_VALF;
        limits[j] = near[found - 1].cost * (1 - 1e-9);
    }
    free(near);
    f->short_count = count, f->short_vectors = vectors, f->short_limit = limits;
    f->coupling = coupling;
    return memory;
}

/* A beam and an exhausted enumeration; returns a checksum that must not depend on the level. */
static uint64_t searches(const morsr_kernels *k, int m, int table, double *optimum) {
    setting s = make(k, m, 0.4);
    morsr_factor f = {m, s.diag, s.w, s.quad, 0, NULL, NULL, NULL, s.lambda};
    void *memory = table ? give_table(&f) : NULL;
    if (table) k->couplings(s.diag, s.w, m, (double *)(uintptr_t)f.coupling);
    const morsr_objective objective = {m, 1.0, s.q, s.target};
    int32_t *point = need((size_t)s.n * sizeof *point), *best = need((size_t)s.n * sizeof *best);
    double *quad = need((size_t)m * 240 * sizeof *quad);
    double cost = 0;
    uint64_t sum = 0, bits;
    const size_t tiles = (size_t)m;
    float *ranks = need(((tiles * (tiles - 1) / 2) * 64 + tiles * 312 + 2 * 8 * tiles) * sizeof *ranks);
    float *upper = ranks + tiles * (tiles - 1) / 2 * 64, *levels = upper + tiles * 312;
    morsr_ranking r = {0, ranks, upper, upper + 64 * m, upper + 128 * m, upper + 192 * m, levels,
                       levels + 8 * m};
    r.unit = k->rank_tables(&f, ranks, upper, upper + 64 * m, upper + 128 * m, upper + 192 * m, levels,
                            levels + 8 * m, s.work);
    for (size_t i = 0; i < tiles * 312; ++i) {
        uint32_t rank_bits;
        memcpy(&rank_bits, upper + i, sizeof rank_bits);
        sum = sum * 31 + rank_bits;
    }
    morsr_beam *beam = k->beam_new(&f, &r, s.centre, 5, 3, 0.8, HUGE_VAL);
    CHECK(beam != NULL);
    while (k->beam_step(beam, 64) == MORSR_MORE) {}
    CHECK(k->beam_best(beam, point, &cost) == 1);
    for (int i = 0; i < s.n; ++i) sum = sum * 31 + (uint32_t)point[i];
    sum += (uint64_t)k->beam_ticks(beam);
    k->beam_free(beam);
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
    free(memory), free(todo), free(point), free(best), free(quad);
    drop(&s);
    return sum * 31 + bits;
}

int main(void) {
    uint64_t first[2][4] = {{0}};
    double optimum[2];
    for (int level = 0; level <= morsr_engine_best_level(); ++level) {
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
