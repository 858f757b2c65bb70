/* Kernels of tile terms: what they find is allowed, and descents and walks never get worse. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "term.h"

#define TILES 3
#define N (8 * TILES)

static void fill_roots(double roots[8][240])
{
    int r = 0;
    memset(roots, 0, 8 * 240 * sizeof(double));
    for (int i = 0; i < 8; i++)
        for (int k = i + 1; k < 8; k++)
            for (int signs = 0; signs < 4; signs++, r++) {
                roots[i][r] = signs & 1 ? -2.0 : 2.0;
                roots[k][r] = signs & 2 ? -2.0 : 2.0;
            }
    for (int signs = 0; signs < 256; signs++) {
        if (__builtin_popcount((unsigned)signs) & 1) continue;
        for (int i = 0; i < 8; i++) roots[i][r] = signs >> i & 1 ? -1.0 : 1.0;
        r++;
    }
}

static double objective(const morsr_term_kernels *k, const morsr_term_form *f, const int32_t *d)
{
    double sum = 0.0, values[TILES];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            sum += f->q[i * N + j] * (0.5 * d[i] - f->target[i]) * (0.5 * d[j] - f->target[j]);
    k->values(&f->term, d, TILES, values);
    for (int b = 0; b < TILES; b++) sum += values[b];
    return sum;
}

/* A beam over a diagonal form from targets far and near, then a walk from what it found. */
static void search(const morsr_term_kernels *k, const morsr_term *term, double far)
{
    static double q[N * N], diag[64 * TILES], w[64 * 3], weight[TILES * TILES], roots[8][240];
    static double quad[TILES * 240];
    double target[N];
    int32_t origin[N] = {0}, point[N], best[N], descent[N];
    fill_roots(roots);
    memset(q, 0, sizeof q), memset(diag, 0, sizeof diag);
    for (int i = 0; i < N; i++) {
        q[i * (N + 1)] = 1.0 + 0.25 * (i % 3);
        diag[64 * (i / 8) + 9 * (i % 8)] = sqrt(q[i * (N + 1)]);
        target[i] = far * check_uniform();
    }
    for (int i = 0; i < 64 * 3; i++) w[i] = 0.0;
    for (int i = 0; i < TILES * TILES; i++) weight[i] = 1.0;
    const morsr_term_factor f = {TILES, diag, w, weight, roots[0], *term};
    morsr_term_beam *beam = k->beam_new(&f, target, origin, 5, 8, 0.5, HUGE_VAL);
    int status;
    while ((status = k->beam_step(beam, 300)) == MORSR_TERM_MORE) {}
    CHECK(status == MORSR_TERM_OK);
    double total, values[TILES];
    CHECK(k->beam_best(beam, point, &total) == 1);
    CHECK(k->beam_ticks(beam) > 0);
    k->beam_free(beam);
    k->values(term, point, TILES, values);
    for (int b = 0; b < TILES; b++) CHECK(values[b] < HUGE_VAL);
    k->root_quad(q, roots[0], TILES, quad);
    const morsr_term_form form = {TILES, q, target, quad, roots[0], *term};
    const double before = objective(k, &form, point);
    CHECK(fabs(before - total) <= 1e-9 * before);
    morsr_term_walk *walk = k->walk_new(&form, point, 1500, 3);
    while (k->walk_step(walk, 1000) == MORSR_TERM_MORE) {}
    k->walk_best(walk, best, descent);
    CHECK(k->walk_ticks(walk) > 0);
    k->walk_free(walk);
    const double after = objective(k, &form, descent), last = objective(k, &form, best);
    CHECK(after <= before * (1.0 + 1e-12));
    CHECK(last <= after * (1.0 + 1e-12));
}

int main(void)
{
    double ball[4] = {0}, box[8 * 6] = {0}, rate[5] = {1.0, 2.0, HUGE_VAL, 3.0, 4.0};
    const morsr_term terms[] = {
        {MORSR_TERM_RADIAL, 4, 0, ball, sqrt(6.0)},
        {MORSR_TERM_RADIAL, 5, 0, rate, sqrt(8.0)},
        {MORSR_TERM_SEPARABLE, 6, -2, box, HUGE_VAL},
    };
    for (int level = 0; level <= morsr_cpu_level(); level++) {
        const morsr_term_kernels *k = morsr_term_level(level);
        CHECK(k != NULL);
        for (int t = 0; t < 3; t++)
            for (int round = 0; round < 4; round++) search(k, &terms[t], round ? 8.0 : 300.0);
    }
    CHECK(morsr_term_level(morsr_cpu_level() + 1) == NULL);
    CHECK_DONE("test_term");
}
