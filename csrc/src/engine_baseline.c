/* The search kernels for the CPU level baseline. */
#define MORSR_LEVEL_NAME "baseline"
#define MORSR_FN(name) name##_baseline
#include "level_begin.h"

#include "lanes.h"

#include "engine_kernels.inc"

#include "level_end.h"
