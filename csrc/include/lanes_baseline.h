/* lanes.h in plain C, for any CPU: loops the compiler may turn into whatever vectors there are. */
#ifndef MORSR_LANES_BASELINE_H
#define MORSR_LANES_BASELINE_H

typedef struct {
    double v[8];
} lanes;

/* All bits of a lane set or clear. */
typedef struct {
    int64_t v[8];
} lanes_mask;

MORSR_INLINE lanes lanes_loadu(const double *p) {
    lanes r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}
MORSR_INLINE lanes lanes_load(const double *p) { return lanes_loadu(p); }
MORSR_INLINE void lanes_storeu(double *p, lanes a) { memcpy(p, a.v, sizeof a.v); }
MORSR_INLINE void lanes_store(double *p, lanes a) { lanes_storeu(p, a); }

/* One result lane from the lanes of the arguments. */
#define MORSR_EACH_LANE(type, expression)                             \
    do {                                                              \
        type r;                                                       \
        for (int i = 0; i < 8; ++i) r.v[i] = (expression);            \
        return r;                                                     \
    } while (0)

MORSR_INLINE lanes lanes_set1(double x) { MORSR_EACH_LANE(lanes, x); }
MORSR_INLINE lanes lanes_zero(void) { MORSR_EACH_LANE(lanes, 0.0); }
MORSR_INLINE lanes lanes_add(lanes a, lanes b) { MORSR_EACH_LANE(lanes, a.v[i] + b.v[i]); }
MORSR_INLINE lanes lanes_sub(lanes a, lanes b) { MORSR_EACH_LANE(lanes, a.v[i] - b.v[i]); }
MORSR_INLINE lanes lanes_mul(lanes a, lanes b) { MORSR_EACH_LANE(lanes, a.v[i] * b.v[i]); }
MORSR_INLINE lanes lanes_div(lanes a, lanes b) { MORSR_EACH_LANE(lanes, a.v[i] / b.v[i]); }
MORSR_INLINE lanes lanes_sqrt(lanes a) { MORSR_EACH_LANE(lanes, sqrt(a.v[i])); }
MORSR_INLINE lanes lanes_fma(lanes a, lanes b, lanes c) {
    MORSR_EACH_LANE(lanes, MORSR_FMA(a.v[i], b.v[i], c.v[i]));
}
MORSR_INLINE lanes lanes_fnma(lanes a, lanes b, lanes c) {
    MORSR_EACH_LANE(lanes, MORSR_FMA(-a.v[i], b.v[i], c.v[i]));
}
MORSR_INLINE lanes lanes_min(lanes a, lanes b) {
    MORSR_EACH_LANE(lanes, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
MORSR_INLINE lanes lanes_max(lanes a, lanes b) {
    MORSR_EACH_LANE(lanes, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
MORSR_INLINE lanes lanes_abs(lanes a) { MORSR_EACH_LANE(lanes, fabs(a.v[i])); }
MORSR_INLINE lanes lanes_sign(lanes a) { MORSR_EACH_LANE(lanes, copysign(1.0, a.v[i])); }
MORSR_INLINE lanes lanes_neg(lanes a) { MORSR_EACH_LANE(lanes, -a.v[i]); }
/* Adding and taking away 2^52 rounds to an integer, half to even, without a call or a branch;
 * larger numbers are integers already.  (-ffast-math is refused.) */
MORSR_INLINE double lanes_rint_one(double x) {
    const double big = 4503599627370496.0, a = fabs(x);
    return a < big ? copysign((a + big) - big, x) : x;
}
MORSR_INLINE lanes lanes_rint(lanes a) { MORSR_EACH_LANE(lanes, lanes_rint_one(a.v[i])); }
MORSR_INLINE lanes_mask lanes_lt(lanes a, lanes b) {
    MORSR_EACH_LANE(lanes_mask, -(int64_t)(a.v[i] < b.v[i]));
}
MORSR_INLINE lanes_mask lanes_le(lanes a, lanes b) {
    MORSR_EACH_LANE(lanes_mask, -(int64_t)(a.v[i] <= b.v[i]));
}
MORSR_INLINE lanes_mask lanes_eq(lanes a, lanes b) {
    MORSR_EACH_LANE(lanes_mask, -(int64_t)(a.v[i] == b.v[i]));
}
MORSR_INLINE lanes lanes_blend(lanes_mask m, lanes if_true, lanes if_false) {
    MORSR_EACH_LANE(lanes, m.v[i] ? if_true.v[i] : if_false.v[i]);
}
MORSR_INLINE lanes lanes_keep(lanes_mask m, lanes a) {
    MORSR_EACH_LANE(lanes, m.v[i] ? a.v[i] : 0.0);
}
MORSR_INLINE unsigned lanes_mask_bits(lanes_mask m) {
    unsigned bits = 0;
    for (int i = 0; i < 8; ++i) bits |= (unsigned)(m.v[i] & 1) << i;
    return bits;
}
MORSR_INLINE lanes_mask lanes_mask_from_bits(unsigned bits) {
    MORSR_EACH_LANE(lanes_mask, -(int64_t)((bits >> i) & 1u));
}
MORSR_INLINE lanes_mask lanes_mask_and(lanes_mask a, lanes_mask b) {
    MORSR_EACH_LANE(lanes_mask, a.v[i] & b.v[i]);
}
MORSR_INLINE lanes_mask lanes_mask_or(lanes_mask a, lanes_mask b) {
    MORSR_EACH_LANE(lanes_mask, a.v[i] | b.v[i]);
}
MORSR_INLINE lanes_mask lanes_mask_andnot(lanes_mask a, lanes_mask b) {
    MORSR_EACH_LANE(lanes_mask, ~a.v[i] & b.v[i]);
}
MORSR_INLINE lanes_mask lanes_mask_xor(lanes_mask a, lanes_mask b) {
    MORSR_EACH_LANE(lanes_mask, a.v[i] ^ b.v[i]);
}

/* Eight integers of int32 range. */
MORSR_INLINE void lanes_store_i32(int32_t *p, lanes a) {
    for (int i = 0; i < 8; ++i) p[i] = (int32_t)a.v[i];
}

/* Rows to columns and back: x[i] lane j <-> x[j] lane i. */
MORSR_INLINE void lanes_transpose8(lanes x[8]) {
    for (int i = 1; i < 8; ++i)
        for (int j = 0; j < i; ++j) {
            const double held = x[i].v[j];
            x[i].v[j] = x[j].v[i];
            x[j].v[i] = held;
        }
}

#endif
