/* Opens a region of code compiled for one CPU level.
 *
 * Included once per translation unit, after MORSR_FN and at most one of MORSR_LEVEL_AVX512 and
 * MORSR_LEVEL_AVX2 are defined, and closed by level_end.h.  Neither macro: the baseline, the
 * instructions every CPU of the architecture has.
 *
 * The system headers come first, outside the region, so that their inline functions keep the
 * default target.  Everything is to be compiled with -ffp-contract=off: intrinsics for multiply
 * and add are plain operators to gcc, which would otherwise fuse them on some levels only.
 */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(MORSR_LEVEL_AVX512) && defined(MORSR_LEVEL_AVX2)
#error "choose one CPU level"
#endif
#ifndef MORSR_FN
#error "define MORSR_FN(name), the suffix of this CPU level"
#endif
#if defined(__FAST_MATH__)
#error "these kernels promise the same bits everywhere: no -ffast-math"
#endif

#if defined(MORSR_LEVEL_AVX512) || defined(MORSR_LEVEL_AVX2)
#include <immintrin.h>
#if defined(MORSR_LEVEL_AVX512)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx2,fma")
#endif
#else
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#if __GNUC__ >= 11 /* the same instructions in a better order: a fifth more points per second */
#pragma GCC target("avx2,fma,tune=znver3")
#else
#pragma GCC target("avx2,fma")
#endif
#endif
#endif
#endif
