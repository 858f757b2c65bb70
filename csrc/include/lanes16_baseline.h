/* lanes16.h in plain C, for any CPU: loops the compiler may turn into what vectors there are. */
#ifndef MORSR_LANES16_BASELINE_H
#define MORSR_LANES16_BASELINE_H

typedef struct {
    float v[16];
} lanes16;

/* All bits of a lane set or clear. */
typedef struct {
    int32_t v[16];
} lanes16_mask;

MORSR_INLINE lanes16 lanes16_loadu(const float *p) {
    lanes16 r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
MORSR_INLINE lanes16 lanes16_load(const float *p) { return lanes16_loadu(p); }
MORSR_INLINE void lanes16_storeu(float *p, lanes16 a) { memcpy(p, a.v, sizeof a.v); }
MORSR_INLINE void lanes16_store(float *p, lanes16 a) { lanes16_storeu(p, a); }

/* One result lane from the lanes16 of the arguments. */
#define MORSR_EACH_LANE16(type, expression)                           \
    do {                                                              \
        type r;                                                       \
        for (int i = 0; i < 16; ++i) r.v[i] = (expression);           \
        return r;                                                     \
    } while (0)

MORSR_INLINE lanes16 lanes16_set1(float x) { MORSR_EACH_LANE16(lanes16, x); }
MORSR_INLINE lanes16 lanes16_zero(void) { MORSR_EACH_LANE16(lanes16, 0.0f); }
MORSR_INLINE lanes16 lanes16_add(lanes16 a, lanes16 b) {
    MORSR_EACH_LANE16(lanes16, a.v[i] + b.v[i]);
}
MORSR_INLINE lanes16 lanes16_sub(lanes16 a, lanes16 b) {
    MORSR_EACH_LANE16(lanes16, a.v[i] - b.v[i]);
}
MORSR_INLINE lanes16 lanes16_mul(lanes16 a, lanes16 b) {
    MORSR_EACH_LANE16(lanes16, a.v[i] * b.v[i]);
}
MORSR_INLINE lanes16 lanes16_fma(lanes16 a, lanes16 b, lanes16 c) {
    MORSR_EACH_LANE16(lanes16, MORSR_FMAF(a.v[i], b.v[i], c.v[i]));
}
MORSR_INLINE lanes16 lanes16_min(lanes16 a, lanes16 b) {
    MORSR_EACH_LANE16(lanes16, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
MORSR_INLINE lanes16 lanes16_max(lanes16 a, lanes16 b) {
    MORSR_EACH_LANE16(lanes16, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
MORSR_INLINE lanes16 lanes16_abs(lanes16 a) { MORSR_EACH_LANE16(lanes16, fabsf(a.v[i])); }
/* Adding and taking away 2^23 rounds to an integer, half to even, without a call or a branch;
 * larger numbers are integers already.  (-ffast-math is refused.) */
MORSR_INLINE float lanes16_rint_one(float x) {
    const float big = 8388608.0f, a = fabsf(x);
    return a < big ? copysignf((a + big) - big, x) : x;
}
MORSR_INLINE lanes16 lanes16_sign(lanes16 a) { MORSR_EACH_LANE16(lanes16, copysignf(1.0f, a.v[i])); }
MORSR_INLINE lanes16 lanes16_rint(lanes16 a) {
    MORSR_EACH_LANE16(lanes16, lanes16_rint_one(a.v[i]));
}
MORSR_INLINE lanes16_mask lanes16_lt(lanes16 a, lanes16 b) {
    MORSR_EACH_LANE16(lanes16_mask, -(int32_t)(a.v[i] < b.v[i]));
}
MORSR_INLINE lanes16_mask lanes16_le(lanes16 a, lanes16 b) {
    MORSR_EACH_LANE16(lanes16_mask, -(int32_t)(a.v[i] <= b.v[i]));
}
MORSR_INLINE lanes16_mask lanes16_eq(lanes16 a, lanes16 b) {
    MORSR_EACH_LANE16(lanes16_mask, -(int32_t)(a.v[i] == b.v[i]));
}
MORSR_INLINE lanes16 lanes16_blend(lanes16_mask m, lanes16 if_true, lanes16 if_false) {
    MORSR_EACH_LANE16(lanes16, m.v[i] ? if_true.v[i] : if_false.v[i]);
}
MORSR_INLINE lanes16 lanes16_keep(lanes16_mask m, lanes16 a) {
    MORSR_EACH_LANE16(lanes16, m.v[i] ? a.v[i] : 0.0f);
}
MORSR_INLINE unsigned lanes16_mask_bits(lanes16_mask m) {
    unsigned bits = 0;
    for (int i = 0; i < 16; ++i) bits |= (unsigned)(m.v[i] & 1) << i;
    return bits;
}
MORSR_INLINE lanes16_mask lanes16_mask_and(lanes16_mask a, lanes16_mask b) {
    MORSR_EACH_LANE16(lanes16_mask, a.v[i] & b.v[i]);
}
MORSR_INLINE lanes16_mask lanes16_mask_or(lanes16_mask a, lanes16_mask b) {
    MORSR_EACH_LANE16(lanes16_mask, a.v[i] | b.v[i]);
}
MORSR_INLINE lanes16_mask lanes16_mask_andnot(lanes16_mask a, lanes16_mask b) {
    MORSR_EACH_LANE16(lanes16_mask, ~a.v[i] & b.v[i]);
}
MORSR_INLINE lanes16_mask lanes16_mask_xor(lanes16_mask a, lanes16_mask b) {
    MORSR_EACH_LANE16(lanes16_mask, a.v[i] ^ b.v[i]);
}

/* Sixteen points of eight coordinates, point after point, to x[i] = coordinate i. */
MORSR_INLINE void lanes16_load_points(const float *p, lanes16 x[8]) {
    for (int i = 0; i < 8; ++i)
        for (int j = 0; j < 16; ++j) x[i].v[j] = p[8 * j + i];
}

/* The inverse of lanes16_load_points, for integers of int32 range. */
MORSR_INLINE void lanes16_store_points_i32(int32_t *p, const lanes16 x[8]) {
    for (int j = 0; j < 16; ++j)
        for (int i = 0; i < 8; ++i) p[8 * j + i] = (int32_t)x[i].v[j];
}

#endif
