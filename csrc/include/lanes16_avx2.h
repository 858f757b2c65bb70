/* lanes16.h for AVX2 with FMA: two registers. */
#ifndef MORSR_LANES16_AVX2_H
#define MORSR_LANES16_AVX2_H

typedef struct {
    __m256 lo, hi;
} lanes16;

/* Every bit of a lane set or clear. */
typedef struct {
    __m256 lo, hi;
} lanes16_mask;

MORSR_INLINE lanes16 lanes16_pair(__m256 lo, __m256 hi) {
    lanes16 r = {lo, hi};
    return r;
}
MORSR_INLINE lanes16_mask lanes16_mask_pair(__m256 lo, __m256 hi) {
    lanes16_mask r = {lo, hi};
    return r;
}
MORSR_INLINE lanes16 lanes16_load(const float *p) {
    return lanes16_pair(_mm256_load_ps(p), _mm256_load_ps(p + 8));
}
MORSR_INLINE lanes16 lanes16_loadu(const float *p) {
    return lanes16_pair(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}
MORSR_INLINE void lanes16_store(float *p, lanes16 a) {
    _mm256_store_ps(p, a.lo);
    _mm256_store_ps(p + 8, a.hi);
}
MORSR_INLINE void lanes16_storeu(float *p, lanes16 a) {
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}
MORSR_INLINE lanes16 lanes16_set1(float x) {
    return lanes16_pair(_mm256_set1_ps(x), _mm256_set1_ps(x));
}
MORSR_INLINE lanes16 lanes16_zero(void) { return lanes16_set1(0.0); }
MORSR_INLINE lanes16 lanes16_add(lanes16 a, lanes16 b) {
    return lanes16_pair(_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi));
}
MORSR_INLINE lanes16 lanes16_sub(lanes16 a, lanes16 b) {
    return lanes16_pair(_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi));
}
MORSR_INLINE lanes16 lanes16_mul(lanes16 a, lanes16 b) {
    return lanes16_pair(_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi));
}
MORSR_INLINE lanes16 lanes16_min(lanes16 a, lanes16 b) {
    return lanes16_pair(_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi));
}
MORSR_INLINE lanes16 lanes16_max(lanes16 a, lanes16 b) {
    return lanes16_pair(_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi));
}
MORSR_INLINE lanes16 lanes16_fma(lanes16 a, lanes16 b, lanes16 c) {
    return lanes16_pair(_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi));
}
MORSR_INLINE lanes16 lanes16_abs(lanes16 a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return lanes16_pair(_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi));
}
MORSR_INLINE lanes16 lanes16_sign(lanes16 a) {
    const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f);
    return lanes16_pair(_mm256_or_ps(_mm256_and_ps(sign, a.lo), one),
                        _mm256_or_ps(_mm256_and_ps(sign, a.hi), one));
}
MORSR_INLINE lanes16 lanes16_rint(lanes16 a) {
    return lanes16_pair(_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                      _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
MORSR_INLINE lanes16_mask lanes16_lt(lanes16 a, lanes16 b) {
    return lanes16_mask_pair(_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ),
                             _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ));
}
MORSR_INLINE lanes16_mask lanes16_le(lanes16 a, lanes16 b) {
    return lanes16_mask_pair(_mm256_cmp_ps(a.lo, b.lo, _CMP_LE_OQ),
                             _mm256_cmp_ps(a.hi, b.hi, _CMP_LE_OQ));
}
MORSR_INLINE lanes16_mask lanes16_eq(lanes16 a, lanes16 b) {
    return lanes16_mask_pair(_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ),
                             _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ));
}
MORSR_INLINE lanes16 lanes16_blend(lanes16_mask m, lanes16 if_true, lanes16 if_false) {
    return lanes16_pair(_mm256_blendv_ps(if_false.lo, if_true.lo, m.lo),
                      _mm256_blendv_ps(if_false.hi, if_true.hi, m.hi));
}
MORSR_INLINE lanes16 lanes16_keep(lanes16_mask m, lanes16 a) {
    return lanes16_pair(_mm256_and_ps(m.lo, a.lo), _mm256_and_ps(m.hi, a.hi));
}
MORSR_INLINE unsigned lanes16_mask_bits(lanes16_mask m) {
    return (unsigned)_mm256_movemask_ps(m.lo) | (unsigned)_mm256_movemask_ps(m.hi) << 8;
}
MORSR_INLINE lanes16_mask lanes16_mask_and(lanes16_mask a, lanes16_mask b) {
    return lanes16_mask_pair(_mm256_and_ps(a.lo, b.lo), _mm256_and_ps(a.hi, b.hi));
}
MORSR_INLINE lanes16_mask lanes16_mask_or(lanes16_mask a, lanes16_mask b) {
    return lanes16_mask_pair(_mm256_or_ps(a.lo, b.lo), _mm256_or_ps(a.hi, b.hi));
}
MORSR_INLINE lanes16_mask lanes16_mask_andnot(lanes16_mask a, lanes16_mask b) {
    return lanes16_mask_pair(_mm256_andnot_ps(a.lo, b.lo), _mm256_andnot_ps(a.hi, b.hi));
}
MORSR_INLINE lanes16_mask lanes16_mask_xor(lanes16_mask a, lanes16_mask b) {
    return lanes16_mask_pair(_mm256_xor_ps(a.lo, b.lo), _mm256_xor_ps(a.hi, b.hi));
}

/* Eight points of eight coordinates, rows to columns and back. */
MORSR_INLINE void lanes16_transpose8(__m256 x[8]) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int i = 0; i < 4; ++i) {
        x[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        x[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

/* Sixteen points of eight coordinates, point after point, to x[i] = coordinate i. */
MORSR_INLINE void lanes16_load_points(const float *p, lanes16 x[8]) {
    __m256 lo[8], hi[8];
    for (int i = 0; i < 8; ++i) {
        lo[i] = _mm256_loadu_ps(p + 8 * i);
        hi[i] = _mm256_loadu_ps(p + 64 + 8 * i);
    }
    lanes16_transpose8(lo);
    lanes16_transpose8(hi);
    for (int i = 0; i < 8; ++i) x[i] = lanes16_pair(lo[i], hi[i]);
}

/* The inverse of lanes16_load_points, for integers of int32 range. */
MORSR_INLINE void lanes16_store_points_i32(int32_t *p, const lanes16 x[8]) {
    __m256 lo[8], hi[8];
    for (int i = 0; i < 8; ++i) {
        lo[i] = x[i].lo;
        hi[i] = x[i].hi;
    }
    lanes16_transpose8(lo);
    lanes16_transpose8(hi);
    for (int i = 0; i < 8; ++i) {
        _mm256_storeu_si256((__m256i *)(void *)(p + 8 * i), _mm256_cvtps_epi32(lo[i]));
        _mm256_storeu_si256((__m256i *)(void *)(p + 64 + 8 * i), _mm256_cvtps_epi32(hi[i]));
    }
}

#endif
