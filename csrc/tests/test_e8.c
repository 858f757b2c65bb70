/* The E8 kernels: every level the same bits, bounds of all buffers, exactness of small cases. */
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "e8_decode.h"
#include "e8_knearest.h"

static int in_e8(const int32_t *d) {
    int64_t sum = 0;
    for (int i = 0; i < 8; ++i) {
        if ((d[i] ^ d[0]) & 1) return 0;
        sum += d[i];
    }
    return sum % 4 == 0;
}

/* Buffers of exactly the size needed, so that the sanitizer sees a step beyond. */
static void decode(void) {
    for (int64_t n = 0; n < 70; ++n) {
        const size_t room = n > 0 ? (size_t)n : 1;
        double *x = malloc(room * 8 * sizeof *x), *dist = malloc(room * sizeof *dist);
        float *y = malloc(room * 8 * sizeof *y), *dist32 = malloc(room * sizeof *dist32);
        int32_t *d = malloc(room * 8 * sizeof *d), *first = malloc(room * 8 * sizeof *d);
        int32_t *first32 = malloc(room * 8 * sizeof *d);
        for (int64_t i = 0; i < 8 * n; ++i) {
            x[i] = n % 3 ? 5 * check_uniform() : rint(10 * check_uniform()) / 4;
            y[i] = (float)x[i];
        }
        for (int level = 0; level <= morsr_cpu_level(); ++level) {
            CHECK(morsr_e8_set_level(level) == E8_OK && morsr_e8_level() == level);
            CHECK(e8_nearest_f64(x, n, level ? d : first, dist) == E8_OK);
            if (level) CHECK(memcmp(d, first, (size_t)n * 8 * sizeof *d) == 0);
            for (int64_t i = 0; i < n; ++i) {
                double square = 0;
                for (int j = 0; j < 8; ++j) square += pow(x[8 * i + j] - 0.5 * first[8 * i + j], 2);
                CHECK(in_e8(first + 8 * i));
                CHECK(fabs(square - dist[i]) < 1e-12 && dist[i] <= 1.0 + 1e-12);
            }
            CHECK(e8_nearest_f32(y, n, level ? d : first32, dist32) == E8_OK);
            if (level) CHECK(memcmp(d, first32, (size_t)n * 8 * sizeof *d) == 0);
            CHECK(e8_nearest_f64(x, n, NULL, dist) == E8_OK);
            CHECK(e8_nearest_f32(y, n, NULL, dist32) == E8_OK);
            CHECK(e8_nearest_f64(x, n, d, NULL) == E8_OK);
            CHECK(e8_nearest_f32(y, n, d, NULL) == E8_OK);
            if (n > 0) {
                const double kept = x[8 * n - 1];
                x[8 * n - 1] = NAN;
                CHECK(e8_nearest_f64(x, n, d, dist) == E8_RANGE);
                x[8 * n - 1] = 1e300;
                CHECK(e8_nearest_f64(x, n, NULL, dist) == E8_RANGE);
                x[8 * n - 1] = kept;
            }
        }
        free(x), free(y), free(dist), free(dist32), free(d), free(first), free(first32);
    }
    CHECK(morsr_e8_set_level(-1) == E8_BAD_ARGUMENT);
    CHECK(morsr_e8_set_level(morsr_cpu_level() + 1) == E8_BAD_ARGUMENT);
}

static int before(const e8_point *a, const e8_point *b) {
    if (a->cost != b->cost) return a->cost < b->cost;
    for (int i = 0; i < 8; ++i)
        if (a->d[i] != b->d[i]) return a->d[i] < b->d[i];
    return 0;
}

static double cost_of(const double *U, const double *c, double cost, const int32_t *d) {
    for (int i = 7; i >= 0; --i) {
        double z = 0;
        for (int k = 7; k >= i; --k) z = fma(U[8 * i + k], 0.5 * d[k] - c[k], z);
        cost = fma(z, z, cost);
    }
    return cost;
}

static void nearest_lists(void) {
    enum { K = 300 };
    e8_point *first = malloc(K * sizeof *first), *part = malloc(K * sizeof *part);
    for (int round = 0; round < 60; ++round) {
        double U[64], c[8];
        int64_t nodes[3] = {0};
        int count = 0;
        for (int i = 0; i < 64; ++i) U[i] = NAN; /* below the diagonal: not read */
        for (int i = 0; i < 8; ++i) {
            c[i] = 10 * check_uniform();
            for (int j = i; j < 8; ++j)
                U[8 * i + j] = i == j ? 0.7 + 0.4 * check_uniform() : 0.4 * check_uniform();
        }
        const double limit = round % 2 ? 2.5 : INFINITY;
        CHECK(e8_knearest_baseline(U, c, 0.25, limit, NULL, K, first, &count, nodes) == E8_OK);
        for (int i = 0; i < count; ++i) {
            CHECK(in_e8(first[i].d) && first[i].cost <= limit);
            CHECK(first[i].cost == cost_of(U, c, 0.25, first[i].d));
            CHECK(i == 0 || before(&first[i - 1], &first[i]));
        }
        for (int level = 1; level <= morsr_cpu_level(); ++level) {
            int again = 0;
            morsr_e8_set_level(level);
            CHECK(e8_knearest(U, c, 0.25, limit, NULL, K, part, &again, nodes + level) == E8_OK);
            CHECK(again == count && nodes[level] == nodes[0]);
            for (int i = 0; i < count; ++i)
                CHECK(memcmp(&part[i].cost, &first[i].cost, sizeof(double)) == 0 &&
                      memcmp(part[i].d, first[i].d, sizeof first[i].d) == 0);
        }
        /* in pieces */
        e8_cursor at;
        int done = 0, piece = 0;
        while (done < count) {
            const int size = 1 + done % 37 < K - done ? 1 + done % 37 : K - done;
            CHECK(e8_knearest(U, c, 0.25, limit, done ? &at : NULL, size, part, &piece, nodes) ==
                  E8_OK);
            CHECK(piece == (size < count - done || count == K ? size : count - done));
            for (int i = 0; i < piece; ++i)
                CHECK(memcmp(part[i].d, first[done + i].d, sizeof part[i].d) == 0);
            done += piece;
            if (piece == 0) break;
            at = part[piece - 1];
        }
    }
    /* what is refused */
    double U[64] = {0}, c[8] = {0};
    int count = 0;
    int64_t nodes = 0;
    for (int i = 0; i < 8; ++i) U[9 * i] = 1;
    CHECK(e8_knearest(U, c, 0, 2, NULL, 241, part, &count, &nodes) == E8_OK && count == 241);
    CHECK(e8_knearest(U, c, 0, -1, NULL, 241, part, &count, &nodes) == E8_OK && count == 0);
    CHECK(e8_knearest(U, c, 0, 2, NULL, 0, part, &count, &nodes) == E8_BAD_ARGUMENT);
    CHECK(e8_knearest(U, c, NAN, 2, NULL, 1, part, &count, &nodes) == E8_BAD_ARGUMENT);
    CHECK(e8_knearest(U, c, 0, NAN, NULL, 1, part, &count, &nodes) == E8_BAD_ARGUMENT);
    c[2] = NAN;
    CHECK(e8_knearest(U, c, 0, 2, NULL, 1, part, &count, &nodes) == E8_RANGE);
    c[2] = 1e10;
    CHECK(e8_knearest(U, c, 0, 2, NULL, 1, part, &count, &nodes) == E8_RANGE);
    c[2] = 0;
    U[1] = NAN;
    CHECK(e8_knearest(U, c, 0, 2, NULL, 1, part, &count, &nodes) == E8_RANGE);
    U[1] = 0;
    for (int i = 0; i < 3; ++i) {
        U[9] = (double[]){0.0, -1.0, INFINITY}[i];
        CHECK(e8_knearest(U, c, 0, 2, NULL, 1, part, &count, &nodes) == E8_BAD_ARGUMENT);
    }
    free(first), free(part);
}

static void folding(void) {
    uint8_t word[E8_WORD], length = 0;
    for (int round = 0; round < 3000; ++round) {
        double x[8], y[8], before_norm = 0, after_norm = 0;
        for (int i = 0; i < 8; ++i) {
            x[i] = ldexp(check_uniform(), round % 5 == 0 ? (int)(check_random() % 80) - 40 : 0);
            if (round % 7 == 0) x[i] = rint(4 * x[i]) / 2;
            before_norm += x[i] * x[i];
        }
        CHECK(e8_fold(x, 1, y, word, &length) == E8_OK && length <= E8_WORD);
        for (int i = 0; i < 8; ++i) after_norm += y[i] * y[i];
        CHECK(fabs(before_norm - after_norm) <= 1e-13 * before_norm);
        for (int i = 0; i < E8_WORD; ++i) CHECK((word[i] < 8) == (i < length));
        for (int i = 2; i < 7; ++i) CHECK(y[i] >= y[i - 1]);
    }
    const double extremes[][8] = {
        {0}, {0x1p1000, -0x1p1000}, {5e-324, 0, -5e-324}, {1e300, 1e-300, -1}};
    double y[8];
    for (int i = 0; i < 4; ++i) CHECK(e8_fold(extremes[i], 1, y, word, &length) == E8_OK);
    const double bad[][8] = {{0, INFINITY}, {NAN}, {0, DBL_MAX}};
    for (int i = 0; i < 3; ++i) CHECK(e8_fold(bad[i], 1, y, word, &length) == E8_RANGE);
}

int main(void) {
    decode();
    nearest_lists();
    folding();
    CHECK_DONE("test_e8");
}
