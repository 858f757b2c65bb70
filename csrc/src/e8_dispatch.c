/* What does not depend on the CPU level: which is in use, and folding. */
#include <math.h>
#include <string.h>

#include "e8_decode.h"
#include "e8_knearest.h"

static _Atomic int chosen = -1; /* not yet chosen */

int morsr_e8_level(void) {
    const int level = chosen;
    return level >= 0 ? level : morsr_cpu_level();
}

int morsr_e8_set_level(int level) {
    if (level < 0 || level > morsr_cpu_level()) return E8_BAD_ARGUMENT;
    chosen = level;
    return E8_OK;
}

#if defined(__x86_64__)
#define AT_LEVEL(name, ...)                                                        \
    switch (morsr_e8_level()) {                                                    \
        case 2: return name##_avx512(__VA_ARGS__);                                 \
        case 1: return name##_avx2(__VA_ARGS__);                                   \
        default: return name##_baseline(__VA_ARGS__);                              \
    }
#else
#define AT_LEVEL(name, ...) return name##_baseline(__VA_ARGS__);
#endif

int e8_nearest_f64(const double *x, int64_t n, int32_t *doubled, double *dist2) {
    AT_LEVEL(e8_nearest_f64, x, n, doubled, dist2)
}

int e8_nearest_f32(const float *x, int64_t n, int32_t *doubled, float *dist2) {
    AT_LEVEL(e8_nearest_f32, x, n, doubled, dist2)
}

int e8_knearest(const double U[64], const double c[8], double base, double limit,
                const e8_cursor *after, int k, e8_point *out, int *count, int64_t *nodes) {
    AT_LEVEL(e8_knearest, U, c, base, limit, after, k, out, count, nodes)
}

/* Simple roots in Bourbaki's order, doubled, and which pairs have inner product -1. */
static const int8_t simple[8][8] = {
    {1, -1, -1, -1, -1, -1, -1, 1}, {2, 2, 0, 0, 0, 0, 0, 0}, {-2, 2, 0, 0, 0, 0, 0, 0},
    {0, -2, 2, 0, 0, 0, 0, 0},      {0, 0, -2, 2, 0, 0, 0, 0}, {0, 0, 0, -2, 2, 0, 0, 0},
    {0, 0, 0, 0, -2, 2, 0, 0},      {0, 0, 0, 0, 0, -2, 2, 0},
};
static const uint8_t joined[8] = {
    1 << 2, 1 << 3, 1 << 0 | 1 << 3, 1 << 1 | 1 << 2 | 1 << 4,
    1 << 3 | 1 << 5, 1 << 4 | 1 << 6, 1 << 5 | 1 << 7, 1 << 6,
};

/* One vector.  Elements of the Weyl group have entries in Z/4, so that four times the rounded
 * vector stays an integer vector; its length stays below 2^58. */
static int fold_one(const double *x, double *folded, uint8_t *word, uint8_t *length) {
    int64_t v[8], label[8]; /* label: inner products with the simple roots */
    double largest = 0.0;
    int exponent = 0, letters = 0;
    for (int i = 0; i < 8; ++i) {
        if (!(fabs(x[i]) <= 0x1p1000)) return E8_RANGE;
        largest = fmax(largest, fabs(x[i]));
    }
    (void)frexp(largest, &exponent);
    for (int i = 0; i < 8; ++i) v[i] = 4 * (int64_t)rint(ldexp(x[i], 54 - exponent));
    for (int s = 0; s < 8; ++s) {
        label[s] = 0;
        for (int i = 0; i < 8; ++i) label[s] += simple[s][i] * v[i];
        label[s] /= 2;
    }
    memset(word, 255, E8_WORD);
    for (int s = 0; s < 8;) {
        const int64_t a = label[s];
        if (a >= 0) {
            ++s;
            continue;
        }
        if (letters == E8_WORD) return E8_RANGE; /* cannot be: exact arithmetic */
        word[letters++] = (uint8_t)s;
        for (int i = 0; i < 8; ++i) v[i] -= a / 2 * simple[s][i];
        for (int t = 0; t < 8; ++t)
            if (joined[s] >> t & 1) label[t] += a;
        label[s] = -a;
        s = 0;
    }
    for (int i = 0; i < 8; ++i) folded[i] = ldexp((double)v[i], exponent - 56);
    *length = (uint8_t)letters;
    return E8_OK;
}

int e8_fold(const double *x, int64_t n, double *folded, uint8_t *words, uint8_t *lengths) {
    for (int64_t i = 0; i < n; ++i) {
        const int status = fold_one(x + 8 * i, folded + 8 * i, words + E8_WORD * i, lengths + i);
        if (status != E8_OK) return status;
    }
    return E8_OK;
}
