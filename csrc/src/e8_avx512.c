/* E8 kernels for AVX512; nothing on other architectures. */
#if defined(__x86_64__)
#define MORSR_LEVEL_AVX512 1
#define MORSR_FN(name) name##_avx512

#include "level_begin.h"

#include "e8_decode.h"
#include "e8_knearest.h"
#include "e8_lanes.h"
#include "lanes.h"

#include "e8_decode.inc"
#include "e8_knearest.inc"

#include "level_end.h"
#else
typedef int morsr_nothing_here; /* ISO C wants a declaration */
#endif
