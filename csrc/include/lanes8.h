/* Eight floats side by side, the same bits at every CPU level: for rankings.
 *
 * To be included after level_begin.h, like lanes.h, whose rules hold here too: every operation is
 * one correctly rounded IEEE operation per lane.  One 256-bit register on AVX2 and AVX-512: the
 * search has eight coordinates of a tile, or eight tiles of a node, to fill it with.
 *
 *   lanes8_loadu / lanes8_storeu, lanes8_set1, lanes8_add, lanes8_sub, lanes8_mul
 *   lanes8_fma(a, b, c)          a*b + c, rounded once
 *   lanes8_min(a, b)             a < b ? a : b    lanes8_max(a, b)   a > b ? a : b
 *   lanes8_abs, lanes8_rint      sign bit cleared; to the nearest integer, half to even
 *   lanes8_lt, _le, _eq          all bits of a lane set or clear (clear for NaN)
 *   lanes8_and, _andnot, _xor    bit by bit; lanes8_andnot(a, b) = not a, and b
 *   lanes8_blend(m, t, f)        t where the sign bit of m is set, else f
 *   lanes8_signs(a)              all bits of a lane set where the sign bit of a is
 *   lanes8_mask_bits(m)          the sign bits as an integer, lane 0 lowest
 *   lanes8_transpose(x)          eight of them as an 8x8 matrix, transposed in place
 *   lanes8_sum, lanes8_hmin      the eight lanes added, the least of them, in one fixed order
 */
#ifndef MORSR_LANES8_H
#define MORSR_LANES8_H

#include "lanes.h"

#if defined(MORSR_LEVEL_AVX512) || defined(MORSR_LEVEL_AVX2)

typedef __m256 lanes8;

MORSR_INLINE lanes8 lanes8_loadu(const float *p) { return _mm256_loadu_ps(p); }
MORSR_INLINE void lanes8_storeu(float *p, lanes8 a) { _mm256_storeu_ps(p, a); }
MORSR_INLINE lanes8 lanes8_set1(float x) { return _mm256_set1_ps(x); }
MORSR_INLINE lanes8 lanes8_add(lanes8 a, lanes8 b) { return _mm256_add_ps(a, b); }
MORSR_INLINE lanes8 lanes8_sub(lanes8 a, lanes8 b) { return _mm256_sub_ps(a, b); }
MORSR_INLINE lanes8 lanes8_mul(lanes8 a, lanes8 b) { return _mm256_mul_ps(a, b); }
MORSR_INLINE lanes8 lanes8_fma(lanes8 a, lanes8 b, lanes8 c) { return _mm256_fmadd_ps(a, b, c); }
MORSR_INLINE lanes8 lanes8_min(lanes8 a, lanes8 b) { return _mm256_min_ps(a, b); }
MORSR_INLINE lanes8 lanes8_max(lanes8 a, lanes8 b) { return _mm256_max_ps(a, b); }
MORSR_INLINE lanes8 lanes8_abs(lanes8 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
MORSR_INLINE lanes8 lanes8_rint(lanes8 a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
MORSR_INLINE lanes8 lanes8_lt(lanes8 a, lanes8 b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
MORSR_INLINE lanes8 lanes8_le(lanes8 a, lanes8 b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
MORSR_INLINE lanes8 lanes8_eq(lanes8 a, lanes8 b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
MORSR_INLINE lanes8 lanes8_and(lanes8 a, lanes8 b) { return _mm256_and_ps(a, b); }
MORSR_INLINE lanes8 lanes8_andnot(lanes8 a, lanes8 b) { return _mm256_andnot_ps(a, b); }
MORSR_INLINE lanes8 lanes8_xor(lanes8 a, lanes8 b) { return _mm256_xor_ps(a, b); }
MORSR_INLINE lanes8 lanes8_blend(lanes8 m, lanes8 if_true, lanes8 if_false) {
    return _mm256_blendv_ps(if_false, if_true, m);
}
MORSR_INLINE lanes8 lanes8_signs(lanes8 a) {
    return _mm256_castsi256_ps(_mm256_srai_epi32(_mm256_castps_si256(a), 31));
}
MORSR_INLINE unsigned lanes8_mask_bits(lanes8 m) { return (unsigned)_mm256_movemask_ps(m); }
MORSR_INLINE float lanes8_hmin(lanes8 a) {
    __m128 v = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    v = _mm_min_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_min_ss(v, _mm_shuffle_ps(v, v, 1)));
}

MORSR_INLINE void lanes8_transpose(lanes8 x[8]) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; ++k) {
            b[i + 2 * k] = _mm256_shuffle_ps(a[i + k], a[i + k + 2], 0x44);
            b[i + 2 * k + 1] = _mm256_shuffle_ps(a[i + k], a[i + k + 2], 0xee);
        }
    for (int i = 0; i < 4; ++i) {
        x[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        x[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

#else

typedef struct {
    float v[8];
} lanes8;

#define MORSR_EACH_OF_8(expression)                         \
    do {                                                    \
        lanes8 r;                                           \
        for (int i = 0; i < 8; ++i) r.v[i] = (expression);  \
        return r;                                           \
    } while (0)

MORSR_INLINE uint32_t lanes8_bits(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}
MORSR_INLINE float lanes8_from_bits(uint32_t b) {
    float x;
    memcpy(&x, &b, sizeof x);
    return x;
}
MORSR_INLINE lanes8 lanes8_loadu(const float *p) {
    lanes8 r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
MORSR_INLINE void lanes8_storeu(float *p, lanes8 a) { memcpy(p, a.v, sizeof a.v); }
MORSR_INLINE lanes8 lanes8_set1(float x) { MORSR_EACH_OF_8(x); }
MORSR_INLINE lanes8 lanes8_add(lanes8 a, lanes8 b) { MORSR_EACH_OF_8(a.v[i] + b.v[i]); }
MORSR_INLINE lanes8 lanes8_sub(lanes8 a, lanes8 b) { MORSR_EACH_OF_8(a.v[i] - b.v[i]); }
MORSR_INLINE lanes8 lanes8_mul(lanes8 a, lanes8 b) { MORSR_EACH_OF_8(a.v[i] * b.v[i]); }
MORSR_INLINE lanes8 lanes8_fma(lanes8 a, lanes8 b, lanes8 c) {
    MORSR_EACH_OF_8(MORSR_FMAF(a.v[i], b.v[i], c.v[i]));
}
MORSR_INLINE lanes8 lanes8_min(lanes8 a, lanes8 b) {
    MORSR_EACH_OF_8(a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
MORSR_INLINE lanes8 lanes8_max(lanes8 a, lanes8 b) {
    MORSR_EACH_OF_8(a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
MORSR_INLINE lanes8 lanes8_abs(lanes8 a) { MORSR_EACH_OF_8(fabsf(a.v[i])); }
/* Adding and taking away 2^23 rounds to an integer, half to even; larger ones are integers. */
MORSR_INLINE float lanes8_rint_one(float x) {
    const float big = 8388608.0f, a = fabsf(x);
    return a < big ? copysignf((a + big) - big, x) : x;
}
MORSR_INLINE lanes8 lanes8_rint(lanes8 a) { MORSR_EACH_OF_8(lanes8_rint_one(a.v[i])); }
MORSR_INLINE float lanes8_all_bits(int set) { return lanes8_from_bits(set ? 0xffffffffu : 0u); }
MORSR_INLINE lanes8 lanes8_lt(lanes8 a, lanes8 b) {
    MORSR_EACH_OF_8(lanes8_all_bits(a.v[i] < b.v[i]));
}
MORSR_INLINE lanes8 lanes8_le(lanes8 a, lanes8 b) {
    MORSR_EACH_OF_8(lanes8_all_bits(a.v[i] <= b.v[i]));
}
MORSR_INLINE lanes8 lanes8_eq(lanes8 a, lanes8 b) {
    MORSR_EACH_OF_8(lanes8_all_bits(a.v[i] == b.v[i]));
}
MORSR_INLINE lanes8 lanes8_and(lanes8 a, lanes8 b) {
    MORSR_EACH_OF_8(lanes8_from_bits(lanes8_bits(a.v[i]) & lanes8_bits(b.v[i])));
}
MORSR_INLINE lanes8 lanes8_andnot(lanes8 a, lanes8 b) {
    MORSR_EACH_OF_8(lanes8_from_bits(~lanes8_bits(a.v[i]) & lanes8_bits(b.v[i])));
}
MORSR_INLINE lanes8 lanes8_xor(lanes8 a, lanes8 b) {
    MORSR_EACH_OF_8(lanes8_from_bits(lanes8_bits(a.v[i]) ^ lanes8_bits(b.v[i])));
}
MORSR_INLINE lanes8 lanes8_blend(lanes8 m, lanes8 if_true, lanes8 if_false) {
    MORSR_EACH_OF_8(lanes8_bits(m.v[i]) >> 31 ? if_true.v[i] : if_false.v[i]);
}
MORSR_INLINE lanes8 lanes8_signs(lanes8 a) {
    MORSR_EACH_OF_8(lanes8_all_bits((int)(lanes8_bits(a.v[i]) >> 31)));
}
MORSR_INLINE unsigned lanes8_mask_bits(lanes8 m) {
    unsigned bits = 0;
    for (int i = 0; i < 8; ++i) bits |= lanes8_bits(m.v[i]) >> 31 << i;
    return bits;
}
MORSR_INLINE float lanes8_hmin(lanes8 a) {
    float v[8];
    memcpy(v, a.v, sizeof v);
    for (int half = 4; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) v[i] = v[i] < v[i + half] ? v[i] : v[i + half];
    return v[0];
}
MORSR_INLINE void lanes8_transpose(lanes8 x[8]) {
    for (int i = 1; i < 8; ++i)
        for (int j = 0; j < i; ++j) {
            const float held = x[i].v[j];
            x[i].v[j] = x[j].v[i];
            x[j].v[i] = held;
        }
}

#endif

/* ((0+4) + (2+6)) + ((1+5) + (3+7)), as lanes_sum. */
MORSR_INLINE float lanes8_sum(lanes8 a) {
    float v[8];
    lanes8_storeu(v, a);
    const float p0 = v[0] + v[4], p1 = v[1] + v[5], p2 = v[2] + v[6], p3 = v[3] + v[7];
    return (p0 + p2) + (p1 + p3);
}

#endif
