/* lanes.h for AVX2 with FMA: two registers. */
#ifndef MORSR_LANES_AVX2_H
#define MORSR_LANES_AVX2_H

typedef struct {
    __m256d lo, hi;
} lanes;

/* Every bit of a lane set or clear. */
typedef struct {
    __m256d lo, hi;
} lanes_mask;

MORSR_INLINE lanes lanes_pair(__m256d lo, __m256d hi) {
    lanes r = {lo, hi};
    return r;
}
MORSR_INLINE lanes_mask lanes_mask_pair(__m256d lo, __m256d hi) {
    lanes_mask r = {lo, hi};
    return r;
}
MORSR_INLINE lanes lanes_load(const double *p) {
    return lanes_pair(_mm256_load_pd(p), _mm256_load_pd(p + 4));
}
MORSR_INLINE lanes lanes_loadu(const double *p) {
    return lanes_pair(_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4));
}
MORSR_INLINE void lanes_store(double *p, lanes a) {
    _mm256_store_pd(p, a.lo);
    _mm256_store_pd(p + 4, a.hi);
}
MORSR_INLINE void lanes_storeu(double *p, lanes a) {
    _mm256_storeu_pd(p, a.lo);
    _mm256_storeu_pd(p + 4, a.hi);
}
MORSR_INLINE lanes lanes_set1(double x) { return lanes_pair(_mm256_set1_pd(x), _mm256_set1_pd(x)); }
MORSR_INLINE lanes lanes_zero(void) { return lanes_set1(0.0); }
MORSR_INLINE lanes lanes_add(lanes a, lanes b) {
    return lanes_pair(_mm256_add_pd(a.lo, b.lo), _mm256_add_pd(a.hi, b.hi));
}
MORSR_INLINE lanes lanes_sub(lanes a, lanes b) {
    return lanes_pair(_mm256_sub_pd(a.lo, b.lo), _mm256_sub_pd(a.hi, b.hi));
}
MORSR_INLINE lanes lanes_mul(lanes a, lanes b) {
    return lanes_pair(_mm256_mul_pd(a.lo, b.lo), _mm256_mul_pd(a.hi, b.hi));
}
MORSR_INLINE lanes lanes_div(lanes a, lanes b) {
    return lanes_pair(_mm256_div_pd(a.lo, b.lo), _mm256_div_pd(a.hi, b.hi));
}
MORSR_INLINE lanes lanes_min(lanes a, lanes b) {
    return lanes_pair(_mm256_min_pd(a.lo, b.lo), _mm256_min_pd(a.hi, b.hi));
}
MORSR_INLINE lanes lanes_max(lanes a, lanes b) {
    return lanes_pair(_mm256_max_pd(a.lo, b.lo), _mm256_max_pd(a.hi, b.hi));
}
MORSR_INLINE lanes lanes_sqrt(lanes a) {
    return lanes_pair(_mm256_sqrt_pd(a.lo), _mm256_sqrt_pd(a.hi));
}
MORSR_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) {
    return lanes_pair(_mm256_fmadd_pd(a.lo, b.lo, c.lo), _mm256_fmadd_pd(a.hi, b.hi, c.hi));
}
MORSR_INLINE lanes lanes_fnma(lanes a, lanes b, lanes c) {
    return lanes_pair(_mm256_fnmadd_pd(a.lo, b.lo, c.lo), _mm256_fnmadd_pd(a.hi, b.hi, c.hi));
}
MORSR_INLINE lanes lanes_abs(lanes a) {
    const __m256d sign = _mm256_set1_pd(-0.0);
    return lanes_pair(_mm256_andnot_pd(sign, a.lo), _mm256_andnot_pd(sign, a.hi));
}
MORSR_INLINE lanes lanes_neg(lanes a) {
    const __m256d sign = _mm256_set1_pd(-0.0);
    return lanes_pair(_mm256_xor_pd(sign, a.lo), _mm256_xor_pd(sign, a.hi));
}
MORSR_INLINE lanes lanes_sign(lanes a) {
    const __m256d sign = _mm256_set1_pd(-0.0), one = _mm256_set1_pd(1.0);
    return lanes_pair(_mm256_or_pd(_mm256_and_pd(sign, a.lo), one),
                      _mm256_or_pd(_mm256_and_pd(sign, a.hi), one));
}
MORSR_INLINE lanes lanes_rint(lanes a) {
    return lanes_pair(_mm256_round_pd(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                      _mm256_round_pd(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
MORSR_INLINE lanes_mask lanes_lt(lanes a, lanes b) {
    return lanes_mask_pair(_mm256_cmp_pd(a.lo, b.lo, _CMP_LT_OQ),
                           _mm256_cmp_pd(a.hi, b.hi, _CMP_LT_OQ));
}
MORSR_INLINE lanes_mask lanes_le(lanes a, lanes b) {
    return lanes_mask_pair(_mm256_cmp_pd(a.lo, b.lo, _CMP_LE_OQ),
                           _mm256_cmp_pd(a.hi, b.hi, _CMP_LE_OQ));
}
MORSR_INLINE lanes_mask lanes_eq(lanes a, lanes b) {
    return lanes_mask_pair(_mm256_cmp_pd(a.lo, b.lo, _CMP_EQ_OQ),
                           _mm256_cmp_pd(a.hi, b.hi, _CMP_EQ_OQ));
}
MORSR_INLINE lanes lanes_blend(lanes_mask m, lanes if_true, lanes if_false) {
    return lanes_pair(_mm256_blendv_pd(if_false.lo, if_true.lo, m.lo),
                      _mm256_blendv_pd(if_false.hi, if_true.hi, m.hi));
}
MORSR_INLINE lanes lanes_keep(lanes_mask m, lanes a) {
    return lanes_pair(_mm256_and_pd(m.lo, a.lo), _mm256_and_pd(m.hi, a.hi));
}
MORSR_INLINE unsigned lanes_mask_bits(lanes_mask m) {
    return (unsigned)_mm256_movemask_pd(m.lo) | (unsigned)_mm256_movemask_pd(m.hi) << 4;
}
MORSR_INLINE lanes_mask lanes_mask_from_bits(unsigned bits) {
    const __m256i b = _mm256_set1_epi64x((long long)bits);
    const __m256i lo = _mm256_set_epi64x(8, 4, 2, 1), hi = _mm256_set_epi64x(128, 64, 32, 16);
    return lanes_mask_pair(_mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(b, lo), lo)),
                           _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(b, hi), hi)));
}
MORSR_INLINE lanes_mask lanes_mask_and(lanes_mask a, lanes_mask b) {
    return lanes_mask_pair(_mm256_and_pd(a.lo, b.lo), _mm256_and_pd(a.hi, b.hi));
}
MORSR_INLINE lanes_mask lanes_mask_or(lanes_mask a, lanes_mask b) {
    return lanes_mask_pair(_mm256_or_pd(a.lo, b.lo), _mm256_or_pd(a.hi, b.hi));
}
MORSR_INLINE lanes_mask lanes_mask_andnot(lanes_mask a, lanes_mask b) {
    return lanes_mask_pair(_mm256_andnot_pd(a.lo, b.lo), _mm256_andnot_pd(a.hi, b.hi));
}
MORSR_INLINE lanes_mask lanes_mask_xor(lanes_mask a, lanes_mask b) {
    return lanes_mask_pair(_mm256_xor_pd(a.lo, b.lo), _mm256_xor_pd(a.hi, b.hi));
}

/* Eight integers of int32 range. */
MORSR_INLINE void lanes_store_i32(int32_t *p, lanes a) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtpd_epi32(a.lo));
    _mm_storeu_si128((__m128i *)(void *)(p + 4), _mm256_cvtpd_epi32(a.hi));
}

MORSR_INLINE void lanes_transpose4(__m256d x[4]) {
    const __m256d a = _mm256_unpacklo_pd(x[0], x[1]), b = _mm256_unpackhi_pd(x[0], x[1]);
    const __m256d c = _mm256_unpacklo_pd(x[2], x[3]), d = _mm256_unpackhi_pd(x[2], x[3]);
    x[0] = _mm256_permute2f128_pd(a, c, 0x20);
    x[1] = _mm256_permute2f128_pd(b, d, 0x20);
    x[2] = _mm256_permute2f128_pd(a, c, 0x31);
    x[3] = _mm256_permute2f128_pd(b, d, 0x31);
}

/* Rows to columns and back: x[i] lane j <-> x[j] lane i. */
MORSR_INLINE void lanes_transpose8(lanes x[8]) {
    __m256d q[4][4]; /* upper left, upper right, lower left, lower right */
    for (int i = 0; i < 4; ++i) {
        q[0][i] = x[i].lo;
        q[1][i] = x[i].hi;
        q[2][i] = x[i + 4].lo;
        q[3][i] = x[i + 4].hi;
    }
    for (int i = 0; i < 4; ++i) lanes_transpose4(q[i]);
    for (int i = 0; i < 4; ++i) {
        x[i] = lanes_pair(q[0][i], q[2][i]);
        x[i + 4] = lanes_pair(q[1][i], q[3][i]);
    }
}

#endif
