/* Body of e8_lanes.h, included once per precision: E8_T is the vector type, E8_V(op) its
 * operations, E8_C(number) a constant of its scalar type.
 *
 * The tie-break rule is the one of docs/decisions/0002-tie-break.md: round half to even; when the
 * parity is odd, move the coordinate with the largest |d| (the first one on ties) one step toward
 * the sign of d (d >= 0: up); take the half-integer coset only when its distance is strictly
 * smaller.  Sums run over i = 0..7, a product and then an addition, never fused.
 */

typedef struct {
    E8_T square;    /* squared distance to the coset */
    E8_T most;      /* largest |d| */
    E8_V(mask) odd; /* the rounded coordinates have an odd sum: one has to move */
} E8_NAME(e8_coset);

/* Distance to D8 + shift: with odd parity the worst coordinate moves, (1 - m)^2 for m^2. */
MORSR_INLINE E8_NAME(e8_coset) E8_NAME(e8_to_coset)(const E8_T x[8], E8_T shift) {
    E8_NAME(e8_coset) result;
    E8_T sum = E8_V(zero)(), square = E8_V(zero)(), most = E8_V(zero)();
    for (int i = 0; i < 8; ++i) {
        const E8_T y = E8_V(sub)(x[i], shift);
        const E8_T r = E8_V(rint)(y);
        const E8_T d = E8_V(sub)(y, r);
        sum = E8_V(add)(sum, r);
        square = E8_V(add)(square, E8_V(mul)(d, d));
        most = E8_V(max)(E8_V(abs)(d), most);
    }
    const E8_T half = E8_V(mul)(sum, E8_V(set1)(E8_C(0.5)));
    const E8_T extra = E8_V(sub)(E8_V(set1)(E8_C(1.0)), E8_V(add)(most, most));
    result.odd = E8_V(lt)(E8_V(zero)(), E8_V(abs)(E8_V(sub)(half, E8_V(rint)(half))));
    result.square = E8_V(blend)(result.odd, E8_V(add)(square, extra), square);
    result.most = most;
    return result;
}

/* Squared distance to E8. */
MORSR_INLINE E8_T E8_NAME(e8_dist2)(const E8_T x[8]) {
    const E8_NAME(e8_coset) whole = E8_NAME(e8_to_coset)(x, E8_V(zero)());
    const E8_NAME(e8_coset) half = E8_NAME(e8_to_coset)(x, E8_V(set1)(E8_C(0.5)));
    return E8_V(min)(half.square, whole.square);
}

/* Nearest point of E8 into p; returns its squared distance, as above. */
MORSR_INLINE E8_T E8_NAME(e8_nearest)(const E8_T x[8], E8_T p[8]) {
    const E8_NAME(e8_coset) whole = E8_NAME(e8_to_coset)(x, E8_V(zero)());
    const E8_NAME(e8_coset) half = E8_NAME(e8_to_coset)(x, E8_V(set1)(E8_C(0.5)));
    const E8_V(mask) closer = E8_V(lt)(half.square, whole.square);
    const E8_T shift = E8_V(blend)(closer, E8_V(set1)(E8_C(0.5)), E8_V(zero)());
    const E8_T most = E8_V(blend)(closer, half.most, whole.most);
    /* where a coordinate is still to be moved */
    E8_V(mask) open = E8_V(mask_or)(E8_V(mask_and)(closer, half.odd),
                                    E8_V(mask_andnot)(closer, whole.odd));
    for (int i = 0; i < 8; ++i) {
        const E8_T y = E8_V(sub)(x[i], shift);
        const E8_T r = E8_V(rint)(y);
        const E8_T d = E8_V(sub)(y, r);
        const E8_V(mask) here = E8_V(mask_and)(open, E8_V(eq)(E8_V(abs)(d), most));
        /* d is never -0, nor is the point: a difference and a sum that vanish are +0. */
        p[i] = E8_V(add)(E8_V(add)(r, shift), E8_V(keep)(here, E8_V(sign)(d)));
        open = E8_V(mask_xor)(open, here);
    }
    return E8_V(min)(half.square, whole.square);
}
