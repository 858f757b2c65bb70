/* Choice of the search kernels by CPU level. */
#include "engine.h"

const morsr_kernels *morsr_engine_table_baseline(void);
#if defined(__x86_64__)
const morsr_kernels *morsr_engine_table_avx2(void);
const morsr_kernels *morsr_engine_table_avx512(void);
#endif

const morsr_kernels *morsr_engine_level(int level)
{
    if (level < 0 || level > morsr_cpu_level()) return 0;
#if defined(__x86_64__)
    if (level == 2) return morsr_engine_table_avx512();
    if (level == 1) return morsr_engine_table_avx2();
#endif
    return morsr_engine_table_baseline();
}
