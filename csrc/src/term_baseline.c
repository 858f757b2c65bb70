/* The kernels of tile terms for the CPU level baseline. */
#define MORSR_LEVEL_NAME "baseline"
#define MORSR_FN(name) name##_baseline
#include "level_begin.h"

#include "lanes.h"

#include "term_kernels.inc"

#include "level_end.h"
