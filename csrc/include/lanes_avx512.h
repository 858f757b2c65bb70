/* lanes.h for AVX-512: one register. */
#ifndef MORSR_LANES_AVX512_H
#define MORSR_LANES_AVX512_H

typedef __m512d lanes;
typedef __mmask8 lanes_mask;

MORSR_INLINE lanes lanes_load(const double *p) { return _mm512_load_pd(p); }
MORSR_INLINE lanes lanes_loadu(const double *p) { return _mm512_loadu_pd(p); }
MORSR_INLINE void lanes_store(double *p, lanes a) { _mm512_store_pd(p, a); }
MORSR_INLINE void lanes_storeu(double *p, lanes a) { _mm512_storeu_pd(p, a); }
MORSR_INLINE lanes lanes_set1(double x) { return _mm512_set1_pd(x); }
MORSR_INLINE lanes lanes_zero(void) { return _mm512_setzero_pd(); }
MORSR_INLINE lanes lanes_add(lanes a, lanes b) { return _mm512_add_pd(a, b); }
MORSR_INLINE lanes lanes_sub(lanes a, lanes b) { return _mm512_sub_pd(a, b); }
MORSR_INLINE lanes lanes_mul(lanes a, lanes b) { return _mm512_mul_pd(a, b); }
MORSR_INLINE lanes lanes_div(lanes a, lanes b) { return _mm512_div_pd(a, b); }
MORSR_INLINE lanes lanes_sqrt(lanes a) { return _mm512_sqrt_pd(a); }
MORSR_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) { return _mm512_fmadd_pd(a, b, c); }
MORSR_INLINE lanes lanes_fnma(lanes a, lanes b, lanes c) { return _mm512_fnmadd_pd(a, b, c); }
MORSR_INLINE lanes lanes_min(lanes a, lanes b) { return _mm512_min_pd(a, b); }
MORSR_INLINE lanes lanes_max(lanes a, lanes b) { return _mm512_max_pd(a, b); }
MORSR_INLINE lanes lanes_abs(lanes a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
MORSR_INLINE lanes lanes_sign(lanes a) {
    return _mm512_or_pd(_mm512_and_pd(_mm512_set1_pd(-0.0), a), _mm512_set1_pd(1.0));
}
MORSR_INLINE lanes lanes_neg(lanes a) { return _mm512_xor_pd(_mm512_set1_pd(-0.0), a); }
MORSR_INLINE lanes lanes_rint(lanes a) {
    return _mm512_roundscale_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
MORSR_INLINE lanes_mask lanes_lt(lanes a, lanes b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
MORSR_INLINE lanes_mask lanes_le(lanes a, lanes b) { return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ); }
MORSR_INLINE lanes_mask lanes_eq(lanes a, lanes b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
MORSR_INLINE lanes lanes_blend(lanes_mask m, lanes if_true, lanes if_false) {
    return _mm512_mask_blend_pd(m, if_false, if_true);
}
MORSR_INLINE lanes lanes_keep(lanes_mask m, lanes a) { return _mm512_maskz_mov_pd(m, a); }
MORSR_INLINE unsigned lanes_mask_bits(lanes_mask m) { return (unsigned)m; }
MORSR_INLINE lanes_mask lanes_mask_from_bits(unsigned bits) { return (lanes_mask)bits; }
MORSR_INLINE lanes_mask lanes_mask_and(lanes_mask a, lanes_mask b) { return (lanes_mask)(a & b); }
MORSR_INLINE lanes_mask lanes_mask_or(lanes_mask a, lanes_mask b) { return (lanes_mask)(a | b); }
MORSR_INLINE lanes_mask lanes_mask_andnot(lanes_mask a, lanes_mask b) {
    return (lanes_mask)(~a & b);
}
MORSR_INLINE lanes_mask lanes_mask_xor(lanes_mask a, lanes_mask b) { return (lanes_mask)(a ^ b); }

/* Eight integers of int32 range. */
MORSR_INLINE void lanes_store_i32(int32_t *p, lanes a) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtpd_epi32(a));
}

/* Rows to columns and back: x[i] lane j <-> x[j] lane i. */
MORSR_INLINE void lanes_transpose8(lanes x[8]) {
    __m512d a[8], b[8];
    for (int i = 0; i < 8; i += 2) { /* 2x2 blocks of single numbers */
        a[i] = _mm512_unpacklo_pd(x[i], x[i + 1]);
        a[i + 1] = _mm512_unpackhi_pd(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) { /* 128-bit blocks: even ones, odd ones */
        for (int j = 0; j < 2; ++j) {
            b[i + j] = _mm512_shuffle_f64x2(a[i + j], a[i + j + 2], 0x88);
            b[i + j + 2] = _mm512_shuffle_f64x2(a[i + j], a[i + j + 2], 0xdd);
        }
    }
    for (int j = 0; j < 4; ++j) {
        x[j] = _mm512_shuffle_f64x2(b[j], b[j + 4], 0x88);
        x[j + 4] = _mm512_shuffle_f64x2(b[j], b[j + 4], 0xdd);
    }
}

#endif
