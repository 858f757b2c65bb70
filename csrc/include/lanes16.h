/* Sixteen floats side by side: the float32 half of lanes.h, with the same promises.
 *
 * The operations are those of lanes.h with the prefix lanes16_ (as many as are needed), and
 *   lanes16_load_points(p, x)       16 points of 8 floats, row after row -> x[i] = coordinate i
 *   lanes16_store_points_i32(p, x)  the inverse, rounded values as int32
 */
#ifndef MORSR_LANES16_H
#define MORSR_LANES16_H

#include "lanes.h"

#if defined(MORSR_LEVEL_AVX512)
#include "lanes16_avx512.h"
#elif defined(MORSR_LEVEL_AVX2)
#include "lanes16_avx2.h"
#else
#include "lanes16_baseline.h"
#endif

#endif
