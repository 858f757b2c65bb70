/* Which CPU levels this machine has: the same answer for all kernels. */
#include "cpu_level.h"

int morsr_cpu_level(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl"))
            return 2;
        return 1;
    }
#endif
    return 0;
}
