/* Closes the region opened by level_begin.h. */
#if defined(MORSR_LEVEL_AVX512) || defined(MORSR_LEVEL_AVX2)
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
