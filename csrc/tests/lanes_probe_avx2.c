/* lanes_probe.inc at the CPU level avx2. */
#if defined(__x86_64__)
#define MORSR_LEVEL_AVX2 1
#define MORSR_FN(name) name##_avx2
#include "level_begin.h"

#include "lanes_probe.inc"

#include "level_end.h"
#else
typedef int morsr_nothing_here; /* ISO C wants a declaration */
#endif
