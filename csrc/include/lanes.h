/* Eight doubles side by side ("lanes"), the same bits at every CPU level.
 *
 * To be included after level_begin.h, which says the level: MORSR_LEVEL_AVX512, MORSR_LEVEL_AVX2,
 * or neither (plain C).  Every operation is one correctly rounded IEEE operation per lane, so the
 * level can change the speed of a result but never its bits.  Only NaN payloads are not promised.
 *
 *   lanes_load / lanes_store     64-byte aligned;  lanes_loadu / lanes_storeu: any alignment
 *   lanes_set1, lanes_zero, lanes_add, lanes_sub, lanes_mul, lanes_div, lanes_sqrt
 *   lanes_fma(a, b, c)           a*b + c, rounded once
 *   lanes_fnma(a, b, c)          c - a*b, rounded once
 *   lanes_min(a, b)              a < b ? a : b    (so b on ties, and when either is NaN)
 *   lanes_max(a, b)              a > b ? a : b    (so b on ties, and when either is NaN)
 *   lanes_abs, lanes_neg         sign bit cleared, flipped
 *   lanes_sign                   1 with the sign of a (of zeros too)
 *   lanes_rint                   to the nearest integer, half to even, sign of zero kept
 *   lanes_lt, lanes_le, lanes_eq ordered comparisons to a lanes_mask (false for NaN)
 *   lanes_blend(m, t, f)         t where m holds, else f
 *   lanes_keep(m, a)             a where m holds, else +0
 *   lanes_mask_bits(m)           bit i = lane i;  lanes_mask_from_bits is its inverse
 *   lanes_mask_and, _or, _xor    lane by lane;  lanes_mask_andnot(a, b) = not a, and b
 *   lanes_lt_mask(a, b)          bits of a < b
 *   lanes_all_ge(a, b)           1 when a >= b in every lane (0 when any is NaN)
 *   lanes_sum                    the eight lanes added in one fixed order (below)
 *   lanes_store_i32(p, a)        eight int32 (a holds integers of that range)
 *   lanes_transpose8(x)          eight lanes as an 8x8 matrix, transposed in place
 *   lanes_hmin                   least of the eight lanes (NaN not promised)
 */
#ifndef MORSR_LANES_H
#define MORSR_LANES_H

/* a*b + c with one rounding: an instruction where the level has it, libm's fma otherwise. */
#define MORSR_FMA(a, b, c) __builtin_fma((a), (b), (c))
#define MORSR_FMAF(a, b, c) __builtin_fmaf((a), (b), (c))

#if defined(__GNUC__)
#define MORSR_INLINE static inline __attribute__((always_inline, unused))
#define MORSR_ALIGN64 __attribute__((aligned(64)))
#define MORSR_LIKELY(x) __builtin_expect(!!(x), 1)
#define MORSR_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define MORSR_INLINE static inline
#define MORSR_ALIGN64
#define MORSR_LIKELY(x) (x)
#define MORSR_UNLIKELY(x) (x)
#endif

#if defined(MORSR_LEVEL_AVX512)
#include "lanes_avx512.h"
#elif defined(MORSR_LEVEL_AVX2)
#include "lanes_avx2.h"
#else
#include "lanes_baseline.h"
#endif

MORSR_INLINE unsigned lanes_lt_mask(lanes a, lanes b) { return lanes_mask_bits(lanes_lt(a, b)); }

MORSR_INLINE int lanes_all_ge(lanes a, lanes b) { return lanes_mask_bits(lanes_le(b, a)) == 0xffu; }

/* ((0+4) + (2+6)) + ((1+5) + (3+7)): halves on halves, the order a vector unit likes. */
MORSR_INLINE double lanes_sum(lanes a) {
    MORSR_ALIGN64 double v[8];
    lanes_store(v, a);
    const double p0 = v[0] + v[4], p1 = v[1] + v[5], p2 = v[2] + v[6], p3 = v[3] + v[7];
    return (p0 + p2) + (p1 + p3);
}

MORSR_INLINE double lanes_hmin(lanes a) {
    MORSR_ALIGN64 double v[8];
    lanes_store(v, a);
    double least = v[0];
    for (int i = 1; i < 8; ++i) least = v[i] < least ? v[i] : least;
    return least;
}

#endif
