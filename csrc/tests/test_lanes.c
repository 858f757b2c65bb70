/* lanes.h: the same bits at every level this CPU has, and the right ones. */
#include "check.h"

#include <math.h>
#include <string.h>

#include "e8_decode.h"

double *lanes_probe_baseline(const double *, double *), *lanes_probe_avx2(const double *, double *),
    *lanes_probe_avx512(const double *, double *);
double *lanes_shuffles_baseline(const double *, double *),
    *lanes_shuffles_avx2(const double *, double *),
    *lanes_shuffles_avx512(const double *, double *);
float *lanes16_probe_baseline(const float *, float *), *lanes16_probe_avx2(const float *, float *),
    *lanes16_probe_avx512(const float *, float *);

static double pick(void) {
    static const double special[] = {
        0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, 0x1p52, -0x1p52, 0x1.8p52, 0x1p51 + 0.5, 0x1p53,
        0x1p23f, 0x1p22f + 0.5f, 1e-308, -4.9e-324, 1e300, INFINITY, -INFINITY, 0.49999999999999994,
    };
    const uint64_t r = check_random();
    if (r % 4 == 0) return special[(r >> 8) % (sizeof special / sizeof *special)];
    if (r % 4 == 1) return rint(check_uniform() * 8.0) / 2.0;
    return ldexp(check_uniform(), (int)((r >> 8) % 60) - 30);
}

/* NaN payloads and signs are not promised: make them all alike. */
static void settle(double *x, size_t n) {
    for (size_t i = 0; i < n; ++i)
        if (isnan(x[i])) x[i] = NAN;
}
static void settle16(float *x, size_t n) {
    for (size_t i = 0; i < n; ++i)
        if (isnan(x[i])) x[i] = NAN;
}

static void levels_agree(void) {
    const int best = morsr_cpu_level();
    for (int round = 0; round < 4000; ++round) {
        double in[64], out[3][400];
        float in16[128], out16[3][700];
        size_t n[3] = {0}, n16[3] = {0};
        for (int i = 0; i < 64; ++i) in[i] = pick();
        for (int i = 0; i < 128; ++i) in16[i] = (float)pick();
        double finite[64];
        for (int i = 0; i < 64; ++i) finite[i] = check_uniform() * 1000;
        n[0] = (size_t)(lanes_shuffles_baseline(finite, lanes_probe_baseline(in, out[0])) - out[0]);
        n16[0] = (size_t)(lanes16_probe_baseline(in16, out16[0]) - out16[0]);
#if defined(__x86_64__)
        if (best >= 1) {
            n[1] = (size_t)(lanes_shuffles_avx2(finite, lanes_probe_avx2(in, out[1])) - out[1]);
            n16[1] = (size_t)(lanes16_probe_avx2(in16, out16[1]) - out16[1]);
        }
        if (best >= 2) {
            n[2] = (size_t)(lanes_shuffles_avx512(finite, lanes_probe_avx512(in, out[2])) - out[2]);
            n16[2] = (size_t)(lanes16_probe_avx512(in16, out16[2]) - out16[2]);
        }
#endif
        for (int l = 0; l <= best; ++l) {
            settle(out[l], n[l]);
            settle16(out16[l], n16[l]);
            CHECK(n[l] == n[0] && memcmp(out[l], out[0], n[0] * sizeof(double)) == 0);
            CHECK(n16[l] == n16[0] && memcmp(out16[l], out16[0], n16[0] * sizeof(float)) == 0);
        }
        /* The baseline against libm. */
        for (int i = 0; i < 8; ++i) {
            const double r = rint(in[i]);
            CHECK(memcmp(&out[0][12 * 8 + i], &r, sizeof r) == 0);
            double product = fma(in[i], in[8 + i], in[16 + i]);
            if (isnan(product)) product = NAN;
            CHECK(memcmp(&out[0][5 * 8 + i], &product, sizeof product) == 0);
        }
    }
}

int main(void) {
    levels_agree();
    CHECK_DONE("test_lanes");
}
