/* lanes16.h for AVX-512: one register. */
#ifndef MORSR_LANES16_AVX512_H
#define MORSR_LANES16_AVX512_H

typedef __m512 lanes16;
typedef __mmask16 lanes16_mask;

MORSR_INLINE lanes16 lanes16_load(const float *p) { return _mm512_load_ps(p); }
MORSR_INLINE lanes16 lanes16_loadu(const float *p) { return _mm512_loadu_ps(p); }
MORSR_INLINE void lanes16_store(float *p, lanes16 a) { _mm512_store_ps(p, a); }
MORSR_INLINE void lanes16_storeu(float *p, lanes16 a) { _mm512_storeu_ps(p, a); }
MORSR_INLINE lanes16 lanes16_set1(float x) { return _mm512_set1_ps(x); }
MORSR_INLINE lanes16 lanes16_zero(void) { return _mm512_setzero_ps(); }
MORSR_INLINE lanes16 lanes16_add(lanes16 a, lanes16 b) { return _mm512_add_ps(a, b); }
MORSR_INLINE lanes16 lanes16_sub(lanes16 a, lanes16 b) { return _mm512_sub_ps(a, b); }
MORSR_INLINE lanes16 lanes16_mul(lanes16 a, lanes16 b) { return _mm512_mul_ps(a, b); }
MORSR_INLINE lanes16 lanes16_fma(lanes16 a, lanes16 b, lanes16 c) {
    return _mm512_fmadd_ps(a, b, c);
}
MORSR_INLINE lanes16 lanes16_min(lanes16 a, lanes16 b) { return _mm512_min_ps(a, b); }
MORSR_INLINE lanes16 lanes16_max(lanes16 a, lanes16 b) { return _mm512_max_ps(a, b); }
MORSR_INLINE lanes16 lanes16_abs(lanes16 a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
MORSR_INLINE lanes16 lanes16_sign(lanes16 a) {
    return _mm512_or_ps(_mm512_and_ps(_mm512_set1_ps(-0.0f), a), _mm512_set1_ps(1.0f));
}
MORSR_INLINE lanes16 lanes16_rint(lanes16 a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
MORSR_INLINE lanes16_mask lanes16_lt(lanes16 a, lanes16 b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
MORSR_INLINE lanes16_mask lanes16_le(lanes16 a, lanes16 b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
MORSR_INLINE lanes16_mask lanes16_eq(lanes16 a, lanes16 b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
MORSR_INLINE lanes16 lanes16_blend(lanes16_mask m, lanes16 if_true, lanes16 if_false) {
    return _mm512_mask_blend_ps(m, if_false, if_true);
}
MORSR_INLINE lanes16 lanes16_keep(lanes16_mask m, lanes16 a) { return _mm512_maskz_mov_ps(m, a); }
MORSR_INLINE unsigned lanes16_mask_bits(lanes16_mask m) { return (unsigned)m; }
MORSR_INLINE lanes16_mask lanes16_mask_and(lanes16_mask a, lanes16_mask b) {
    return (lanes16_mask)(a & b);
}
MORSR_INLINE lanes16_mask lanes16_mask_or(lanes16_mask a, lanes16_mask b) {
    return (lanes16_mask)(a | b);
}
MORSR_INLINE lanes16_mask lanes16_mask_andnot(lanes16_mask a, lanes16_mask b) {
    return (lanes16_mask)(~a & b);
}
MORSR_INLINE lanes16_mask lanes16_mask_xor(lanes16_mask a, lanes16_mask b) {
    return (lanes16_mask)(a ^ b);
}

/* Four 4x4 transpositions, one in each 128-bit block of x[0..3]. */
MORSR_INLINE void lanes16_transpose4(__m512 x[4]) {
    const __m512 a = _mm512_unpacklo_ps(x[0], x[1]), b = _mm512_unpackhi_ps(x[0], x[1]);
    const __m512 c = _mm512_unpacklo_ps(x[2], x[3]), d = _mm512_unpackhi_ps(x[2], x[3]);
    x[0] = _mm512_shuffle_ps(a, c, 0x44);
    x[1] = _mm512_shuffle_ps(a, c, 0xee);
    x[2] = _mm512_shuffle_ps(b, d, 0x44);
    x[3] = _mm512_shuffle_ps(b, d, 0xee);
}

/* Sixteen points of eight coordinates, point after point, to x[i] = coordinate i. */
MORSR_INLINE void lanes16_load_points(const float *p, lanes16 x[8]) {
    __m512 g[2][4]; /* g[h][r]: points 8h + r and 8h + r + 4 */
    for (int h = 0; h < 2; ++h) {
        for (int r = 0; r < 4; ++r) {
            const float *q = p + 64 * h + 8 * r;
            g[h][r] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(q)),
                                         _mm256_loadu_ps(q + 32), 1);
        }
        lanes16_transpose4(g[h]);
    }
    for (int i = 0; i < 4; ++i) {
        x[i] = _mm512_shuffle_f32x4(g[0][i], g[1][i], 0x88);
        x[i + 4] = _mm512_shuffle_f32x4(g[0][i], g[1][i], 0xdd);
    }
}

/* The inverse of lanes16_load_points, for integers of int32 range. */
MORSR_INLINE void lanes16_store_points_i32(int32_t *p, const lanes16 x[8]) {
    for (int h = 0; h < 2; ++h) {
        __m512 g[4];
        for (int i = 0; i < 4; ++i)
            g[i] = h == 0 ? _mm512_shuffle_f32x4(x[i], x[i + 4], 0x44)
                          : _mm512_shuffle_f32x4(x[i], x[i + 4], 0xee);
        lanes16_transpose4(g);
        for (int r = 0; r < 4; ++r) {
            const __m512i both = _mm512_cvtps_epi32(_mm512_shuffle_f32x4(g[r], g[r], 0xd8));
            int32_t *q = p + 64 * h + 8 * r;
            _mm256_storeu_si256((__m256i *)(void *)q, _mm512_castsi512_si256(both));
            _mm256_storeu_si256((__m256i *)(void *)(q + 32), _mm512_extracti64x4_epi64(both, 1));
        }
    }
}

#endif
