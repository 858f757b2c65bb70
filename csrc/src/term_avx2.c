/* The kernels of tile terms for the CPU level avx2. */
#if defined(__x86_64__)
#define MORSR_LEVEL_AVX2 1
#define MORSR_LEVEL_NAME "avx2"
#define MORSR_FN(name) name##_avx2
#include "level_begin.h"

#include "lanes.h"

#include "term_kernels.inc"

#include "level_end.h"
#else
typedef int morsr_no_such_level; /* ISO C wants one declaration */
#endif
