/* Batches of vectors to E8: nearest points, distances, folding into the fundamental Weyl chamber.
 *
 * Vectors lie row after row, eight coordinates each, without any alignment.  The functions return
 * E8_OK or E8_RANGE (e8_knearest.h); after E8_RANGE the outputs hold nothing of use.
 */
#ifndef MORSR_E8_DECODE_H
#define MORSR_E8_DECODE_H

#include <stdint.h>

#include "cpu_level.h"

/* Nearest points as doubled coordinates and squared distances; either output may be NULL.
 * E8_RANGE when a vector is longer than 2^29 (float32: 2^20) or not finite. */
typedef int e8_nearest_f64_fn(const double *x, int64_t n, int32_t *doubled, double *dist2);
typedef int e8_nearest_f32_fn(const float *x, int64_t n, int32_t *doubled, float *dist2);

/* At the level in use, and at each level. */
e8_nearest_f64_fn e8_nearest_f64;
e8_nearest_f32_fn e8_nearest_f32;
e8_nearest_f64_fn e8_nearest_f64_baseline, e8_nearest_f64_avx2, e8_nearest_f64_avx512;
e8_nearest_f32_fn e8_nearest_f32_baseline, e8_nearest_f32_avx2, e8_nearest_f32_avx512;

#define E8_WORD 120 /* positive roots: no vector needs more reflections */

/* Folds vectors into the closed fundamental chamber by reflections in simple roots, always the
 * first simple root (0..7, Bourbaki's order) with a negative inner product.  words (n x E8_WORD)
 * gets the roots in the order of use, filled up with 255, lengths how many there are.  The
 * arithmetic is exact on the vector rounded to 54 bits below its largest coordinate: a lattice
 * point is folded exactly, and the word never has more than E8_WORD letters.
 * E8_RANGE when a coordinate is not finite or beyond 2^1000. */
typedef int e8_fold_fn(const double *x, int64_t n, double *folded, uint8_t *words,
                       uint8_t *lengths);

e8_fold_fn e8_fold;

/* CPU levels: 0 baseline, 1 avx2, 2 avx512. */
int morsr_e8_level(void);          /* the one in use: the best unless another was set */
int morsr_e8_set_level(int level); /* E8_OK, or E8_BAD_ARGUMENT when this CPU lacks it */

#endif
